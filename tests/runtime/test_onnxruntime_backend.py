"""The ONNX Runtime backend: what it runs, what it refuses, and that it repeats itself."""

from __future__ import annotations

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="building tiny networks needs onnx")

from tiny_models import edit_model, tiny_backbone  # noqa: E402

from pyad_edge.backends import Backend, OnnxRuntimeBackend  # noqa: E402
from pyad_edge.errors import BackendError, SettingError  # noqa: E402

LAYERS = ("layer2", "layer3")


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).normal(size=shape).astype(np.float32)


@pytest.fixture
def backend() -> OnnxRuntimeBackend:
    return OnnxRuntimeBackend(tiny_backbone(), outputs=LAYERS)


def convolution(x: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """3x3, stride 2, padding 1, then ReLU, in float64."""
    padded = np.pad(x.astype(np.float64), ((0, 0), (0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(2, 3))[:, :, ::2, ::2]
    return np.maximum(np.einsum("nchwij,ocij->nohw", windows, weight) + bias[:, None, None], 0)


@pytest.mark.parametrize(("n", "height", "width"), [(1, 33, 50), (3, 64, 64), (2, 17, 16)])
def test_outputs_equal_the_convolutions_in_numpy(
    backend: OnnxRuntimeBackend, n: int, height: int, width: int
) -> None:
    image = noise(n, 3, height, width)
    proto = onnx.load_from_string(tiny_backbone())
    weights = {i.name: onnx.numpy_helper.to_array(i) for i in proto.graph.initializer}
    x, wanted = image, {}
    for name in ("stem", "layer1", *LAYERS):
        x = convolution(x, weights[f"{name}.weight"], weights[f"{name}.bias"])
        wanted[name] = x
    found = backend.run(image)
    assert len(found) == 2
    for name, features in zip(LAYERS, found, strict=True):
        assert features.dtype == np.float32
        assert features.flags.c_contiguous
        np.testing.assert_allclose(features, wanted[name], rtol=1e-5, atol=1e-5)


def test_outputs_come_in_the_order_asked_for() -> None:
    backend = OnnxRuntimeBackend(tiny_backbone((8, 16)), outputs=("layer3", "layer2"))
    assert backend.output_names == ("layer3", "layer2")
    assert [f.shape[1] for f in backend.run(noise(1, 3, 32, 32))] == [16, 8]


def test_info_and_metadata_say_what_runs(backend: OnnxRuntimeBackend) -> None:
    assert isinstance(backend, Backend)
    one = OnnxRuntimeBackend(tiny_backbone(), outputs=LAYERS, threads=1)
    assert one.info["threads"] == 1
    assert one.info["name"] == "onnxruntime"
    assert one.info["provider"] == "CPUExecutionProvider"
    assert one.info["version"]
    assert backend.info["threads"] >= 1
    assert backend.metadata["name"] == "tiny"
    assert backend.metadata["channels"] == [8, 16]
    assert OnnxRuntimeBackend(tiny_backbone(metadata=False), outputs=LAYERS).metadata == {}


def test_the_given_batch_may_have_any_strides(backend: OnnxRuntimeBackend) -> None:
    image = noise(2, 3, 40, 48)
    turned = np.ascontiguousarray(image.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    assert not turned.flags.c_contiguous
    for a, b in zip(backend.run(image), backend.run(turned), strict=True):
        np.testing.assert_array_equal(a, b)


def test_bit_equal_run_to_run_and_from_many_threads() -> None:
    backend = OnnxRuntimeBackend(tiny_backbone((16, 32)), outputs=LAYERS, threads=2)
    images = [noise(1, 3, 40 + i, 64) for i in range(4)]
    wanted = [backend.run(image) for image in images]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(backend.run, images * 10))
    for i, features in enumerate(found):
        for a, b in zip(features, wanted[i % 4], strict=True):
            np.testing.assert_array_equal(a, b)


def test_batch_and_single_agree() -> None:
    backend = OnnxRuntimeBackend(tiny_backbone((16, 32)), outputs=LAYERS)
    images = noise(5, 3, 65, 47)
    batched = backend.run(images)
    for i in range(len(images)):
        for a, b in zip(batched, backend.run(images[i : i + 1]), strict=True):
            np.testing.assert_allclose(a[i : i + 1], b, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("model", [b"", b"not a network", tiny_backbone()[:5000]])
def test_bytes_that_are_no_network_are_refused(model: bytes) -> None:
    with pytest.raises(BackendError, match=f"cannot load a network of {len(model)} bytes.*ONNX"):
        OnnxRuntimeBackend(model, outputs=LAYERS)


def test_weights_outside_the_file_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    proto = onnx.load_from_string(tiny_backbone())
    onnx.save_model(
        proto, "net.onnx", save_as_external_data=True, location="net.bin", size_threshold=0
    )
    with pytest.raises(BackendError, match="weights inside"):
        OnnxRuntimeBackend(Path("net.onnx").read_bytes(), outputs=LAYERS)


def test_missing_outputs_are_named_beside_those_that_exist() -> None:
    with pytest.raises(BackendError, match=r"no output 'layer4'; it offers layer2, layer3\."):
        OnnxRuntimeBackend(tiny_backbone(), outputs=("layer2", "layer4"))
    with pytest.raises(SettingError, match=r"got none.*layer2, layer3"):
        OnnxRuntimeBackend(tiny_backbone(), outputs=())


@pytest.mark.parametrize("threads", [0, -1])
def test_thread_counts_below_one_are_refused(threads: int) -> None:
    with pytest.raises(SettingError, match=f"got {threads}"):
        OnnxRuntimeBackend(tiny_backbone(), outputs=LAYERS, threads=threads)


@pytest.mark.parametrize(
    "shape", [(2, 1, 32, 32), (3, 32, 32), (0, 3, 32, 32), (1, 3, 0, 32), (1, 1, 3, 32, 32)]
)
def test_batches_of_another_shape_are_refused(
    backend: OnnxRuntimeBackend, shape: tuple[int, ...]
) -> None:
    with pytest.raises(BackendError, match=r"expected a batch of shape \(N, 3, H, W\), got"):
        backend.run(np.zeros(shape, np.float32))


def test_other_dtypes_are_refused(backend: OnnxRuntimeBackend) -> None:
    with pytest.raises(BackendError, match="float32, got uint8"):
        backend.run(np.zeros((1, 3, 32, 32), np.uint8))  # type: ignore[arg-type]


def test_a_network_of_fixed_size_says_which() -> None:
    proto = onnx.load_from_string(tiny_backbone())
    for axis, size in ((0, 1), (2, 32), (3, 48)):
        proto.graph.input[0].type.tensor_type.shape.dim[axis].dim_value = size
    backend = OnnxRuntimeBackend(proto.SerializeToString(), outputs=LAYERS)
    assert backend.input_shape == (1, 3, 32, 48)
    assert backend.run(noise(1, 3, 32, 48))[0].shape == (1, 8, 4, 6)
    with pytest.raises(BackendError, match=r"\(1, 3, 32, 48\), got \(2, 3, 32, 48\)"):
        backend.run(noise(2, 3, 32, 48))


def test_networks_for_other_inputs_are_refused() -> None:
    proto = onnx.load_from_string(tiny_backbone())
    proto.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 1
    proto.graph.initializer[0].CopyFrom(
        onnx.numpy_helper.from_array(np.zeros((4, 1, 3, 3), np.float32), "stem.weight")
    )
    with pytest.raises(BackendError, match=r"input of shape \(N, 3, H, W\), got image.*1"):
        OnnxRuntimeBackend(proto.SerializeToString(), outputs=LAYERS)


@pytest.mark.parametrize("text", ["{", "[1]", '"name"'])
def test_broken_metadata_is_refused(text: str) -> None:
    model = edit_model(tiny_backbone(), pyad_edge__backbone=text)
    with pytest.raises(BackendError, match="not a JSON object"):
        OnnxRuntimeBackend(model, outputs=LAYERS)


def test_a_missing_onnxruntime_explains_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(BackendError, match="pip install onnxruntime"):
        OnnxRuntimeBackend(tiny_backbone(), outputs=LAYERS)


def test_nothing_on_stderr_and_no_torch(tmp_path: Path) -> None:
    """Failures arrive as exceptions only; ONNX Runtime's own log lines stay away."""
    path = tmp_path / "net.onnx"
    path.write_bytes(tiny_backbone())
    code = """
import json, sys, pathlib
sys.modules["torch"] = sys.modules["onnx"] = None
import numpy as np
from pyad_edge.backends import OnnxRuntimeBackend
from pyad_edge.errors import BackendError
model = pathlib.Path(sys.argv[1]).read_bytes()
failures = 0
try:
    OnnxRuntimeBackend(model[:-40], outputs=("layer2",))
except BackendError:
    failures += 1
backend = OnnxRuntimeBackend(model, outputs=("layer2",))
try:
    backend.run(np.zeros((1, 4, 32, 32), np.float32))
except BackendError:
    failures += 1
print(json.dumps([failures, backend.run(np.zeros((1, 3, 32, 32), np.float32))[0].shape]))
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, str(path)],
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.stderr == ""
    assert json.loads(done.stdout) == [2, [1, 8, 4, 4]]
