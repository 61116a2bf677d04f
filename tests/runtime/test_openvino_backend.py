"""What is OpenVINO's own: precisions as compiled, plans, refusals, NaN."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="building tiny networks needs onnx")

from backend_forms import LAYERS, MODEL, SIZE, noise, opened  # noqa: E402
from tiny_engine import TinyEngine  # noqa: E402
from tiny_models import edit_model  # noqa: E402

from pyad_edge import Runtime  # noqa: E402
from pyad_edge.backends import openvino as openvino_backend  # noqa: E402
from pyad_edge.backends.openvino import OpenVinoBackend  # noqa: E402
from pyad_edge.backends.registry import examine_backends, open_backend  # noqa: E402
from pyad_edge.bfloat16 import is_channels_last, widened  # noqa: E402
from pyad_edge.errors import BackendError, SettingError  # noqa: E402

# The last owner of a network goes in another thread, as where a garbage collector finds it there.
INTERRUPTED = """
import os, signal, sys, threading
from pyad_edge.backends.registry import open_backend

held = [open_backend("openvino", sys.stdin.buffer.read(), outputs=("layer2",), input_size=(64, 64))]
other = threading.Thread(target=held.clear)
other.start()
other.join()
signal.signal(signal.SIGINT, signal.default_int_handler)
try:
    os.kill(os.getpid(), signal.SIGINT)
except KeyboardInterrupt:
    print("interrupted")
"""


@pytest.fixture(autouse=True)
def cache_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYAD_EDGE_CACHE", str(tmp_path / "cache"))


def test_openvino_says_what_its_convolutions_run_in() -> None:
    assert opened("openvino").info["convolutions"] == {"f32": 4}
    assert opened("openvino", "bf16").info["convolutions"] == {"bf16": 4}
    found = opened("openvino", "int8").info
    assert found["convolutions"]["u8"] == 3
    assert found["calibration"]["pictures"] == 4


def test_coarse_outputs_are_bf16_channels_last_and_what_run_gives() -> None:
    def outputs(**settings: Any) -> tuple[list[Any], list[Any]]:
        made = open_backend(
            "openvino", MODEL, outputs=LAYERS, input_size=SIZE, precision="bf16", **settings
        )
        session = made.session(2)
        session.input[:] = batch
        session.run()
        return [array.copy() for array in session.outputs], made.run(batch)

    opened("openvino", "bf16")  # skips where there is none
    batch = noise(2, 3, *SIZE)
    fine, _ = outputs()
    coarse, ran = outputs(coarse_outputs=True)
    for found, exact, again in zip(coarse, fine, ran, strict=True):
        assert found.dtype == np.uint16
        assert found.shape == exact.shape
        np.testing.assert_array_equal(widened(found), again)
        assert again.flags.c_contiguous
        # Outputs are rounded to 8 bits, and so are the sums of blocks before them.
        assert np.abs(again - exact).max() <= 2.0**-6 * np.abs(exact).max()
        assert np.abs(again - exact).max() > 0.0
    session = open_backend(
        "openvino", MODEL, outputs=LAYERS, input_size=SIZE, precision="bf16", coarse_outputs=True
    ).session(1)
    assert all(is_channels_last(array) for array in session.outputs)


def test_coarse_outputs_leave_other_precisions_alone() -> None:
    pytest.importorskip("openvino")
    session = open_backend(
        "openvino", MODEL, outputs=LAYERS, input_size=SIZE, coarse_outputs=True
    ).session(1)
    assert all(array.dtype == np.float32 for array in session.outputs)


def test_an_engine_with_a_bank_opens_with_coarse_outputs(tiny: TinyEngine) -> None:
    opened("openvino", "bf16")
    runtime = Runtime(tiny.path, backend="openvino", precision="bf16")
    frame = np.random.default_rng(0).integers(0, 256, (256, 256, 3), np.uint8)
    with runtime.pipeline._workspaces.borrow(1) as workspace:
        kinds = {array.dtype for array in workspace.session.outputs}
    assert kinds == {np.dtype(np.uint16)}
    assert runtime.infer(frame).score == pytest.approx(
        Runtime(tiny.path).infer(frame).score, rel=0.05
    )
    assert runtime.decide(frame, score=True).score == runtime.infer(frame).score


def test_openvino_refuses_another_precision_than_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("openvino")
    monkeypatch.setitem(openvino_backend._RUNS_IN, "fp32", {"f64"})
    with pytest.raises(BackendError, match=r"asked for fp32, but CPU would compute .* in f32"):
        opened("openvino")


def test_a_processor_without_bf16_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("openvino")
    monkeypatch.setattr(openvino_backend, "_precisions", lambda *_: ("fp32", "int8"))
    with pytest.raises(SettingError, match=r"offers \(fp32, int8\), got 'bf16'.*pyad-edge doctor"):
        open_backend("openvino", MODEL, outputs=LAYERS, input_size=SIZE, precision="bf16")
    (found,) = [entry for entry in examine_backends() if entry["name"] == "openvino"]
    assert found["why"].startswith("no bf16: cpu (")


@pytest.mark.parametrize("model", [b"", b"not a network", MODEL[:3000]])
def test_openvino_refuses_bytes_that_are_no_network(model: bytes) -> None:
    pytest.importorskip("openvino")
    with pytest.raises(BackendError, match=f"cannot load a network of {len(model)} bytes"):
        OpenVinoBackend(model, outputs=LAYERS)


def test_openvino_refuses_what_onnxruntime_refuses() -> None:
    pytest.importorskip("openvino")
    with pytest.raises(BackendError, match=r"no output 'layer4'; it offers layer2, layer3\."):
        OpenVinoBackend(MODEL, outputs=("layer2", "layer4"))
    with pytest.raises(BackendError, match="not a JSON object"):
        OpenVinoBackend(edit_model(MODEL, pyad_edge__backbone="{"), outputs=LAYERS)
    with pytest.raises(BackendError, match="input_size="):
        OpenVinoBackend(MODEL, outputs=LAYERS).session(1)


def test_openvino_runs_any_size_and_order_and_forgets_old_plans() -> None:
    pytest.importorskip("openvino")
    made = OpenVinoBackend(MODEL, outputs=("layer3", "layer2"))
    for side in range(32, 52, 2):
        shapes = [array.shape for array in made.run(noise(1, 3, side, side))]
        assert shapes == [
            (1, 32, -(-side // 16), -(-side // 16)),
            (1, 16, -(-side // 8), -(-side // 8)),
        ]
    assert len(made._plans) == openvino_backend._MAX_PLANS


def test_what_lets_a_nan_through_changes_no_feature(monkeypatch: pytest.MonkeyPatch) -> None:
    batch = noise(1, 3, *SIZE)
    found = opened("openvino").run(batch)
    monkeypatch.setattr(openvino_backend, "let_nan_through", lambda loaded: None)
    for a, b in zip(found, opened("openvino").run(batch), strict=True):
        np.testing.assert_array_equal(a + np.float32(1.0), b + np.float32(1.0))
        np.testing.assert_array_equal(a[b > 0], b[b > 0])
        assert np.abs(a - b).max() < 1e-28


@pytest.mark.skipif(sys.platform == "win32", reason="no such signals")
def test_ctrl_c_is_heard_after_a_network_has_gone_in_another_thread() -> None:
    """OpenVINO's Core owns the stack of the first thread's signal handlers."""
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED], input=MODEL, capture_output=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, b"interrupted\n"), done.stderr.decode()
