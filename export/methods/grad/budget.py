"""What a training will do and how long it will take: measured on this machine before it starts."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
import torch

from pyad_edge.errors import DataError
from pyad_edge.export.atomic_file import replace_file
from pyad_edge.export.methods.grad.batches import PatchBatches
from pyad_edge.export.methods.grad.detector import BORDER, LEVELS
from pyad_edge.export.methods.grad.diffusion import Schedule, sample
from pyad_edge.export.methods.grad.fit import steps_of
from pyad_edge.export.methods.grad.patch_diff import GENERATED_AT_ONCE, PatchDiffTrainer
from pyad_edge.export.methods.grad.samples import Samples
from pyad_edge.export.methods.grad.settings import REACHES_OF, GradSettings
from pyad_edge.export.methods.grad.trainer import DetectorTrainer
from pyad_edge.export.methods.grad.windows import LevelPictures
from pyad_edge.export.training.device import autocast

__all__ = ["BUDGETS", "Budget", "Plan", "Timing", "fitted", "measure", "plan_of", "read_plan",
           "write_plan"]  # fmt: skip

Budget = Literal["5m", "30m", "full"]
BUDGETS: Mapping[str, float | None] = MappingProxyType({"5m": 300.0, "30m": 1800.0, "full": None})
"""Seconds; None: the paper's numbers of steps."""
SHARES = (0.45, 0.15)  # of a budget: PatchDiffs' training, their windows; detectors have the rest
LEAST = {"diffusion_steps": 50, "samples": 16, "detector_steps": 100}
REPEATS = 3
FILE = "plan.json"


@dataclass(frozen=True)
class Timing:
    """Seconds, measured.

    Attributes:
        diffusion: of a PatchDiff's training step, by receptive field.
        window: to generate one window, by receptive field.
        detector: of a detector's training step.
    """

    diffusion: Mapping[int, float]
    window: Mapping[int, float]
    detector: float


@dataclass(frozen=True)
class Plan:
    """A training's settings and its expected seconds.

    Attributes:
        settings: with numbers of steps.
        seconds: by stage: ``PatchDiff``, ``windows``, ``detectors``.
    """

    settings: GradSettings
    seconds: Mapping[str, float]

    def statement(self, pictures: int) -> str:
        """What will be done and how long it will take, for a user."""
        own = self.settings
        nets = sum(len(REACHES_OF[level]) for level in own.levels)
        levels = len(own.levels)
        parts = {name: _duration(value) for name, value in self.seconds.items()}
        return (
            f"About {_duration(sum(self.seconds.values()))} on {pictures:,} pictures: {nets} "
            f"PatchDiffs of {own.diffusion_steps:,} steps ({parts['PatchDiff']}), "
            f"{own.samples:,} windows from each ({parts['windows']}), {levels} "
            f"detector{'' if levels == 1 else 's'} of "
            f"{steps_of(own, pictures):,} steps ({parts['detectors']})."
        )


def measure(settings: GradSettings, device: torch.device) -> Timing:
    """Time a few steps of every stage on noise.

    Args:
        settings: sizes, widths, precision.
        device: of the training.
    """
    level = min(settings.levels)
    H, W = (side // LEVELS[level] + 2 * BORDER for side in settings.input_size)
    size = (H, W)
    pictures = LevelPictures(level, torch.rand(8, 3, *size).half() * 2 - 1, torch.rand(2, *size))
    side = min(settings.sample_window, *size)
    reaches = sorted({reach for own in settings.levels for reach in REACHES_OF[own]})
    diffusion, window, schedule = {}, {}, Schedule(device)
    for reach in reaches:
        trainer = PatchDiffTrainer(reach, pictures, settings, device=device)
        diffusion[reach] = _seconds(trainer.step, device)
        where = torch.rand(GENERATED_AT_ONCE, 2, side, side).to(device)
        count = 1000 if settings.sampler == "ddpm" else settings.sampling_steps

        def generate(index: int, network: Any = trainer.network, where: Any = where) -> None:
            with autocast(device, settings.precision):
                sample(network, where, schedule=schedule, steps=2)

        window[reach] = _seconds(generate, device) / 2 * count / GENERATED_AT_ONCE
    noise = torch.randint(0, 256, (8, 3, side, side), dtype=torch.uint8)
    generated = {n: Samples(noise, np.zeros((8, 2), np.int64)) for n in REACHES_OF[level]}
    batches = PatchBatches(pictures, generated, settings)
    detector = DetectorTrainer(settings, steps=10**6, device=device)
    full = torch.randn(settings.queue, detector.recovery.layers[0].in_features)
    detector.positive.push(full.to(device))
    detector.negative.push(full.to(device))
    step = _seconds(lambda index: detector.step(index, batches.at(index)), device)
    return Timing(diffusion, window, step)


def fitted(
    settings: GradSettings,
    budget: Budget,
    pictures: int,
    timing: Timing,
    *,
    fixed: Collection[str] = (),
) -> GradSettings:
    """Settings whose training takes about as long as the budget; never more than the paper's.

    What one stage does not need goes to the next.

    Args:
        settings: whose counts are replaced.
        budget: see BUDGETS.
        pictures: that are trained on.
        timing: of these settings.
        fixed: counts that stay as they are: ``diffusion_steps``, ``samples``, ``detector_steps``.
    """
    seconds = BUDGETS[budget]
    if seconds is None:
        return settings
    steps, windows = (
        sum(one[reach] for level in settings.levels for reach in REACHES_OF[level])
        for one in (timing.diffusion, timing.window)
    )
    counts: dict[str, int] = {}

    def choose(name: str, affordable: float, most: int) -> int:
        kept = getattr(settings, name) if name in fixed else None
        counts[name] = kept or int(min(max(affordable, LEAST[name]), most))
        return counts[name]

    spent = steps * choose("diffusion_steps", seconds * SHARES[0] / steps, settings.diffusion_steps)
    room = (seconds * sum(SHARES) - spent) / windows
    spent += windows * choose("samples", room, settings.samples)
    most = steps_of(settings.model_copy(update={"detector_steps": None}), pictures)
    each = (seconds - spent) / (len(settings.levels) * timing.detector)
    choose("detector_steps", each, most)
    return settings.model_copy(update=counts)


def plan_of(settings: GradSettings, pictures: int, timing: Timing) -> Plan:
    """Expected seconds of a training with these settings."""
    trained, made = (
        sum(one[reach] for level in settings.levels for reach in REACHES_OF[level])
        for one in (timing.diffusion, timing.window)
    )
    return Plan(
        settings,
        MappingProxyType(
            {
                "PatchDiff": settings.diffusion_steps * trained,
                "windows": settings.samples * made,
                "detectors": len(settings.levels) * steps_of(settings, pictures) * timing.detector,
            }
        ),
    )


def write_plan(folder: Path, settings: GradSettings) -> None:
    """Keep what was chosen for this machine, so that a resumed training has the same."""
    counts = settings.model_dump(
        mode="json",
        include={*LEAST, "patches", "neighbours", "sampling_steps", "inside", "precision"},
    )
    data = json.dumps(counts, sort_keys=True).encode()
    replace_file(folder / FILE, [memoryview(data)], verify=lambda written: None)


def read_plan(folder: Path, settings: GradSettings) -> GradSettings | None:
    """Settings with the counts of :func:`write_plan`; None: there is no plan.

    Raises:
        DataError: if the file is no plan.
    """
    file = folder / FILE
    if not file.exists():
        return None
    try:
        counts = json.loads(file.read_text(encoding="utf-8"))
        return GradSettings(**{**settings.model_dump(), **counts})
    except (ValueError, TypeError) as error:
        raise DataError(
            f"[grad] {file} is not the plan of a training: {error}. Delete it to begin anew."
        ) from error


def _seconds(step: Callable[[int], Any], device: torch.device) -> float:
    """Median of a few steps, after one to warm up."""
    taken = []
    for index in range(REPEATS + 1):
        start = time.perf_counter()
        step(index)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        taken.append(time.perf_counter() - start)
    return float(np.median(taken[1:]))


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
