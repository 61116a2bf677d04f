"""The embedded backbone: its size, its cost, its answers and what it says about itself."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

onnx = pytest.importorskip("onnx", reason="reading the graph needs onnx")

from pyad_edge.export import student  # noqa: E402

ASSET = Path(student.__file__).parent / "assets" / "edge18.onnx"
SHARED = Path(
    os.environ.get("PYAD_EDGE_TEST_DATA", Path(__file__).resolve().parents[2].parent / "shared")
)


@pytest.fixture(scope="module")
def model() -> onnx.ModelProto:
    return onnx.load(ASSET)


@pytest.fixture(scope="module")
def session() -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(ASSET.read_bytes(), providers=["CPUExecutionProvider"])


def resnet18_macs(side: int) -> int:
    """Convolutions of ResNet-18 up to layer3 for one square picture, by its definition."""

    def half(size: int) -> int:
        return -(-size // 2)

    size = half(side)
    macs = size**2 * 64 * 3 * 49
    size = half(size)
    macs += 4 * size**2 * 64 * 64 * 9
    for wide in (128, 256):
        size, narrow = half(size), wide // 2
        macs += size**2 * wide * (narrow * 9 + narrow + 3 * wide * 9)
    return macs


def weights_of(model: onnx.ModelProto) -> student.Weights:
    return {t.name: onnx.numpy_helper.to_array(t) for t in model.graph.initializer}


def test_file_is_at_most_four_megabytes() -> None:
    assert ASSET.stat().st_size <= 4_000_000


def test_costs_at_most_a_third_of_resnet18(model: onnx.ModelProto) -> None:
    assert resnet18_macs(224) == 1_402_519_552
    assert student.count_macs(model, height=224, width=224) <= resnet18_macs(224) / 3


def test_graph_uses_standard_operators_and_old_enough_versions(model: onnx.ModelProto) -> None:
    assert {n.domain for n in model.graph.node} == {""}
    assert {n.op_type for n in model.graph.node} == {"Conv", "Relu", "MaxPool", "Add"}
    assert [(o.domain, o.version) for o in model.opset_import] == [("", 17)]
    assert model.ir_version <= 10  # what onnxruntime 1.18 reads
    assert not any(t.external_data for t in model.graph.initializer)


def test_metadata_describes_the_weights_in_the_file(model: onnx.ModelProto) -> None:
    entries = {p.key: p.value for p in model.metadata_props}
    described = json.loads(entries[student.METADATA_KEY])
    assert described == student.metadata(weights_of(model))
    assert described["name"] == "edge18"
    assert described["mean"] == [0.485, 0.456, 0.406]
    assert described["std"] == [0.229, 0.224, 0.225]
    assert described["color_order"] == "rgb"
    assert described["strides"] == [8, 16]
    assert described["channels"] == [128, 256]


@pytest.mark.parametrize(
    ("batch", "height", "width"), [(1, 224, 224), (2, 225, 131), (3, 64, 97), (1, 33, 1)]
)
def test_output_shapes_are_those_of_resnet18(
    session: onnxruntime.InferenceSession, batch: int, height: int, width: int
) -> None:
    names = [o.name for o in session.get_outputs()]
    assert names == ["layer2", "layer3"]
    layer2, layer3 = session.run(None, {"image": np.zeros((batch, 3, height, width), np.float32)})
    assert layer2.shape == (batch, 128, -(-height // 8), -(-width // 8))
    assert layer3.shape == (batch, 256, -(-height // 16), -(-width // 16))
    assert layer2.dtype == layer3.dtype == np.float32
    assert np.isfinite(layer2).all()
    assert np.isfinite(layer3).all()


def test_features_are_alive_and_not_negative(session: onnxruntime.InferenceSession) -> None:
    noise = np.random.default_rng(0).standard_normal((4, 3, 128, 128)).astype(np.float32)
    for feature in session.run(None, {"image": noise}):
        assert feature.min() >= 0
        assert (feature.max(axis=(0, 2, 3)) > 0).mean() > 0.9


def test_torch_form_and_onnx_form_agree() -> None:
    """A fresh network, norms shaken, folded and written, answers like its torch form."""
    torch = pytest.importorskip("torch", reason="the trainable form needs torch")
    torch.manual_seed(0)
    network = student.torch_student().eval()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 2)
    scales = (np.linspace(0.5, 2, 128, dtype=np.float32), np.ones(256, np.float32))
    written = student.onnx_student(student.fold(network, scales)).SerializeToString()
    session = onnxruntime.InferenceSession(written, providers=["CPUExecutionProvider"])
    image = torch.randn(2, 3, 75, 101)
    with torch.inference_mode():
        expected = [p.relu() * torch.from_numpy(s).view(-1, 1, 1)
                    for p, s in zip(network(image), scales, strict=True)]  # fmt: skip
    for got, wanted in zip(session.run(None, {"image": image.numpy()}), expected, strict=True):
        # float16 rounding of the weights: 2**-11 relative each, over eleven layers.
        np.testing.assert_allclose(got, wanted.numpy(), atol=5e-3 * float(wanted.max()))


def test_agrees_with_its_teacher_on_photographs_kept_from_training(
    session: onnxruntime.InferenceSession,
) -> None:
    """Cosine of PatchCore's embedding per position, on the recipe's own held-out photographs."""
    pytest.importorskip("torch", reason="the teacher needs torch")
    pytest.importorskip("timm", reason="the teacher needs timm")
    weights = SHARED / "weights" / "resnet18_layer3.safetensors"
    photographs = SHARED / "data" / "natural"
    if not weights.is_file() or not photographs.is_dir():
        pytest.skip(f"no teacher and photographs under {SHARED}; set PYAD_EDGE_TEST_DATA")
    import torch

    from pyad_edge.export import distill_pictures as pictures
    from pyad_edge.export import distill_validation as validation

    _, held_out = pictures.load_naturals(photographs)
    rng = np.random.default_rng(7)
    image = pictures.normalised(np.stack([pictures.crop(rng, p, 192) for p in held_out[:12]]))
    with torch.inference_mode():
        answers = validation.load_teacher(weights).float()(image.contiguous())
        truth = validation.patch_embedding(*answers)
    mine = [torch.from_numpy(f) for f in session.run(None, {"image": image.contiguous().numpy()})]
    cosine = torch.cosine_similarity(truth, validation.patch_embedding(*mine), dim=2)
    assert cosine.mean() > 0.91
