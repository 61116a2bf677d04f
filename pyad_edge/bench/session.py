"""All of ``pyad-edge bench``: warm up, run the scenarios, say what was found as plain data."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from pyad_edge.bench.loadgen import has_loadgen, run_loadgen
from pyad_edge.bench.machine import about_machine, load
from pyad_edge.bench.measure import backbone_alone, settled_early, stage_times, warm_up
from pyad_edge.bench.resources import PowerMeter, memory
from pyad_edge.bench.scenarios import Answer, CameraRun, Run, Scenario, camera, run_scenario
from pyad_edge.bench.statistics import summarize
from pyad_edge.errors import DataError, SettingError
from pyad_edge.frame_files import read_frame
from pyad_edge.images import list_images
from pyad_edge.runtime import Runtime

__all__ = ["SCENARIOS", "Plan", "Report", "bench", "load_frames"]

SCENARIOS: tuple[Scenario, ...] = ("SingleStream", "MultiStream", "Offline")
MAX_FRAMES = 64  # of a folder: enough that no cache holds them all
WARM_UP = 20
Mode = Literal["infer", "decide"]


@dataclass(frozen=True)
class Plan:
    """What to measure.

    Attributes:
        scenarios: by name.
        clock: ``loadgen``, ``own``, or ``auto``: LoadGen where it is installed.
        seconds: of every run, at least.
        queries: of every run, at least.
        together: frames of one MultiStream query and of one batch of Offline.
        fps: rate of the open-loop camera; None: no such run.
        deadline: ms from trigger to verdict; None: one period.
        decide: time ``decide`` as well.
        rounds: of the runs for stages and for the backbone alone.
    """

    scenarios: tuple[Scenario, ...] = SCENARIOS
    clock: Literal["auto", "loadgen", "own"] = "auto"
    seconds: float = 5.0
    queries: int = 100
    together: int = 4
    fps: float | None = None
    deadline: float | None = None
    decide: bool = False
    rounds: int = 100


@dataclass(frozen=True, eq=False)
class Report:
    """What was found.

    Attributes:
        content: plain data for JSON, see docs/latency.md.
        traces: ms of each query or frame in turn, by the name of its run; for the plot.
    """

    content: dict[str, Any]
    traces: dict[str, NDArray[np.float64]]


def load_frames(runtime: Runtime, source: Path | None) -> tuple[list[NDArray[np.uint8]], str]:
    """Frames to inspect and what they are: of a folder, or the engine's golden ones.

    Golden frames are small. Where the engine knows the size of its frames they are brought to it:
    a size policy ``error`` takes no other, and time depends on it.

    Raises:
        DataError: if the folder has no picture.
    """
    if source is None:
        golden = list(runtime.engine.tensors["golden/frames"])
        what = f"{len(golden)} golden frames (a normal one and noise)"
        spec = runtime.engine.manifest.input
        if spec is None or spec.frame_size in (None, golden[0].shape[:2]):
            return golden, what
        tiled = spec.size_policy == "tile"
        H, W = spec.frame_size
        what += f", {'mirrored on' if tiled else 'stretched'} to {W} x {H} pixels"
        return [_of_size(frame, (H, W), mirror=tiled) for frame in golden], what
    paths = [source] if source.is_file() else list_images(source, recursive=True)
    if not paths:
        raise DataError(f"[bench] {source} has no pictures. Give a folder with some, or none.")
    chosen = paths[:: -(-len(paths) // MAX_FRAMES)]
    pixel_format = runtime.pipeline.input_info["pixel_format"]
    return [read_frame(path, pixel_format) for path in chosen], (
        f"{len(chosen)} pictures of {source.name}"
    )


def _of_size(frame: NDArray[Any], size: tuple[int, int], *, mirror: bool) -> NDArray[Any]:
    """A frame as one of (H, W): mirrored beyond its end, or stretched by pairs of pixels.

    Both leave a Bayer mosaic's colours where they are.
    """
    for axis, side in enumerate(size):
        had, place = frame.shape[axis], np.arange(side)
        if mirror:
            folded = place % (2 * had - 2)
            source = np.minimum(folded, 2 * had - 2 - folded)
        else:
            source = np.minimum(place // 2 * had // side * 2, (had - 2) // 2 * 2) + place % 2
        frame = np.take(frame, source, axis=axis)
    return frame


def bench(
    runtime: Runtime,
    frames: Sequence[NDArray[np.uint8]],
    plan: Plan,
    *,
    resident_before: float | None = None,
) -> Report:
    """Measure an open runtime.

    Args:
        runtime: it has run its golden frames, so it computes what it should.
        frames: at least one, as ``infer`` takes them.
        plan: what to measure.
        resident_before: MB that the process had before the runtime was opened.

    Raises:
        SettingError: if the plan asks for LoadGen and it is not installed.
        PyadError: whatever ``infer`` raises; nothing is timed that gives no verdict.
    """
    if plan.clock == "loadgen" and not has_loadgen():
        raise SettingError(
            "[bench] the clock 'loadgen' is not installed. Run: pip install 'pyad_edge[bench]', or "
            "choose --clock own."
        )
    opened, load_before = memory().resident, load()
    modes: tuple[Mode, ...] = ("infer", "decide") if plan.decide else ("infer",)
    rows: list[dict[str, Any]] = []
    cameras: list[dict[str, Any]] = []
    traces: dict[str, NDArray[np.float64]] = {}
    with PowerMeter() as meter:
        warmed: float | None = None
        for mode in modes:
            answer = _answer(runtime, frames, mode)
            expected = warm_up(answer, together=plan.together, count=WARM_UP)
            warmed = warmed or memory().resident
            for scenario in plan.scenarios if mode == "infer" else plan.scenarios[:1]:
                run = _run(scenario, answer, len(frames), plan, expected)
                rows.append(_row(run, mode))
                if scenario != "Offline":
                    traces[_title(scenario, mode)] = run.latencies
            if plan.fps is not None:
                seen = camera(
                    answer,
                    fps=plan.fps,
                    deadline=plan.deadline or 1e3 / plan.fps,
                    frames=len(frames),
                    triggers=max(plan.queries, round(plan.seconds * plan.fps)),
                )
                cameras.append(_camera_row(seen, mode))
                traces[_title("camera", mode)] = seen.latencies
    after = memory()
    alone = backbone_alone(runtime, frames, rounds=plan.rounds)
    manifest = runtime.engine.manifest
    content: dict[str, Any] = {
        "engine": {
            "name": runtime.engine.path.name,
            "sha256": runtime.engine.file_sha256,
            "method": manifest.method,
            "backbone": manifest.backbone.name,
            "bank": _bank(runtime),
            "input_size": list(runtime.pipeline.input_size),
            "golden_drift": runtime.info["golden_drift"],
        },
        "backend": dict(runtime.info["backend"]),
        "machine": about_machine(),
        "load": {"before": load_before, "after": load()},
        "runs": rows,
        "camera": cameras,
        "stages_ms": stage_times(runtime, frames, rounds=plan.rounds),
        "backbone": dataclasses.asdict(alone),
        "memory_mb": {
            "before_open": resident_before,
            "opened": opened,
            "warm": warmed,
            "after": after.resident,
            "peak": after.peak,
        },
        "power_watts": None if meter.watts is None else dict(meter.watts),
    }
    if plan.decide:
        content["settled_early"] = settled_early(runtime, frames)
    return Report(content, traces)


def _answer(runtime: Runtime, frames: Sequence[NDArray[np.uint8]], mode: Mode) -> Answer:
    def infer(numbers: Sequence[int]) -> None:
        if len(numbers) == 1:
            runtime.infer(frames[numbers[0]])
        else:
            runtime.infer_batch([frames[n] for n in numbers])

    def decide(numbers: Sequence[int]) -> None:
        for n in numbers:
            runtime.decide(frames[n])

    return infer if mode == "infer" else decide


def _run(scenario: Scenario, answer: Answer, frames: int, plan: Plan, expected: float) -> Run:
    """One scenario by the plan's clock; ``expected`` seconds for one frame."""
    settings = {
        "frames": frames,
        "together": plan.together,
        "queries": plan.queries,
        "seconds": plan.seconds,
    }
    if plan.clock == "own" or not has_loadgen():
        return run_scenario(scenario, answer, **settings)  # type: ignore[arg-type]
    frames_a_query = 1 if scenario == "SingleStream" else plan.together
    return run_loadgen(scenario, answer, expected=expected * frames_a_query, **settings)  # type: ignore[arg-type]


def _title(scenario: str, mode: Mode) -> str:
    return scenario if mode == "infer" else f"{scenario}, decide"


def _row(run: Run, mode: Mode) -> dict[str, Any]:
    """Figures of a run: LoadGen's own where it was the clock, jitter from our stamps."""
    figures = dataclasses.asdict(summarize(run.latencies))
    figures |= {key: run.official[key] for key in figures if key in run.official}
    rate = run.official.get("frames_per_second", run.frames / run.seconds)
    return {
        "scenario": run.scenario,
        "mode": mode,
        "clock": run.clock,
        "frames": run.frames,
        "seconds": run.seconds,
        "frames_per_second": rate,
        "latency_ms": None if run.scenario == "Offline" else figures,
        "loadgen_verdict": run.verdict,
    }


def _camera_row(run: CameraRun, mode: Mode) -> dict[str, Any]:
    return {
        "mode": mode,
        "fps": run.fps,
        "deadline_ms": run.deadline,
        "frames": len(run.latencies),
        "latency_ms": dataclasses.asdict(summarize(run.latencies)),
        "queueing_ms": dataclasses.asdict(summarize(run.queueing)),
        "longest_queue": run.longest_queue,
        "deadline_misses": run.misses,
    }


def _bank(runtime: Runtime) -> list[int] | None:
    """(M, D) of the memory bank, of an ensemble's first; None where the method has none."""
    bank = runtime.engine.tensors.get("bank/features")
    return None if bank is None else list(bank.shape)
