"""Inspections to give to sinks, and the sinks that make trouble."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from pyad_edge import Nearest, Region, Result, Verdict
from pyad_edge.sinks.base import Record
from pyad_edge.streaming import Fault, FaultCode, Inspection


def result(score: float = 1.0) -> Result:
    shape = (16, 16)
    return Result(
        score=score,
        p_value=0.1,
        is_anomalous=score > 2.0,
        threshold=2.0,
        review_threshold=1.5,
        anomaly_map=np.full(shape, score, np.float32),
        mask=np.zeros(shape, np.bool_),
        map_threshold=3.0,
        regions=(Region(1, 2, 3, 4, score=score, area=12),),
        peak=(5, 6),
        nearest=Nearest("a.png", 0, 0, score),
        map_box=(0.0, 0.0, 32.0, 32.0),
        timings={"total": 1.0},
    )


def inspection(index: int, *, score: float = 1.0, camera: str = "left") -> Inspection:
    found = result(score)
    return Inspection(
        camera=camera,
        index=index,
        frame_id=index + 100,
        name=f"parts/{index}.png",
        captured_at=1e9 + index,
        verdict=found.verdict,
        result=found,
        image=np.zeros((32, 32, 3), np.uint8),
    )


def fault(index: int) -> Inspection:
    return Inspection(
        camera="left",
        index=index,
        frame_id=index,
        name=f"left#{index}",
        captured_at=1e9,
        verdict=Verdict.FAULT,
        fault=Fault(FaultCode.BLACK, "[gate] almost every pixel is dark; is the light on?"),
    )


class Collector:
    """Keeps what it is given; raises or hangs as told."""

    def __init__(self) -> None:
        self.frames: list[int] = []
        self.failing = False
        self.gate = threading.Event()  # cleared: a call hangs
        self.gate.set()
        self.calls = 0
        self.closed = 0

    def write(self, inspection: Inspection) -> None:
        self._take([inspection.index])

    def close(self) -> None:
        self.closed += 1

    def _take(self, frames: list[int]) -> None:
        self.calls += 1
        self.gate.wait(60)
        if self.failing:
            raise OSError("no route")
        self.frames += frames


class RecordCollector(Collector):
    """The same for records."""

    def write_records(self, records: Sequence[Record]) -> None:
        self._take([record["frame"] for record in records])


def wait_for(condition: Callable[[], Any], seconds: float = 10.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come to pass"
        time.sleep(0.005)
