"""Ensembles: eq. 11 by hand, an engine against its members' engines, what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from command_line import Answer, call
from tiny_engine import TinyEngine
from tiny_models import tiny_backbone

from pyad_edge import Runtime
from pyad_edge.errors import DataError
from pyad_edge.export.methods.ensemble import fusion_of, modified_z, spread
from pyad_edge.images import list_images, read_image
from pyad_edge.pipeline import Scores

OPTIONS = ("--size", 64, "--coreset", 0.1, "--holdout", 0.3, "--false-reject", 0.2)


def test_equation_11_by_hand() -> None:
    # |s - 4| = 3, 2, 0, 1, 96: the median is 2, whatever the outlier is.
    scores = np.array([1.0, 2.0, 4.0, 5.0, 100.0])
    assert spread(scores) == (4.0, 2.0)
    z = modified_z(scores, median=4.0, mad=2.0)
    np.testing.assert_allclose(z * 1.4826, [-1.5, -1.0, 0.0, 0.5, 48.0], rtol=1e-12)
    assert z[3] == pytest.approx(0.33724538, rel=1e-7)  # 1 / (1.4826 * 2)


def test_the_factor_makes_a_standard_deviation_of_normal_scores() -> None:
    scores = np.random.default_rng(0).normal(7.0, 3.0, 200_001)
    median, mad = spread(scores)
    assert median == pytest.approx(7.0, abs=0.05)
    assert 1.4826 * mad == pytest.approx(3.0, rel=0.01)


@pytest.fixture(scope="module")
def other_onnx(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another network: other weights, other channels."""
    path = tmp_path_factory.mktemp("other") / "other.onnx"
    path.write_bytes(tiny_backbone((6, 12), seed=5))
    return path


def train(
    tmp: Path, data: Path, name: str, *backbones: Path, extra: tuple[object, ...] = ()
) -> Answer:
    chosen = [part for path in backbones for part in ("--backbone", path)]
    given = ("--data", data, "--out", tmp / name, *chosen, *OPTIONS, *extra)
    return call("train", "patchcore", *given)


@pytest.fixture(scope="module")
def engines(
    tmp_path_factory: pytest.TempPathFactory, tiny: TinyEngine, other_onnx: Path
) -> dict[str, Runtime]:
    """Two engines of one network each, and the ensemble of both; the same data and options."""
    folder = tmp_path_factory.mktemp("engines")
    made = {"a": (tiny.backbone,), "b": (other_onnx,), "both": (tiny.backbone, other_onnx)}
    for name, backbones in made.items():
        answer = train(folder, tiny.data, f"{name}.pyad", *backbones)
        assert answer.code == 0, answer.err
    return {name: Runtime(folder / f"{name}.pyad") for name in made}


def test_an_ensemble_scores_as_the_fusion_of_its_members_engines(
    engines: dict[str, Runtime], tiny: TinyEngine
) -> None:
    fusion = engines["both"].engine.manifest.fusion
    assert fusion is not None
    for path in list_images(tiny.data / "test", recursive=True):
        frame = read_image(path)
        single = [engines[name].infer(frame) for name in ("a", "b")]
        fused = engines["both"].infer(frame)
        z = [
            modified_z(np.array(result.score), median=median, mad=mad)
            for result, median, mad in zip(single, fusion.median, fusion.mad, strict=True)
        ]
        assert fused.score == pytest.approx(float(np.mean(z)), rel=1e-5, abs=1e-5)
        maps = [
            modified_z(result.anomaly_map, median=median, mad=mad)
            for result, median, mad in zip(single, fusion.map_median, fusion.map_mad, strict=True)
        ]
        np.testing.assert_allclose(fused.anomaly_map, np.mean(maps, axis=0), rtol=1e-4, atol=1e-4)


def test_its_statistics_are_those_of_the_calibration_pictures(
    engines: dict[str, Runtime],
) -> None:
    both = engines["both"].engine
    fusion = both.manifest.fusion
    assert fusion is not None
    for number, name in enumerate("ab"):
        own = engines[name].engine.tensors["calibration/scores"]
        median, mad = spread(own)
        assert fusion.median[number] == pytest.approx(median, rel=1e-6)
        assert fusion.mad[number] == pytest.approx(mad, rel=1e-5)
    assert both.manifest.training.calibration_pictures == 3
    assert len(both.tensors["calibration/scores"]) == 3
    assert "mean over 2 networks" in both.manifest.score_meaning.lower()
    assert [member.backbone.outputs for member in both.manifest.all_members] == [
        ("layer2", "layer3"),
        ("layer2", "layer3"),
    ]


class Constant:
    """A member that sees no difference between pictures."""

    input_info = {"pixel_format": None}  # noqa: RUF012

    def score(self, frames: list[np.ndarray]) -> Scores:
        maps = np.full((1, 4, 4), 2.0, np.float32)
        return Scores(np.array([2.0], np.float32), maps, maps.max(axis=(1, 2)), None, {})


def test_a_member_without_spread_is_refused(tiny: TinyEngine) -> None:
    pictures = list_images(tiny.data / "train/good")[:3]
    with pytest.raises(DataError, match="network 1's scores of 3 normal pictures have a median"):
        fusion_of([Constant()], pictures)  # type: ignore[list-item]


@pytest.mark.parametrize(
    ("again", "extra", "phrase"),
    [
        (True, (), "expected different backbones"),
        (False, ("--index", "ivfpq"), "an ensemble searches its banks exactly"),
        (False, ("--size-policy", "tile"), "see whole frames, got --size-policy tile"),
    ],
)
def test_what_cannot_be_an_ensemble_is_refused_before_the_fit(
    tiny: TinyEngine,
    other_onnx: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    again: bool,
    extra: tuple[object, ...],
    phrase: str,
) -> None:
    monkeypatch.setattr("pyad_edge.export.train.fit", lambda *_, **__: pytest.fail("it fitted"))
    second = tiny.backbone if again else other_onnx
    options = ("--coreset", 1) if "--index" in extra else ()
    answer = train(tmp_path, tiny.data, "e.pyad", tiny.backbone, second, extra=(*extra, *options))
    assert answer.code == 2
    assert phrase in " ".join(answer.sentence.split())
    assert not (tmp_path / "e.pyad").exists()
