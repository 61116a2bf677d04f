"""The loop of every training: steps, progress, log, checkpoints, Ctrl-C."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from rich.markup import escape

from pyad_edge.console import err
from pyad_edge.errors import ResourceError, SettingError
from pyad_edge.export.memory import format_bytes
from pyad_edge.export.progress import ProgressCall, silent
from pyad_edge.export.training.checkpoint import load_checkpoint, save_checkpoint
from pyad_edge.export.training.interrupt import finish_the_step
from pyad_edge.export.training.log import TrainingLog
from pyad_edge.export.training.state import pack, random_state, restore_random_state, unpack

__all__ = ["LoopReport", "Stateful", "require_memory", "run_loop"]


class Stateful(Protocol):
    """A module, an optimiser, a schedule: whatever a training has to restore."""

    def state_dict(self) -> dict[str, Any]:
        """All of it."""

    def load_state_dict(self, state_dict: dict[str, Any], /) -> Any:
        """Take it back."""


@dataclass(frozen=True)
class LoopReport:
    """What a loop did.

    Attributes:
        steps: done in all.
        resumed_from: steps that a checkpoint brought; 0: none.
        losses: one per step, those before the resumption too.
        seconds: of all steps, those before the resumption too.
    """

    steps: int
    resumed_from: int
    losses: tuple[float, ...]
    seconds: float


def run_loop(
    step: Callable[[int], float | Mapping[str, float]],
    *,
    iterations: int,
    parts: Mapping[str, Stateful],
    identity: Mapping[str, Any],
    checkpoint: Path | None = None,
    every: int = 100,
    resume: bool = False,
    csv: Path | None = None,
    tensorboard: Path | None = None,
    progress: ProgressCall = silent,
) -> LoopReport:
    """Run steps until ``iterations`` are done, from the start or from a checkpoint.

    A resumed training takes the same steps as one that was never stopped: parts, random generators
    and the step's number are restored.

    Args:
        step: does step number i, from 0; gives the loss, or several figures with ``loss`` among
            them.
        iterations: in all.
        parts: what the steps change, by name.
        identity: plain data that says which training this is (method, settings, data, ...); a
            checkpoint of another one is refused.
        checkpoint: file for checkpoints; None: none are written.
        every: steps between two.
        resume: go on from the checkpoint, which must be there.
        csv, tensorboard: see TrainingLog.
        progress: told after each step, with the loss.

    Raises:
        SettingError: if no file is named to resume from.
        DataError: if the checkpoint is missing, damaged or of another training.
        KeyboardInterrupt: after Ctrl-C, once the step is finished and saved.
    """
    if resume and checkpoint is None:
        raise SettingError("[train] --resume needs --checkpoint FILE, to go on from.")
    done, before = 0, 0.0
    losses: list[float] = []
    if resume and checkpoint is not None:
        done, losses, before = _restore(checkpoint, parts, identity)
    start, first = time.perf_counter(), done
    saved = done

    def save() -> None:
        nonlocal saved
        if checkpoint is not None and saved < done:
            seconds = before + time.perf_counter() - start
            tensors, plain = pack(
                {name: part.state_dict() for name, part in parts.items()}
                | {"random": random_state()}
            )
            state = {"step": done, "losses": losses, "seconds": seconds, "parts": plain}
            save_checkpoint(checkpoint, tensors=tensors, state={**identity, **state})
            saved = done

    with (
        TrainingLog(csv_file=csv, tensorboard=tensorboard, resume_at=done) as log,
        finish_the_step() as interruption,
    ):
        while done < iterations:
            figures = step(done)
            if not isinstance(figures, Mapping):
                figures = {"loss": figures}
            done += 1
            losses.append(figures["loss"])
            log.write(done, **figures)
            progress("training", done, iterations, f"loss {figures['loss']:.4g}")
            if done % every == 0 or done == iterations or interruption.requested:
                save()
            if interruption.requested and done < iterations:
                _say_how_to_resume(checkpoint, done, iterations)
                raise KeyboardInterrupt
    seconds = before + time.perf_counter() - start
    return LoopReport(done, first, tuple(losses), seconds)


def require_memory(parts: Mapping[str, int], *, limit: int, options: str) -> None:
    """Refuse, before any work, what the memory will not hold.

    Args:
        parts: bytes by what takes them, such as ``{"activations": 3 << 30}``.
        limit: bytes.
        options: what makes it less, such as ``--batch or --size``.

    Raises:
        ResourceError: names the parts, the limit and the options.
    """
    needed = sum(parts.values())
    if needed > limit:
        listed = ", ".join(f"{format_bytes(size)} for {name}" for name, size in parts.items())
        raise ResourceError(
            f"[train] the training needs about {format_bytes(needed)} of memory ({listed}), the "
            f"limit is {format_bytes(limit)}. Use a smaller {options}, or raise --memory-limit."
        )


def _restore(
    checkpoint: Path, parts: Mapping[str, Stateful], identity: Mapping[str, Any]
) -> tuple[int, list[float], float]:
    found = load_checkpoint(checkpoint, expected=identity)
    tree = unpack(found.state["parts"], found.tensors)
    for name, part in parts.items():
        part.load_state_dict(tree[name])
    restore_random_state(tree["random"])
    return found.state["step"], list(found.state["losses"]), float(found.state["seconds"])


def _say_how_to_resume(checkpoint: Path | None, done: int, iterations: int) -> None:
    if checkpoint is None:
        text = "Nothing was saved: give --checkpoint FILE next time, to go on after Ctrl-C."
    else:
        text = (
            f"{done:,} of {iterations:,} steps are in {checkpoint}. Go on with the same command "
            "and --resume."
        )
    err.print(f"\n{escape(text)}", highlight=False)
