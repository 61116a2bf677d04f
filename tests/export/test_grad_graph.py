"""The exported network equals the trained detectors: constants folded, levels in one graph."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")

from onnx import TensorProto, numpy_helper  # noqa: E402
from torch.nn import functional  # noqa: E402

from pyad_edge.backends.int8 import quantize  # noqa: E402
from pyad_edge.backends.registry import open_backend  # noqa: E402
from pyad_edge.export.methods.grad.detector import (  # noqa: E402
    BORDER,
    KERNELS,
    LEVELS,
    PLACED,
    STRIDE,
    STRIDES,
    Detector,
    GradModel,
    Preset,
    flop,
    level_input,
)
from pyad_edge.export.methods.grad.graph import OUTPUT, InferenceGraph, LevelGraph, macs  # noqa: E402
from pyad_edge.export.methods.grad.network_file import write_network  # noqa: E402
from pyad_edge.export.methods.grad.place import coordinates  # noqa: E402
from pyad_edge.reference import anomaly_map  # noqa: E402

TINY = Preset((4, 5, 5, 6, 6, 7, 7))
SIZE = (112, 144)  # level 136 has one row of patches


def detector(seed: int, preset: Preset = TINY) -> Detector:
    """Every weight and bias differs from 0."""
    torch.manual_seed(seed)
    made = Detector(preset)
    with torch.no_grad():
        for name, parameter in made.named_parameters():
            share = 0.05 if name.startswith("places") else 0.2
            parameter.add_(share * torch.randn_like(parameter))
    return made.requires_grad_(False).eval()


# By level: where these detectors' logits lie, roughly, so that each is the largest somewhere.
NORMAL = {34: (0.1, 0.3), 68: (-3.3, 1.7), 136: (0.5, 0.9)}


def model(fusion="maximum", levels=tuple(LEVELS), size=SIZE) -> GradModel:
    made = GradModel(
        {level: detector(level) for level in levels},
        preset="compact",
        input_size=size,
        fusion=fusion,
        means=[NORMAL[level][0] for level in levels],
        deviations=[NORMAL[level][1] for level in levels],
    ).eval()
    for level in levels:  # as different from place to place as normal pictures are
        usual = made.usual(level)
        usual.copy_(0.1 * NORMAL[level][1] * torch.randn(usual.shape))
    return made


def pictures(count=2, size=SIZE, seed=1) -> torch.Tensor:
    values = np.random.default_rng(seed).normal(size=(count, 3, *size))
    return torch.from_numpy(values.astype(np.float32))


def literal_layer(x, weight, bias, stride):
    """A convolution without padding, position by position, float64."""
    C, _, k, _ = weight.shape
    h, w = ((side - k) // stride + 1 for side in x.shape[1:])
    found = np.empty((C, h, w))
    for y in range(h):
        for z in range(w):
            patch = x[:, y * stride : y * stride + k, z * stride : z * stride + k]
            found[:, y, z] = (weight * patch).sum(axis=(1, 2, 3)) + bias
    return found


@pytest.mark.parametrize("size", [(28, 36), (31, 28), (56, 72)])
def test_coordinates_are_a_bias_one_number_a_channel_and_position(size) -> None:
    """The first layer with five channels, in float64, against three channels and the constant."""
    made = detector(5)
    graph = LevelGraph(made, size, offset=0.0, scale=1.0)
    picture = pictures(1, size)
    padded = functional.pad(picture, (BORDER,) * 4, mode="replicate")
    found = functional.conv2d(padded, graph.weight, stride=graph.stride) + graph.bias_map
    five = np.concatenate([padded[0].numpy(), coordinates(*size, border=BORDER).numpy()])
    first = made.layers[0]
    wanted = literal_layer(
        five.astype(np.float64), first.weight.double().numpy(), first.bias.double().numpy(), 2
    )
    assert found.shape[1:] == wanted.shape == graph.bias_map.shape[1:]
    np.testing.assert_allclose(found[0].numpy(), wanted, rtol=2e-6, atol=2e-6)
    # The constant is not one: it depends on the position along both axes.
    assert np.ptp(graph.bias_map.numpy(), axis=2).min() > 0.01
    assert np.ptp(graph.bias_map.numpy(), axis=3).min() > 0.01


def test_the_layer_is_that_of_the_detectors_input() -> None:
    """What the model itself feeds its detectors, at every level."""
    picture = pictures(1)
    small = picture
    for level, factor in LEVELS.items():
        made = detector(level)
        size = (SIZE[0] // factor, SIZE[1] // factor)
        graph = LevelGraph(made, size, offset=0.0, scale=1.0)
        wanted = functional.pad(made(level_input(picture, level)), (BORDER,) * 4, mode="replicate")
        torch.testing.assert_close(graph(small), wanted, rtol=1e-5, atol=1e-5)
        small = functional.avg_pool2d(small, 2)


@pytest.mark.parametrize("size", [(28, 36), (56, 72)])
def test_places_are_constants_of_three_layers(size) -> None:
    """Scale and shift at every position, in float64, from the middle of its receptive field."""
    made = detector(7)
    graph = LevelGraph(made, size, offset=0.0, scale=1.0)
    H, W = size[0] + 2 * BORDER, size[1] + 2 * BORDER
    for index in PLACED:
        reach = stride = 1
        for kernel, step in zip(KERNELS[: index + 1], STRIDES[: index + 1], strict=True):
            reach, stride = reach + (kernel - 1) * stride, stride * step
        scale, shift = graph.get_buffer(f"scale_{index}"), graph.get_buffer(f"shift_{index}")
        weight = made.places[str(index)].weight.double().numpy()[:, :, 0, 0]
        offset = made.places[str(index)].bias.double().numpy()
        bias = made.layers[index].bias.double().numpy()
        C, h, w = scale.shape[1:]
        assert (h, w) == tuple((side - reach) // stride + 1 for side in (H, W))
        for y, x in ((0, 0), (h - 1, 0), (h // 2, w - 1)):
            row, column = (n * stride + (reach - 1) // 2 - BORDER + 0.5 for n in (y, x))
            place = np.array([column / size[1], row / size[0]]) * 2 - 1
            angles = np.concatenate([place * np.pi * 2.0**k for k in range(5)])
            both = weight @ np.concatenate([place, np.sin(angles), np.cos(angles)]) + offset
            factor = 1 + both[:C]
            np.testing.assert_allclose(scale[0, :, y, x], factor, rtol=1e-5, atol=1e-5)
            wanted = both[C:] + factor * bias
            np.testing.assert_allclose(shift[0, :, y, x], wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("fusion", ["maximum", "mean"])
@pytest.mark.parametrize("levels", [(34,), (68,), (136,), (34, 136), (68, 136), (34, 68, 136)])
def test_the_graph_is_the_model(fusion, levels) -> None:
    made = model(fusion, levels)
    before = {key: value.clone() for key, value in made.state_dict().items()}
    graph = InferenceGraph(made)
    with torch.no_grad():
        wanted = functional.softplus(made(pictures()))
        found = graph(pictures())
    assert wanted.std() > 0.02
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)
    after = made.state_dict()
    assert all(torch.equal(before[key], after[key]) for key in before)
    assert graph.levels == levels


@pytest.mark.parametrize("fusion", ["maximum", "mean"])
def test_levels_are_fused_as_a_slow_reference_has_it(fusion) -> None:
    """From the detectors' own logits on: normalised, edges repeated, up-sampled, fused; NumPy."""
    made = model(fusion)
    grid = (SIZE[0] // STRIDE, SIZE[1] // STRIDE)
    grids = []
    with torch.no_grad():
        for n, logits in enumerate(made.level_maps(pictures(1))):
            above = (logits - made.usual(made.levels[n]))[0, 0].double().numpy()
            z = (above - float(made.means[n])) / float(made.deviations[n])
            z = np.pad(z, BORDER, mode="edge")[None]
            for axis in (1, 2):
                z = anomaly_map.bilinear(z, grid[axis - 1], axis)
            grids.append(z[0])
    fused = np.mean(grids, axis=0) if fusion == "mean" else np.max(grids, axis=0)
    found = InferenceGraph(made)(pictures(1))[0, 0].numpy()
    np.testing.assert_allclose(found, np.log1p(np.exp(fused)), rtol=1e-5, atol=1e-5)
    if fusion == "maximum":  # every level is the largest somewhere
        assert len(np.unique(np.argmax(grids, axis=0))) == 3


@pytest.fixture(scope="module", params=["maximum", "mean"])
def network(request):
    made = model(request.param)
    graph = InferenceGraph(made)
    return made, graph, write_network(graph, name="t", mean=(0.4,) * 3, std=(0.2,) * 3)


def test_the_file_gives_the_models_scores_in_any_batch(network) -> None:
    made, _, file = network
    batch = pictures(3, seed=4)
    with torch.no_grad():
        wanted = functional.softplus(made(batch)).numpy()
    for name in ("onnxruntime", "openvino", "torch"):
        backend = open_backend(name, file.model, outputs=(OUTPUT,), input_size=SIZE, threads=1)
        (found,) = backend.run(batch.numpy())
        np.testing.assert_allclose(found, wanted, rtol=2e-5, atol=1e-5)
    assert file.max_relative_error < 1e-5
    assert file.grid == (SIZE[0] // 4, SIZE[1] // 4)


def test_the_file_does_what_was_counted(network) -> None:
    """Multiply-accumulates of the ONNX file, from its shapes."""
    _, graph, file = network
    proto = onnx.shape_inference.infer_shapes(onnx.load_from_string(file.model), data_prop=True)
    weights = {t.name: tuple(t.dims) for t in proto.graph.initializer}
    shapes = {
        v.name: [d.dim_value for d in v.type.tensor_type.shape.dim]
        for v in [*proto.graph.value_info, *proto.graph.output]
    }
    convolutions = [node for node in proto.graph.node if node.op_type == "Conv"]
    assert len(convolutions) == 3 * 8 + 2
    total = sum(
        int(np.prod(weights[node.input[1]]) * np.prod(shapes[node.output[0]][2:]))
        for node in convolutions
    )
    assert total == macs(graph)
    # Of the model's count the coordinates' two channels are gone, and the pooling is new.
    first, gone = TINY.widths[0] * 2 * KERNELS[0] ** 2, 0
    for factor in LEVELS.values():
        h, w = ((side // factor + 2 * BORDER - KERNELS[0]) // STRIDES[0] + 1 for side in SIZE)
        gone += first * h * w
    pooled = sum(36 * (SIZE[0] // f) * (SIZE[1] // f) for f in (2, 4))
    assert total == flop(TINY, input_size=SIZE) // 2 - gone + pooled


@pytest.mark.parametrize(("level", "value"), [(0, np.nan), (1, -np.inf), (2, np.inf)])
def test_a_level_that_fails_shows_in_the_map(network, level, value) -> None:
    """No backend's maximum or softplus may make a number of it."""
    proto = onnx.load_from_string(network[2].model)
    (bias,) = [t for t in proto.graph.initializer if t.name == f"graphs.{level}.last_bias"]
    filled = np.full(tuple(bias.dims), value, np.float32)
    bias.CopyFrom(numpy_helper.from_array(filled, bias.name))
    batch = pictures(1).numpy()
    for name in ("onnxruntime", "openvino", "torch"):
        backend = open_backend(
            name, proto.SerializeToString(), outputs=(OUTPUT,), input_size=SIZE, threads=1
        )
        assert np.isnan(backend.run(batch)[0]).all(), name


def test_int8_leaves_pictures_and_scores_in_floating_point(network) -> None:
    made = quantize(network[2].model, pictures(4, seed=6).numpy())
    graph = onnx.load_from_string(made).graph
    by_output = {name: node for node in graph.node for name in node.output}
    weights = {t.name: tuple(t.dims) for t in graph.initializer}
    convolutions = [node for node in graph.node if node.op_type == "Conv"]
    floating = [weights[node.input[1]] for node in convolutions if node.input[1] in weights]
    # Three first layers and two poolings; three last layers.
    assert sorted(shape[0] == 1 for shape in floating) == [False] * 5 + [True] * 3
    assert all(shape[1] == 3 for shape in floating if shape[0] != 1)
    assert len(convolutions) == 3 * 8 + 2
    last = by_output[OUTPUT]
    while last.op_type != "Conv":  # nothing between the last layers and the output is rounded
        assert last.op_type not in ("QuantizeLinear", "DequantizeLinear")
        last = by_output[last.input[0]]
    # Loud pictures go beyond what the calibration pictures have; the ranges have room for them.
    batch = 1.5 * pictures(2, seed=7).numpy()
    (wanted,) = open_backend(
        "onnxruntime", network[2].model, outputs=(OUTPUT,), input_size=SIZE, threads=1
    ).run(batch)
    (found,) = open_backend("onnxruntime", made, outputs=(OUTPUT,), input_size=SIZE, threads=1).run(
        batch
    )
    # Weights have 7 bits where the processor lacks VNNI: twice the rounding.
    whole = [numpy_helper.to_array(t) for t in graph.initializer if t.data_type == TensorProto.INT8]
    seven_bits = max(np.abs(weight.astype(int)).max() for weight in whole) <= 64
    limit = 0.4 if seven_bits else 0.2
    assert np.abs(found - wanted).max() < limit * wanted.max()
