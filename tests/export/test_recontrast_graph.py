"""The exported network equals the trained model, and does less than a naive export."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")
timm = pytest.importorskip("timm")
onnx = pytest.importorskip("onnx")

from pyad_edge.backends.onnxruntime import OnnxRuntimeBackend  # noqa: E402
from pyad_edge.export.methods.recontrast.backbone import Shape, build_encoder  # noqa: E402
from pyad_edge.export.methods.recontrast.graph import InferenceGraph, fold_batch_norm, macs  # noqa: E402
from pyad_edge.export.methods.recontrast.model import ReContrast  # noqa: E402
from pyad_edge.export.methods.recontrast.network_file import write_network  # noqa: E402
from pyad_edge.ops import cosine_distance_map  # noqa: E402

TINY, SIZE = "test_resnet", (96, 64)


class Naive(torch.nn.Module):
    """The training network as it stands: both sets of heads on both halves."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, image):
        model = self.model
        frozen, trained = model.frozen(image), model.encoder(image)
        both = [torch.cat(pair) for pair in zip(trained, frozen, strict=True)]
        maps = model.decoder(model.bottleneck(both))
        return [
            head(m) for heads in model.decoder.heads for head, m in zip(heads, maps, strict=True)
        ]


@pytest.fixture(scope="module")
def model():
    """Norms with statistics of their own, encoders that differ."""
    torch.manual_seed(0)
    encoder = build_encoder(TINY, weights="random")
    model = ReContrast(encoder.module, encoder.shape)
    with torch.no_grad():
        for p in model.encoder.parameters():
            p.add_(0.02 * torch.randn_like(p))
        for _ in range(3):
            model(torch.randn(4, 3, *SIZE))
    return model.eval()


@pytest.fixture(scope="module")
def network(model):
    return write_network(
        InferenceGraph(model), name=TINY, size=SIZE, mean=(0.4, 0.5, 0.6), std=(0.2, 0.2, 0.3)
    )


def maps_of(targets, outputs):
    arrays = ([m.detach().numpy() for m in maps] for maps in (targets, outputs))
    return cosine_distance_map(*arrays, size=SIZE)


def test_maps_of_the_onnx_file_are_those_of_the_model(model, network):
    image = torch.from_numpy(np.random.default_rng(1).normal(size=(3, 3, *SIZE)).astype(np.float32))
    maps, maxima, means = maps_of(*model(image))
    found = OnnxRuntimeBackend(network.model, outputs=network.outputs).run(image.numpy())
    encoder, decoder = (
        [torch.from_numpy(found[pair[k]]) for pair in network.pairs] for k in range(2)
    )
    for a, b in zip((maps, maxima, means), maps_of(encoder, decoder), strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-5, atol=1e-5)
    assert maxima.min() > 0.1  # of another size than the tolerance
    assert network.max_relative_error < 1e-5
    assert network.grid == (24, 16)


def test_trained_pairs_are_three_of_the_six(model):
    image = torch.randn(2, 3, *SIZE)
    graph = InferenceGraph(model, pairs="trained")
    targets, outputs = model(image)
    found = graph(image)
    for (e, d), a, b in zip(graph.pairs, targets[3:], outputs[3:], strict=True):
        torch.testing.assert_close(found[e], a, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(found[d], b, rtol=1e-4, atol=1e-5)
    assert [graph.outputs[e] for e, _ in graph.pairs] == [f"trained_layer{k}" for k in (1, 2, 3)]
    assert macs(graph, size=SIZE) < 0.75 * macs(InferenceGraph(model), size=SIZE)


def test_no_norm_is_left_and_the_model_is_untouched(model):
    before = {key: value.clone() for key, value in model.state_dict().items()}
    graph = InferenceGraph(model)
    assert not any(isinstance(m, torch.nn.BatchNorm2d) for m in graph.modules())
    after = model.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[key], after[key]) for key in before)


def test_transposed_convolutions_are_folded_too():
    torch.manual_seed(2)
    part = torch.nn.Sequential(torch.nn.ConvTranspose2d(3, 4, 2, stride=2), torch.nn.BatchNorm2d(4))
    part(torch.randn(8, 3, 4, 4))
    x = torch.randn(1, 3, 4, 4)
    expected = part.eval()(x)
    assert fold_batch_norm(part, x) == 1
    torch.testing.assert_close(part(x), expected)


def test_equal_first_steps_run_once(model):
    """An encoder whose first steps were not trained shares them; the maps stay what they were."""
    torch.manual_seed(3)
    encoder = build_encoder(TINY, weights="random")
    half = ReContrast(encoder.module, encoder.shape, batch_norm="eval").eval()
    with torch.no_grad():
        for p in half.encoder.layer2.parameters():
            p.mul_(1.1)
    graph, image = InferenceGraph(half), torch.randn(1, 3, *SIZE)
    steps = list(half.encoder)
    assert graph.shared == steps.index("layer2")
    targets, outputs = half(image)
    for a, b in zip([*targets, *outputs], graph(image), strict=True):
        torch.testing.assert_close(b, a, rtol=1e-4, atol=1e-5)
    assert InferenceGraph(model).shared == 0
    assert macs(graph, size=SIZE) < macs(InferenceGraph(model), size=SIZE)


@pytest.mark.parametrize(
    ("name", "shape", "least", "giga"),
    [
        ("resnet18", Shape((64, 128, 256), (2, 2, 2), 2, None), 0.011, 8.75),
        ("resnet50", Shape((256, 512, 1024), (3, 4, 6), 3, 0.25), 0.05, 30.24),
        ("wide_resnet50_2", Shape((256, 512, 1024), (3, 4, 6), 3, 0.5), 0.025, 62.52),
    ],
)
def test_heads_that_are_not_needed_are_not_run(name, shape, least, giga):
    """At 256 x 256. The graph's own count is the model's: see the next test."""
    with torch.device("meta"):
        model = ReContrast(
            timm.create_model(name, features_only=True, out_indices=(1, 2, 3)), shape
        )
    naive, needed = (macs(part, size=(256, 256)) for part in (Naive(model), model))
    # Six 1x1 convolutions on the half that nobody reads.
    unread = 2 * sum(
        c * c * (256 // s) ** 2 for c, s in zip(shape.channels, (4, 8, 16), strict=True)
    )
    assert naive - needed == unread
    assert needed / 1e9 == pytest.approx(giga, rel=1e-3)
    assert needed <= (1 - least) * naive


def test_the_file_does_what_was_counted(model, network):
    """Multiply-accumulates of the ONNX file, from its shapes."""
    proto = onnx.shape_inference.infer_shapes(onnx.load_from_string(network.model), data_prop=True)
    weights = {t.name: tuple(t.dims) for t in proto.graph.initializer}
    for node in proto.graph.node:  # equal weights are in the file once
        if node.op_type == "Identity" and node.input[0] in weights:
            weights[node.output[0]] = weights[node.input[0]]
    shapes = {
        v.name: [d.dim_value for d in v.type.tensor_type.shape.dim]
        for v in [*proto.graph.value_info, *proto.graph.output, *proto.graph.input]
    }
    total = 0
    for node in proto.graph.node:
        if node.op_type not in ("Conv", "ConvTranspose"):
            assert node.op_type not in ("MatMul", "Gemm", "BatchNormalization")
            continue
        size = shapes[node.output[0] if node.op_type == "Conv" else node.input[0]]
        views = 1 if _is_of_one_view(node, network) else 2
        total += views * int(np.prod(weights[node.input[1]])) * size[2] * size[3]
    assert total == macs(InferenceGraph(model), size=SIZE) == macs(model, size=SIZE)
    assert total < 0.985 * macs(Naive(model), size=SIZE)


def _is_of_one_view(node, network):
    """Encoders and heads see N pictures, bottleneck and decoder 2 N."""
    scope = node.name.split("/")[1]
    return scope not in ("bottleneck", "decoder")
