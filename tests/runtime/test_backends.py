"""Every backend of the CPU: the same features, planned memory, refusals in sentences."""

from __future__ import annotations

import os
import subprocess
import sys
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="building tiny networks needs onnx")

from backend_forms import LAYERS, MODEL, SIZE, noise, opened  # noqa: E402
from command_line import call  # noqa: E402
from tiny_engine import TinyEngine  # noqa: E402

from pyad_edge import Runtime, read_image  # noqa: E402
from pyad_edge.backends import openvino as openvino_backend  # noqa: E402
from pyad_edge.backends import registry  # noqa: E402
from pyad_edge.backends.registry import (  # noqa: E402
    BACKENDS,
    examine_backends,
    golden_tolerance,
    open_backend,
)
from pyad_edge.errors import BackendError, EngineError, SettingError  # noqa: E402

EXACT = [("onnxruntime", "fp32"), ("openvino", "fp32"), ("native", "fp32")]
FORMS = [*EXACT, ("openvino", "bf16"), ("onnxruntime", "int8"), ("openvino", "int8")]
# Largest error of a layer over its norm. bf16 keeps 8 bits of fraction; a network of four small
# layers suffers from 8-bit ranges more than ResNet-18 (docs/backends.md).
ERROR = {"fp32": 1e-5, "bf16": 0.02, "int8": 0.05}


@pytest.fixture(autouse=True)
def cache_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYAD_EDGE_CACHE", str(tmp_path / "cache"))


@pytest.mark.parametrize(("backend", "precision"), FORMS)
@pytest.mark.parametrize("n", [1, 3])
def test_the_same_features_within_what_the_precision_allows(
    backend: str, precision: str, n: int
) -> None:
    batch = noise(n, 3, *SIZE)
    wanted = opened("onnxruntime").run(batch)
    made = opened(backend, precision)
    found = made.run(batch)
    assert [array.shape for array in found] == [array.shape for array in wanted]
    for a, b in zip(found, wanted, strict=True):
        assert a.dtype == np.float32
        assert np.linalg.norm(a - b) <= ERROR[precision] * np.linalg.norm(b)
    exactly = all((a == b).all() for a, b in zip(found, wanted, strict=True))
    assert exactly == ((backend, precision) == EXACT[0])  # the others do compute differently
    assert made.info["precision"] == precision
    assert made.metadata["name"] == "tiny"


@pytest.mark.parametrize(("backend", "precision"), FORMS)
def test_a_session_runs_where_its_arrays_lie(backend: str, precision: str) -> None:
    made = opened(backend, precision)
    session = made.session(2)
    kept = (session.input, *session.outputs)
    for seed in range(3):
        session.input[:] = noise(2, 3, *SIZE) + seed
        session.run()
        for a, b in zip(session.outputs, made.run(session.input.copy()), strict=True):
            np.testing.assert_array_equal(a, b)
    assert all(a is b for a, b in zip(kept, (session.input, *session.outputs), strict=True))
    assert all(a.flags.c_contiguous and a.flags.writeable for a in kept)


@pytest.mark.parametrize(("backend", "precision"), EXACT)
def test_a_run_of_a_session_keeps_no_array(backend: str, precision: str) -> None:
    session = opened(backend, precision).session(1)
    session.run()
    tracemalloc.start()
    try:
        for _ in range(5):
            session.run()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < min(array.nbytes for array in session.outputs)


@pytest.mark.parametrize(("backend", "precision"), FORMS[1:])
def test_many_threads_and_runs_give_one_result(backend: str, precision: str) -> None:
    made = opened(backend, precision)
    images = [noise(1, 3, *SIZE) + seed for seed in range(4)]
    wanted = [made.run(image) for image in images]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(made.run, images * 10))
    for i, features in enumerate(found):
        for a, b in zip(features, wanted[i % 4], strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
@pytest.mark.parametrize("spinning", [True, False])
def test_spinning_and_threads_change_no_more_than_the_last_bits(
    backend: str, spinning: bool
) -> None:
    batch = noise(1, 3, *SIZE)
    made = opened(backend, spinning=spinning, threads=1)
    assert (made.info["threads"], made.info["spinning"]) == (1, spinning)
    for a, b in zip(made.run(batch), opened(backend).run(batch), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"name": "tflite"}, r"unknown backend 'tflite'. This version has: onnxruntime, openvino"),
        ({"precision": "fp8"}, r"unknown precision 'fp8'. Choose fp32, fp16, bf16, int8"),
        ({"precision": "bf16"}, r"device cpu offers \(fp32, int8\), got 'bf16'"),
        ({"device": "gpu"}, r"expected device cpu, cuda, cuda:1 and so on, or tensorrt, got 'gpu'"),
        ({"device": "cpu:1"}, "got 'cpu:1'"),
        ({"device": "cuda:x"}, "got 'cuda:x'"),
        ({"name": "openvino", "device": "fpga"}, r"a device that is here \(.*cpu.*got 'fpga'"),
        ({"name": "openvino", "precision": "fp16"}, "got 'fp16'"),
        ({"threads": 0}, "got 0.*all cores"),
        ({"name": "openvino", "threads": 0}, "got 0.*all cores"),
        ({"outputs": ()}, "at least one output name"),
        ({"name": "openvino", "outputs": ()}, "at least one output name"),
        ({"name": "native", "precision": "fp16"}, r"it offers \(fp32.*\), got 'fp16'"),
        ({"name": "native", "device": "cuda"}, "the device cpu alone, got 'cuda'"),
        ({"name": "native", "threads": 0}, "got 0.*all cores"),
        ({"name": "native", "outputs": ()}, "at least one output name"),
    ],
)
def test_settings_that_cannot_be_used(settings: dict[str, Any], sentence: str) -> None:
    settings = {"name": "onnxruntime", "outputs": LAYERS, "input_size": SIZE, **settings}
    if settings["name"] == "openvino":
        pytest.importorskip("openvino")
    with pytest.raises(SettingError, match=sentence):
        open_backend(settings.pop("name"), MODEL, **settings)


def test_a_device_this_onnxruntime_was_not_built_for() -> None:
    import onnxruntime

    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this onnxruntime has CUDA")
    for device in ("cuda", "cuda:1", "tensorrt"):
        with pytest.raises(BackendError, match=r"needs the .*pip install onnxruntime-gpu"):
            opened("onnxruntime", device=device)


def test_a_provider_that_is_dropped_in_silence_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """As onnxruntime does where cuDNN is missing: it goes on with the CPU."""
    import onnxruntime

    real, seen = onnxruntime.InferenceSession, []

    def session(model: bytes, options: Any, *, providers: Any, enable_fallback: int) -> Any:
        seen.append((providers[0][0], enable_fallback))
        entry = options.get_session_config_entry("session.disable_cpu_ep_fallback")
        assert entry == "1"
        return real(model, providers=["CPUExecutionProvider"])

    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider"])
    monkeypatch.setattr(onnxruntime, "InferenceSession", session)
    with pytest.raises(BackendError, match="was dropped for CPUExecutionProvider"):
        opened("onnxruntime", device="cuda")
    assert seen == [("CUDAExecutionProvider", 0)]


@pytest.mark.parametrize(
    ("package", "backend", "precision", "sentence"),
    [
        ("onnxruntime", "onnxruntime", "fp32", "pip install onnxruntime"),
        ("openvino", "openvino", "fp32", r"pip install 'pyad_edge\[openvino\]'"),
        ("onnx", "onnxruntime", "int8", r"pip install 'pyad_edge\[int8\]'"),
    ],
)
def test_missing_packages_are_named(
    monkeypatch: pytest.MonkeyPatch, package: str, backend: str, precision: str, sentence: str
) -> None:
    calibration = noise(1, 3, *SIZE)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(BackendError, match=sentence):
        open_backend(
            backend,
            MODEL,
            outputs=LAYERS,
            input_size=SIZE,
            precision=precision,
            calibration=calibration,
        )


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino", "native"])
def test_batches_that_do_not_fit(backend: str) -> None:
    made = opened(backend)
    with pytest.raises(BackendError, match=r"expected a batch of shape \(N, 3, H, W\), got"):
        made.run(np.zeros((1, 4, *SIZE), np.float32))
    with pytest.raises(BackendError, match="float32, got uint8"):
        made.run(np.zeros((1, 3, *SIZE), np.uint8))  # type: ignore[arg-type]
    for batch in (0, -1, 1.5, 10**6):
        with pytest.raises(BackendError, match="Run fewer pictures at once"):
            made.session(batch)  # type: ignore[arg-type]


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino", "native"])
def test_a_network_of_one_size_takes_no_other_session(backend: str) -> None:
    opened(backend)
    proto = onnx.load_from_string(MODEL)
    for axis, size in ((0, 1), (2, 32), (3, 48)):
        proto.graph.input[0].type.tensor_type.shape.dim[axis].dim_value = size
    fixed = proto.SerializeToString()
    made = open_backend(backend, fixed, outputs=LAYERS, input_size=(32, 48))
    assert made.session(1).outputs[0].shape == (1, 16, 4, 6)
    with pytest.raises(BackendError, match=r"\(1, 3, 32, 48\), got \(2, 3, 32, 48\)"):
        made.session(2)
    with pytest.raises(BackendError, match=r"\(1, 3, 32, 48\), got \(1, 3, 48, 64\)"):
        open_backend(backend, fixed, outputs=LAYERS, input_size=SIZE).session(1)


def test_every_backend_is_examined_and_says_why_not(monkeypatch: pytest.MonkeyPatch) -> None:
    found = {entry["name"]: entry for entry in examine_backends()}
    assert tuple(found) == BACKENDS
    assert found["onnxruntime"]["state"] == "ok"
    assert "fp32" in found["onnxruntime"]["precisions"]
    for entry in found.values():
        assert entry["state"] in ("ok", "missing", "unavailable")
        assert entry["state"] == "ok" or len(entry["why"]) > 20
    monkeypatch.setitem(sys.modules, "openvino", None)
    monkeypatch.setattr(registry, "_module", lambda name: (_ for _ in ()).throw(OSError(name)))
    assert {entry["state"] for entry in examine_backends()} == {"unavailable"}


def test_tolerances_only_ever_widen_for_lower_precisions() -> None:
    assert golden_tolerance(None, 1e-3) == golden_tolerance("fp32", 1e-3) == 1e-3
    assert 1e-3 < golden_tolerance("fp16", 1e-3) < golden_tolerance("bf16", 1e-3)
    assert golden_tolerance("bf16", 1e-3) < golden_tolerance("int8", 1e-3)
    assert golden_tolerance("bf16", 0.5) == 0.5


def test_a_backend_that_drifts_is_refused_at_open(
    tiny: TinyEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("openvino")
    real = openvino_backend.OpenVinoSession.run

    def drifting(self: Any) -> None:
        real(self)
        for array in self.outputs:
            array *= np.float32(1.004)

    monkeypatch.setattr(openvino_backend.OpenVinoSession, "run", drifting)
    with pytest.raises(EngineError, match=r"on openvino in fp32.*drift 3.*e-03, tolerance 1e-03"):
        Runtime(tiny.path, backend="openvino")


def test_int8_is_prepared_once_for_every_backend(tiny: TinyEngine) -> None:
    pytest.importorskip("openvino")
    with pytest.raises(BackendError, match=r"no int8 network.*pyad-edge prepare ENGINE"):
        Runtime(tiny.path, precision="int8")
    done = call(
        "prepare", tiny.path, "--precision", "int8", "--calibrate", tiny.data / "train/good"
    )
    assert done.code == 0, done.err
    assert '"pictures": 10' in done.out
    picture, score = next(iter(tiny.scores.items()))
    for backend in ("onnxruntime", "openvino"):
        runtime = Runtime(tiny.path, backend=backend, precision="int8")
        assert runtime.info["golden_tolerance"] == golden_tolerance("int8", 0)
        assert runtime.infer(read_image(picture)).score == pytest.approx(score, rel=0.3)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--precision", "int8"), "expected --calibrate FOLDER with --precision int8"),
        (("--calibrate", "."), "expected --calibrate FOLDER with --precision int8"),
    ],
)
def test_prepare_wants_pictures_for_int8_and_only_for_it(
    tiny: TinyEngine, options: tuple[str, ...], sentence: str
) -> None:
    done = call("prepare", tiny.path, *options)
    assert done.code == 2
    assert sentence in " ".join(done.err.split())


def test_prepare_without_pictures(tiny: TinyEngine, tmp_path: Path) -> None:
    done = call("prepare", tiny.path, "--precision", "int8", "--calibrate", tmp_path)
    assert done.code == 3
    assert "no pictures to calibrate with" in " ".join(done.err.split())


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_backends_report_nothing_to_anybody(backend: str, tmp_path: Path) -> None:
    pytest.importorskip(backend)
    network = tmp_path / "network.onnx"
    network.write_bytes(MODEL)
    home = tmp_path / "home"
    home.mkdir()
    script = f"""
import pathlib, sys, time
def audit(event, arguments):
    if event.startswith(("socket.", "urllib.", "http.")):
        print(event, arguments)
sys.addaudithook(audit)
from pyad_edge.backends.registry import open_backend
model = pathlib.Path({str(network)!r}).read_bytes()
opened = open_backend({backend!r}, model, outputs=("layer2",), input_size=(48, 64))
opened.session(1).run()
print({backend!r} in sys.modules, "openvino_telemetry" in sys.modules)
"""
    quiet = ("ORT_DISABLE_TELEMETRY", "ORT_RUNNING_UNIT_TESTS", "CI", "XDG_CACHE_HOME")
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={key: os.environ[key] for key in os.environ if key not in quiet} | {"HOME": str(home)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert (done.stdout, done.stderr) == ("True False\n", "")
    assert not list(home.iterdir())  # where both keep what they count


@pytest.mark.parametrize(("backend", "precision"), [f for f in FORMS if f[1] != "int8"])
def test_a_nan_passes_through_the_whole_network(backend: str, precision: str) -> None:
    session = opened(backend, precision).session(1)
    session.input[:] = noise(1, 3, *SIZE)
    session.input[0, 0, 20, 20] = np.nan
    session.run()
    for found in session.outputs:
        assert np.isnan(found).any()
    session.input[:] = noise(1, 3, *SIZE)
    session.run()
    wanted = opened(backend, precision).run(session.input)
    for found, clean in zip(session.outputs, wanted, strict=True):
        np.testing.assert_array_equal(found, clean)  # nothing of it was left
