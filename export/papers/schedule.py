"""What a training really did, beside what its paper did: no figure of ours stands without it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pyad_edge.export.papers.contenders import Contender
from pyad_edge.export.papers.protocols import ITERATIONS, ITERATIONS_ELSE

__all__ = ["schedule_of"]

RECONPATCH_EPOCHS = 120
FOD_EPOCHS = 100
GRAD_STEPS, GRAD_EPOCHS = 10_000, 2_000


def schedule_of(
    contender: Contender, dataset: str, settings: Mapping[str, Any], pictures: int
) -> str:
    """A phrase about a trained engine.

    Args:
        contender: see there.
        dataset: key.
        settings: of the training, as the engine records them.
        pictures: that were trained on.
    """
    if contender.method == "patchcore":
        return "no training"
    if contender.method == "reconpatch":
        epochs = settings["reconpatch_epochs"]
        return _of(f"{epochs:g}", RECONPATCH_EPOCHS, "epochs", same=epochs == RECONPATCH_EPOCHS)
    if contender.method == "recontrast":
        done, paper = int(settings["iterations"]), ITERATIONS.get(dataset, ITERATIONS_ELSE)
        return _of(f"{done:,}", paper, "iterations", same=done == paper)
    if contender.method == "fod":
        done, paper = int(settings["iterations"]), FOD_EPOCHS * pictures
        return _of(f"{done:,}", paper, "steps", same=done == paper)
    steps = {int(name.split("_")[1]): int(n) for name, n in settings.items() if _is_steps(name)}
    levels = "/".join(str(level) for level in sorted(steps))
    paper = GRAD_EPOCHS * -(-pictures // 4)
    detectors = _of(f"{max(steps.values()):,}", paper, "steps", same=max(steps.values()) == paper)
    made = int(settings["diffusion_steps"])
    diffusion = _of(f"{made:,}", GRAD_STEPS, "steps", same=made == GRAD_STEPS)
    return f"levels {levels}: PatchDiff {diffusion}, detectors {detectors}"


def _of(done: str, paper: int, unit: str, *, same: bool) -> str:
    return f"the paper's {paper:,} {unit}" if same else f"{done} of the paper's {paper:,} {unit}"


def _is_steps(name: str) -> bool:
    return name.startswith("steps_")
