"""What streams are tested with: a runtime and a driver that do as they are told."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyad_edge.result import Decision, Verdict
from pyad_edge.streaming import Grab, StreamSettings

QUICK = StreamSettings(
    read_timeout_s=0.02,
    open_timeout_s=0.2,
    stale_after_s=0.06,
    lost_after_s=0.15,
    close_timeout_s=0.1,
    backoff_first_s=0.01,
    backoff_max_s=0.02,
)


def picture(seed: int, shape: tuple[int, ...] = (48, 64, 3)) -> NDArray[np.uint8]:
    """Noise: no check of the gate minds it, and no two are alike."""
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def decision(score: float = 0.5) -> Decision:
    return Decision(
        verdict=Verdict.of(score, 1.0, None),
        settled="search",
        patches_searched=1,
        patches=1,
        score=score,
        threshold=1.0,
        review_threshold=None,
        anomaly_map=None,
        timings={},
    )


class FakeRuntime:
    """Scores a frame by ``score``, which may raise or wait; remembers the sizes of its batches."""

    def __init__(
        self, score: Callable[[NDArray[Any]], float] = lambda _: 0.5, *, batches: bool = True
    ) -> None:
        self._score = score
        self._takes_batches = batches
        self.batches: list[int] = []
        self.info = {"input": {"pixel_format": None}, "color_order": "rgb"}
        self.engine = SimpleNamespace(tensors={"golden/frames": picture(0)[None]})

    def infer(self, frame: NDArray[Any]) -> Decision:
        self.batches.append(1)
        return decision(self._score(frame))

    def infer_batch(self, frames: Sequence[NDArray[Any]]) -> list[Decision]:
        self.batches.append(len(frames))
        return [decision(self._score(frame)) for frame in frames]

    def decide(self, frame: NDArray[Any]) -> Decision:
        return decision(self._score(frame))


class Driver:
    """A device that follows a script, shared by all connections of a camera.

    Each entry is a frame's id (a frame is delivered), a Grab, an exception (raised), or an Event
    (waited for: a driver that hangs). After the last one, no trigger ever comes.
    """

    counter = "device"

    def __init__(self, script: Sequence[Any], *, on_open: Sequence[Any] = ()) -> None:
        self.script = list(script)
        self.on_open = list(on_open)
        self.opened = 0
        self.closed = 0
        self.close_waits: threading.Event | None = None

    def __call__(self) -> Driver:
        return self

    def open(self) -> None:
        self.opened += 1
        if self.on_open:
            _do(self.on_open.pop(0))

    def read(self, timeout: float) -> Grab | None:
        if not self.script:
            threading.Event().wait(timeout)
            return None
        step = self.script.pop(0)
        if isinstance(step, Grab):
            return step
        if isinstance(step, int):
            return Grab(picture(step), frame_id=step)
        _do(step)
        return None

    def close(self) -> None:
        self.closed += 1
        if self.close_waits is not None:
            self.close_waits.wait()


def _do(step: Any) -> None:
    if isinstance(step, BaseException):
        raise step
    if step is not None:
        step.wait()
