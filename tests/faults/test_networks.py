"""A network that throws, hangs, or gives values or shapes that are none: a fault of its frame."""

from __future__ import annotations

import threading
import time
from typing import Any

import numpy as np
import pytest
from faults.networks import Network
from tiny_engine import TinyEngine

from pyad_edge import BackendError, Runtime, read_image
from pyad_edge.errors import ResourceError
from pyad_edge.streaming import FaultCode, StreamSettings


def spoil(value: float, *, everywhere: bool = False) -> Any:
    def write(session: Any) -> None:
        for output in session.outputs:
            if everywhere:
                output[...] = value
            else:
                output.reshape(-1)[output.size // 2] = value

    return write


FAULTS = {
    "throws": (RuntimeError("out of its mind"), FaultCode.BACKEND, "RuntimeError: out of its mind"),
    "says so": (BackendError("[fake] no more."), FaultCode.BACKEND, "[fake] no more."),
    "lets a key error out": (KeyError("layer2"), FaultCode.BACKEND, "KeyError: 'layer2'"),
    "memory": (MemoryError(), FaultCode.MEMORY, "memory of this machine is used up"),
    "resource": (ResourceError("[fake] full."), FaultCode.MEMORY, "[fake] full."),
    "one NaN": (spoil(np.nan), FaultCode.BACKEND, "contains NaN or infinity"),
    "one inf": (spoil(np.inf), FaultCode.BACKEND, "contains NaN or infinity"),
    "all NaN": (spoil(np.nan, everywhere=True), FaultCode.BACKEND, "contains NaN or infinity"),
    "overflow": (spoil(3e38, everywhere=True), FaultCode.BACKEND, ""),
}


@pytest.mark.parametrize("kind", FAULTS)
@pytest.mark.parametrize("mode", ["infer", "decide"])
def test_a_bad_run_is_a_fault_of_its_frame(
    tiny: TinyEngine, monkeypatch: pytest.MonkeyPatch, kind: str, mode: Any
) -> None:
    step, code, reason = FAULTS[kind]
    runtime = Runtime(tiny.path)
    frames = [read_image(path) for path in tiny.scores]
    ask = runtime.infer if mode == "infer" else runtime.decide
    expected: list[Any] = [ask(frame) for frame in frames]  # type: ignore[operator]
    scores = [one.score for one in expected]
    Network(monkeypatch, [None, step])
    with runtime.stream(frames, mode=mode, gate=None) as stream:
        found = list(stream)
    assert len(found) == len(frames) > 2
    fault = found[1].fault
    assert found[1].verdict == "FAULT"
    assert fault is not None
    assert fault.code is code
    assert reason in fault.reason
    assert len(fault.reason) > 5
    for n, one in enumerate(found):
        if n != 1:
            assert one.fault is None
            assert one.result is not None
            assert one.result.score == scores[n], "the frames after it are as before, to the bit"


@pytest.mark.parametrize(
    "wrong",
    [
        lambda a: a[:, :, :-1],  # fewer rows of patches
        lambda a: a[0],  # no batch
        lambda a: a[:, :, :0],  # nothing
        lambda a: a.astype(np.float64),
        lambda a: a.view(np.int32),
        lambda a: a[:, :-1],  # channels, which pooling would hide
        lambda a: np.concatenate([a, a], 1),
        lambda a: a[:, ::2],
    ],
)
@pytest.mark.parametrize("mode", ["infer", "decide"])
def test_outputs_of_another_shape_or_type_are_never_scored(
    tiny: TinyEngine, monkeypatch: pytest.MonkeyPatch, wrong: Any, mode: Any
) -> None:
    runtime = Runtime(tiny.path)
    frames = [read_image(path) for path in tiny.scores]
    ask = runtime.infer if mode == "infer" else runtime.decide
    expected: list[Any] = [ask(frame) for frame in frames]  # type: ignore[operator]
    scores = [one.score for one in expected]
    kept: list[Any] = []

    def other(session: Any) -> None:
        kept.append(session.outputs)
        session.outputs = tuple(np.ascontiguousarray(wrong(a)) for a in session.outputs)

    def back(session: Any) -> None:
        session.outputs = kept.pop()

    Network(monkeypatch, [None, other, back])
    with runtime.stream(frames, mode=mode, gate=None) as stream:
        found = list(stream)
    assert [one.verdict == "FAULT" for one in found] == [n == 1 for n in range(len(frames))]
    assert found[1].fault is not None
    assert found[1].fault.code is FaultCode.BACKEND
    assert found[1].fault.reason.startswith("[infer] expected an output of shape (1, ")
    assert "Open the engine again" in found[1].fault.reason
    assert [one.result.score for one in found if one.result] == scores[:1] + scores[2:]


def test_an_output_more_or_less_is_never_scored(
    tiny: TinyEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime, frame = Runtime(tiny.path), read_image(next(iter(tiny.scores)))
    score = runtime.infer(frame).score

    def more(session: Any) -> None:
        session.outputs = (*session.outputs, session.outputs[-1])

    def fewer(session: Any) -> None:
        session.outputs = session.outputs[:1]
        kept.append(session.outputs)

    def back(session: Any) -> None:
        session.outputs = kept[0]

    kept: list[Any] = []
    Network(monkeypatch, [lambda session: kept.append(session.outputs), more, fewer, back])
    assert runtime.infer(frame).score == score
    for found in (3, 1):
        with pytest.raises(BackendError, match=f"expected 2 outputs of the network, got {found}"):
            runtime.infer(frame)
    assert runtime.infer(frame).score == score


class Planner:
    """A backend whose sessions have as many channels as it is told to."""

    def __init__(self, real: Any, wrong: Any) -> None:
        self._real, self._wrong = real, wrong

    def session(self, batch: int) -> Any:
        session = self._real.session(batch)
        session.outputs = tuple(np.ascontiguousarray(self._wrong(a)) for a in session.outputs)
        return session

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


@pytest.mark.parametrize(
    "wrong", [lambda a: a[:, :-1], lambda a: np.concatenate([a, a], 1), lambda a: a[:1]]
)
def test_a_later_plan_with_other_outputs_is_refused(tiny: TinyEngine, wrong: Any) -> None:
    """Batches of another size have sessions of their own, planned when the first of them comes."""
    runtime = Runtime(tiny.path)
    frames = [read_image(path) for path in tiny.scores][:2]
    score = runtime.infer(frames[0]).score
    pool: Any = runtime.pipeline._workspaces
    real, pool._backend = pool._backend, Planner(pool._backend, wrong)
    for _ in range(2):
        with pytest.raises(BackendError, match=r"as when the engine was opened, got .*Open the"):
            runtime.infer_batch(frames)
    assert runtime.infer(frames[0]).score == score
    pool._backend = real
    assert runtime.infer_batch(frames)[0].score == score


def test_a_hang_is_a_standstill_that_closing_does_not_wait_for(
    tiny: TinyEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What systemd's watchdog is told of it: tests/test_watchdog.py."""
    runtime = Runtime(tiny.path)
    frames = [read_image(path) for path in tiny.scores]
    hangs, over = threading.Event(), threading.Event()

    def hang(_: Any) -> None:
        hangs.set()
        over.wait(60)

    Network(monkeypatch, [None, hang])
    stream = runtime.stream(frames, gate=None, settings=StreamSettings(results=1))
    assert next(stream).fault is None
    assert hangs.wait(20)
    time.sleep(0.2)
    assert stream.stalled_s() >= 0.15
    start = time.monotonic()
    stream.close()
    assert time.monotonic() - start < 10, "two seconds, on a machine with nothing else to do"
    over.set()
    assert runtime.infer(frames[0]).score is not None, "other callers are not held up"


def test_a_hang_that_ends_loses_no_verdict(
    tiny: TinyEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime = Runtime(tiny.path)
    frames = [read_image(path) for path in tiny.scores]
    scores = [runtime.infer(frame).score for frame in frames]
    Network(monkeypatch, [None, lambda _: time.sleep(0.5)])
    with runtime.stream(frames, gate=None) as stream:
        assert [one.result.score for one in stream if one.result] == scores
