"""A poisoned CUDA context, simulated: nothing more is tried on it, and ``run`` ends with code 8."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from command_line import call
from faults.networks import ILLEGAL, Network
from tiny_engine import TinyEngine

from pyad_edge import BackendError, Runtime, read_image
from pyad_edge.device_loss import fatal_text
from pyad_edge.errors import DeviceLostError
from pyad_edge.streaming import FaultCode


@pytest.mark.parametrize(
    "text",
    [
        ILLEGAL,
        "CUDA error: device-side assert triggered",
        "CUDA error: unspecified launch failure\nCUDA kernel errors might be reported later",
        "[nearest_neighbors] search failed on the CUDA device: misaligned address",
        "cudaErrorLaunchFailure",
        "CUDA_ERROR_ECC_UNCORRECTABLE: uncorrectable ECC error encountered",
        "Cuda Runtime (CUDA failure 719: unspecified)",
    ],
)
def test_errors_that_only_a_new_process_cures(text: str) -> None:
    assert fatal_text(RuntimeError(text)) == " ".join(text.split())
    outer = BackendError("[infer] the network failed.")
    outer.__cause__ = RuntimeError(text)
    assert fatal_text(outer) == " ".join(text.split())


@pytest.mark.parametrize(
    "text",
    [
        "CUDA failure 2: out of memory",
        "CUDA failure 7000",
        "invalid argument",
        "no kernel image is available for execution on the device",
        "the picture is too small",
        "",
    ],
)
def test_errors_that_leave_the_device_as_it_was(text: str) -> None:
    assert fatal_text(RuntimeError(text)) is None


def test_a_runtime_is_red_from_the_first_one_on(
    tiny: TinyEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime = Runtime(tiny.path)
    frame = read_image(next(iter(tiny.scores)))
    network = Network(monkeypatch, [None, RuntimeError("a moment of weakness"), None, ILLEGAL])
    runtime.infer(frame)
    with pytest.raises(RuntimeError, match="weakness"):
        runtime.infer(frame)
    runtime.infer(frame)
    assert runtime.device_watch.lost is None
    for ask in (runtime.infer, runtime.decide, lambda one: runtime.infer_batch([one, one])):
        with pytest.raises(DeviceLostError, match=r"the device is lost: .*illegal memory access"):
            ask(frame)
    assert network.runs == 4, "nothing is tried on a device that is lost"


@pytest.mark.parametrize("mode", ["infer", "decide"])
def test_every_trigger_of_a_stream_has_its_fault(
    tiny: TinyEngine, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    runtime = Runtime(tiny.path)
    frames = [read_image(path) for path in tiny.scores] * 2
    network = Network(monkeypatch, [None, None, ILLEGAL])
    with runtime.stream(frames, mode=mode, gate=None) as stream:  # type: ignore[arg-type]
        found = list(stream)
    assert len(found) == len(frames)
    assert [one.fault is None for one in found] == [True, True] + [False] * (len(frames) - 2)
    for one in found[2:]:
        assert one.verdict == "FAULT"
        assert one.fault is not None
        assert one.fault.code is FaultCode.BACKEND
        assert "the device is lost" in one.fault.reason
    assert network.runs == 3


def test_run_answers_what_waits_and_ends_with_code_8(
    tiny: TinyEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from PIL import Image

    source = tmp_path / "parts"
    source.mkdir()
    frame = read_image(next(iter(tiny.scores)))
    for n in range(60):
        Image.fromarray(np.roll(frame, n, axis=1)).save(source / f"{n:03d}.png")
    golden = len(Runtime(tiny.path).engine.tensors["golden/frames"])
    Network(monkeypatch, [*[None] * golden, None, ILLEGAL])
    answer = call("run", tiny.path, "--source", source)
    assert answer.code == DeviceLostError.exit_code == 8
    assert answer.sentence.startswith("[infer] the device is lost:")
    assert "Start the program again." in answer.sentence
    lines = [json.loads(line) for line in answer.out.splitlines()]
    assert [line["verdict"] == "FAULT" for line in lines] == [False] + [True] * (len(lines) - 1)
    assert [line["frame"] for line in lines] == list(range(len(lines)))
    assert 2 <= len(lines) < 60, "it did not go on to the end of a line that it cannot see"
