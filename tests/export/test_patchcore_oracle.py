"""PatchCore beside the official algorithm in its plain form, on sixty real pictures.

``benchmarks/patchcore_oracle.py`` does the same with all of them.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from shared_data import mtd, weights

from pyad_edge.backends.onnxruntime import OnnxRuntimeBackend
from pyad_edge.export.backbones import resolve_backbone
from pyad_edge.export.methods.patchcore import PatchCoreModel, fit, make_settings
from pyad_edge.export.methods.patchcore.extract import Extractor
from pyad_edge.export.metrics import image_auroc
from pyad_edge.export.onnx import export_backbone
from pyad_edge.images import read_image
from pyad_edge.ops import project, random_projection, start_distances

pytestmark = pytest.mark.slow

SIZE = (256, 256)
DIM = 384
SEED = 0

Array = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Both:
    """Thirty pictures fitted and thirty scored, by pyad_edge and by the oracle."""

    oracle: Any
    model: PatchCoreModel
    ours: list[Array]  # (1024, 384) of each fitted picture
    theirs: list[Array]
    test_features: list[Array]  # the oracle's
    scores: NDArray[np.float64]
    is_defect: NDArray[np.bool_]


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Both]:
    torch = pytest.importorskip("torch", reason="the oracle needs torch: install [train]")
    pytest.importorskip("timm", reason="the oracle needs timm: install [train]")
    root, file = mtd(), weights("resnet18_layer3")
    fitted = sorted((root / "train" / "good").iterdir())[::21][:30]
    good = sorted((root / "test" / "good").iterdir())[::10][:15]
    defects = [d for d in sorted((root / "test").iterdir()) if d.name != "good"]
    bad = [path for folder in defects for path in sorted(folder.iterdir())[:3]]
    onnx = tmp_path_factory.mktemp("oracle") / "resnet18.onnx"
    export_backbone("resnet18", weights=file, layers="2,3", out=onnx)
    settings = make_settings(
        resize=SIZE, pre_dim=DIM, target_dim=DIM, scoring="maximum", holdout=0.0, seed=SEED
    )
    model = fit(fitted, resolve_backbone(onnx), settings)
    pipeline = model.pipeline()
    backend = OnnxRuntimeBackend(model.backbone.model, outputs=model.backbone.layers)
    extract = Extractor(model.preprocessing, backend, model.head)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    oracle = importlib.import_module("oracle.patchcore")
    network = oracle.load_resnet18(file)

    def features(paths: list[Path]) -> list[Array]:
        return [oracle.features(network, path, SIZE, DIM) for path in paths]

    yield Both(
        oracle=oracle,
        model=model,
        ours=[extract(path).reshape(-1, DIM) for path in fitted],
        theirs=features(fitted),
        test_features=features(good + bad),
        scores=np.array([float(pipeline.score([read_image(p)]).image[0]) for p in good + bad]),
        is_defect=np.array([False] * len(good) + [True] * len(bad)),
    )
    torch.set_num_threads(threads)


def test_sixty_pictures(both: Both) -> None:
    assert len(both.ours) == 30
    assert (~both.is_defect).sum() == both.is_defect.sum() == 15
    assert both.model.bank.shape == (307, DIM)


def test_embeddings_agree(both: Both) -> None:
    # Two resizes and two runtimes of the network stand between them, all in float32.
    for ours, theirs in zip(both.ours, both.theirs, strict=True):
        assert np.abs(ours - theirs).max() <= 1e-4 * np.abs(theirs).max()


def test_coreset_indices_are_the_oracles(both: Both) -> None:
    points = project(np.concatenate(both.ours), random_projection(DIM, seed=SEED))
    start = start_distances(points, seed=SEED)
    wanted = both.oracle.select_coreset(points, len(both.model.bank), start)
    picture, row, column = both.model.sources.T
    np.testing.assert_array_equal((picture * 32 + row) * 32 + column, wanted)
    np.testing.assert_array_equal(both.model.bank, np.concatenate(both.ours)[wanted])


def test_start_distances_are_the_oracles(both: Both) -> None:
    points = project(np.concatenate(both.ours), random_projection(DIM, seed=SEED))
    rows = np.random.default_rng(SEED).choice(len(points), 10, replace=False)
    np.testing.assert_allclose(
        start_distances(points, seed=SEED), both.oracle.squared_start(points, rows), rtol=1e-5
    )


def test_scores_agree_given_the_same_bank(both: Both) -> None:
    wanted = [both.oracle.image_score(queries, both.model.bank) for queries in both.test_features]
    np.testing.assert_allclose(both.scores, wanted, rtol=1e-4)


@pytest.mark.parametrize("selection", ["select_coreset", "select_coreset_by_products"])
def test_auroc_agrees_when_the_oracle_fits_for_itself(both: Both, selection: str) -> None:
    features = np.concatenate(both.theirs)
    points = features @ random_projection(DIM, seed=SEED)
    rows = np.random.default_rng(SEED).choice(len(points), 10, replace=False)
    select = getattr(both.oracle, selection)
    picks = select(points, len(both.model.bank), both.oracle.squared_start(points, rows))
    scores = [both.oracle.image_score(queries, features[picks]) for queries in both.test_features]
    difference = image_auroc(both.is_defect, both.scores) - image_auroc(both.is_defect, scores)
    assert abs(difference) <= 0.01
