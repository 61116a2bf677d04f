"""The folded network, its levels resized and added, against f of the descriptors."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")

from pyad_edge.backends.onnxruntime import OnnxRuntimeBackend  # noqa: E402
from pyad_edge.engine_manifest import Aggregation  # noqa: E402
from pyad_edge.errors import BackendError  # noqa: E402
from pyad_edge.export.backbones import Backbone  # noqa: E402
from pyad_edge.export.methods.reconpatch.fold import fold, level_maps  # noqa: E402
from pyad_edge.ops import patch_aggregation  # noqa: E402
from pyad_edge.ops.patch_aggregation import output_dim  # noqa: E402


def network(channels: tuple[int, ...], strides: tuple[int, ...]) -> Backbone:
    """One convolution per level, on a picture of any size."""
    rng = np.random.default_rng(0)
    nodes, weights, outputs, layers = [], [], [], []
    for index, (C, stride) in enumerate(zip(channels, strides, strict=True)):
        layer = f"layer{index + 2}"
        weight = rng.standard_normal((C, 3, stride, stride)).astype(np.float32) / stride
        weights.append(onnx.numpy_helper.from_array(weight, f"w{index}"))
        nodes.append(
            onnx.helper.make_node("Conv", ["input", f"w{index}"], [layer], strides=[stride] * 2)
        )
        shape = ["N", C, f"h{index}", f"w{index}"]
        outputs.append(onnx.helper.make_tensor_value_info(layer, onnx.TensorProto.FLOAT, shape))
        layers.append(layer)
    value = onnx.helper.make_tensor_value_info("input", onnx.TensorProto.FLOAT, ["N", 3, "H", "W"])
    graph = onnx.helper.make_graph(nodes, "levels", [value], outputs, weights)
    opset = [onnx.helper.make_opsetid("", 17)]
    model = onnx.helper.make_model(graph, opset_imports=opset, ir_version=8)
    data = model.SerializeToString()
    return Backbone(
        name="levels",
        model=data,
        weights_sha256=None,
        onnx_sha256=hashlib.sha256(data).hexdigest(),
        layers=tuple(layers),
        channels=channels,
        strides=strides,
        mean=(0.0, 0.0, 0.0),
        std=(1.0, 1.0, 1.0),
        color_order="rgb",
    )


OFFICIAL = {"variant": "official", "pre_dim": 24, "target_dim": 24}
CASES = [
    ((8, 16), (4, 8), {"variant": "average", "pre_dim": None, "target_dim": None}, 6),
    ((8, 16), (4, 8), OFFICIAL, 6),
    ((8, 16), (4, 8), OFFICIAL, 40),
    ((7, 13), (4, 8), {"variant": "official", "pre_dim": 11, "target_dim": 17}, 5),
    ((6, 12, 24), (2, 4, 8), {"variant": "official", "pre_dim": 16, "target_dim": 30}, 9),
    ((6, 12, 24), (2, 4, 8), {"variant": "average", "pre_dim": None, "target_dim": None}, 9),
    ((10,), (4,), {"variant": "official", "pre_dim": 10, "target_dim": 10}, 4),
]


@pytest.mark.parametrize(("channels", "strides", "values", "dim"), CASES)
@pytest.mark.parametrize("size", [(48, 48), (40, 72), (56, 88)])
def test_folded_network_is_f_of_the_descriptors(channels, strides, values, dim, size) -> None:
    backbone, aggregation = network(channels, strides), Aggregation(**values)
    D = output_dim(channels, **values)
    weight = np.random.default_rng(1).standard_normal((dim, D)).astype(np.float32)
    folded = fold(backbone, weight, aggregation)
    assert folded.channels == (dim,) * len(channels)
    assert folded.onnx_sha256 == hashlib.sha256(folded.model).hexdigest() != backbone.onnx_sha256
    pictures = np.random.default_rng(2).standard_normal((2, 3, *size)).astype(np.float32)
    levels = OnnxRuntimeBackend(backbone.model, outputs=backbone.layers).run(pictures)
    expected = patch_aggregation(levels, **values).astype(np.float64) @ weight.T.astype(np.float64)
    added = OnnxRuntimeBackend(folded.model, outputs=folded.layers).run(pictures)
    found = patch_aggregation(added, variant="sum")
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() <= 2e-6 * np.abs(expected).max()


def test_official_needs_few_patterns_of_each_channel() -> None:
    """Equal dimensions in and out: one stencil a channel, weights 0.1 and 0.2, of the 9 taps."""
    values = Aggregation(variant="official", pre_dim=48, target_dim=48)
    first, second = level_maps(np.eye(48, dtype=np.float32), (16, 32), values)
    assert first.patterns.shape[:2] == (16, first.patterns.shape[1])
    for level in (first, second):
        assert level.patterns.shape[1] <= 3
        sums = level.patterns.sum((2, 3))
        np.testing.assert_allclose(sums[sums != 0], 1.0, atol=1e-12)


def test_average_has_one_pattern_the_mean() -> None:
    values = Aggregation(variant="average", pre_dim=None, target_dim=None)
    weight = np.random.default_rng(3).standard_normal((4, 20)).astype(np.float32)
    first, second = level_maps(weight, (8, 12), values)
    for level in (first, second):
        np.testing.assert_allclose(level.patterns, 1 / 9, rtol=1e-12)
    np.testing.assert_allclose(np.hstack((first.mix, second.mix)), weight, rtol=1e-12)


def test_a_network_is_folded_once() -> None:
    backbone = network((8,), (4,))
    values = Aggregation(variant="average", pre_dim=None, target_dim=None)
    folded = fold(backbone, np.ones((4, 8), np.float32), values)
    again = Backbone(**{**vars(folded), "layers": backbone.layers, "channels": (8,)})
    with pytest.raises(BackendError, match="holds a folded map already"):
        fold(again, np.ones((4, 8), np.float32), values)
