from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from pyad_edge import ops
from pyad_edge.backends.onnxruntime import OnnxRuntimeBackend
from pyad_edge.engine_manifest import Aggregation
from pyad_edge.export.backbones import resolve_backbone
from pyad_edge.export.methods.reconpatch.fold import fold, level_maps
from tiny_models import tiny_backbone

pytest.importorskip("onnx")

CASES: list[dict[str, Any]] = [
    {"variant": "official", "pre_dim": 24, "target_dim": 24},
    {"variant": "official", "pre_dim": 20, "target_dim": 33},
    {"variant": "official", "pre_dim": 7, "target_dim": 5},
    {"variant": "average", "pre_dim": None, "target_dim": None},
]


def weight(rows: int, columns: int) -> NDArray[np.float32]:
    return np.random.default_rng(3).standard_normal((rows, columns)).astype(np.float32)


@pytest.mark.parametrize("aggregation", CASES)
@pytest.mark.parametrize("size", [(64, 64), (96, 40)])
@pytest.mark.parametrize("dim", [3, 48])
def test_folded_network_added_up_is_f_of_the_descriptors(
    aggregation: dict[str, Any], size: tuple[int, int], dim: int, tmp_path: Path
) -> None:
    (tmp_path / "tiny.onnx").write_bytes(tiny_backbone((8, 16)))
    backbone = resolve_backbone(tmp_path / "tiny.onnx")
    picture = np.random.default_rng(1).standard_normal((2, 3, *size)).astype(np.float32)
    options = {name: value for name, value in aggregation.items() if value is not None}
    features = ops.patch_aggregation(
        OnnxRuntimeBackend(backbone.model, outputs=backbone.layers).run(picture), **options
    )
    f = weight(dim, features.shape[3])
    wanted = features.astype(np.float64) @ f.T.astype(np.float64)
    folded = fold(backbone, f, Aggregation(**aggregation))
    assert folded.channels == (dim, dim)
    levels = OnnxRuntimeBackend(folded.model, outputs=folded.layers).run(picture)
    found = ops.patch_aggregation(levels, variant="sum")
    assert found.shape == wanted.shape
    np.testing.assert_allclose(found, wanted, atol=2e-6 * np.abs(wanted).max())


@pytest.mark.parametrize(("aggregation", "patterns"), [(CASES[3], [1, 1]), (CASES[0], [2, 2])])
def test_a_channel_has_few_patterns(aggregation: dict[str, Any], patterns: list[int]) -> None:
    maps = level_maps(weight(4, 24), (8, 16), Aggregation(**aggregation))
    assert [level.patterns.shape[1] for level in maps] == patterns
    for level in maps:
        assert level.mix.shape[0] == 4
