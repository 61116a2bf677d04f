"""Candidates that train a network, with as many steps as there is time for. Needs torch."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

from pyad_edge.errors import DataError, ResourceError
from pyad_edge.export.advise.candidates import Candidate, Fit
from pyad_edge.export.advise.settings import AdviseSettings, Trained
from pyad_edge.export.methods.fod.settings import make_settings as fod_settings
from pyad_edge.export.methods.grad.settings import budget_form
from pyad_edge.export.methods.grad.settings import make_settings as grad_settings
from pyad_edge.export.methods.recontrast.settings import make_settings as recontrast_settings
from pyad_edge.export.networks import require
from pyad_edge.export.progress import ProgressCall

__all__ = ["check_trained", "plan_trained"]

TIMED = 3  # steps that are timed, after one to warm up
LEAST = 20  # steps below which nothing was learned that a figure could show
FULL = {"recontrast": 2000, "fod": 100}  # iterations and epochs of the papers
BACKBONE = "resnet18"


class _TimedError(Exception):
    """A training that was begun to be timed was timed."""


def check_trained(settings: AdviseSettings) -> None:
    """Refuse methods whose packages or weights are missing before anything is fitted.

    Raises:
        BackendError: names the package and how to install it.
        DataError: if there is no file of the weights.
    """
    if settings.include:
        for package in ("torch", "onnx", *(["timm"] if settings.weights is not None else [])):
            require(package, operation=f"advise --include {','.join(settings.include)}")
    weights = _weights(settings)
    if isinstance(weights, Path) and not weights.is_file():
        raise DataError(
            f"[advise] there is no file {weights} of --weights. Check the path, or give --weights "
            "hub to download them."
        )


def plan_trained(
    method: Trained,
    settings: AdviseSettings,
    data: Path,
    *,
    pictures: int,
    seconds: float,
    threads: int | None,
) -> Candidate:
    """A candidate whose training takes about so long here.

    Args:
        method: which.
        settings: of the advice.
        data: folder of good pictures; a few steps are timed on them.
        pictures: how many of them a training does not keep for calibration.
        seconds: that it may take.
        threads: of the training on the CPU.

    Raises:
        ResourceError: if the time is too short for it.
        PyadError: whatever the training raises.
    """
    if method == "grad":
        return _grad(settings, seconds=seconds, threads=threads)
    plan: Callable[..., Candidate]
    plan = _recontrast if method == "recontrast" else partial(_fod, pictures=pictures)
    step = _seconds_per_step(plan(settings, 1000, threads=threads).fit, data)
    steps = int(seconds / step)
    if steps < LEAST:
        raise ResourceError(
            f"[advise] a step of {method} takes {step:.2f} s here, so {seconds:.0f} s are enough "
            f"for {steps}, fewer than {LEAST}. Give more --time, or a smaller --size first."
        )
    return plan(settings, steps, threads=threads)


def _recontrast(settings: AdviseSettings, steps: int, *, threads: int | None) -> Candidate:
    side, most = settings.sizes[0], FULL["recontrast"]
    iterations = min(steps, most)
    rise = 0.1 if iterations == most else 1.0  # of a schedule that was cut short, see its page
    own = recontrast_settings(
        resize=(side, side),
        iterations=iterations,
        alpha_rise=rise,
        false_reject=settings.false_reject,
        seed=settings.seed,
    )

    def fit(data: Path, out: Path, progress: ProgressCall) -> object:
        from pyad_edge.export.methods.recontrast.train import train_recontrast

        return train_recontrast(
            data,
            out,
            settings=own,
            weights=_weights(settings),
            threads=threads,
            progress=progress,
        )

    given = ("--weights", str(settings.weights), "--size", str(side))
    counts = ("--iterations", str(iterations), "--alpha-rise", f"{rise:g}")
    note = f"{iterations:,} of the paper's {most:,} iterations" if iterations < most else ""
    name = f"ReContrast {BACKBONE} {side}px"
    return Candidate(name, ("recontrast", *given, *counts), fit, note)


def _fod(settings: AdviseSettings, steps: int, *, pictures: int, threads: int | None) -> Candidate:
    side, most = settings.sizes[0], FULL["fod"]
    epochs = min(math.floor(100 * steps / pictures) / 100, float(most))
    own = fod_settings(
        resize=(side, side),
        epochs=max(epochs, 0.01),
        rate=1e-3,
        schedule="cosine",
        rows=0.25,
        false_reject=settings.false_reject,
        seed=settings.seed,
    )

    def fit(data: Path, out: Path, progress: ProgressCall) -> object:
        from pyad_edge.export.methods.fod.train import train_fod

        return train_fod(
            data,
            out,
            settings=own,
            weights=_weights(settings),
            threads=threads,
            progress=progress,
        )

    given = ("--weights", str(settings.weights), "--size", str(side))
    short = ("--rate", "0.001", "--schedule", "cosine", "--rows", "0.25")
    note = f"{own.epochs:g} of the paper's {most} epochs"
    name = f"FOD {BACKBONE} {side}px"
    return Candidate(name, ("fod", *given, "--epochs", f"{own.epochs:g}", *short), fit, note)


def _grad(settings: AdviseSettings, *, seconds: float, threads: int | None) -> Candidate:
    """GRAD chooses its steps itself, for 5 or 30 minutes."""
    if seconds < 300:
        raise ResourceError(
            f"[advise] GRAD needs 5 minutes, {seconds:.0f} s are left for it. Give more --time."
        )
    budget: Literal["5m", "30m"] = "5m" if seconds < 1800 else "30m"
    import torch

    from pyad_edge.export.training.device import faster_precision

    side = settings.sizes[0]
    own = grad_settings(
        resize=(side, side),
        **budget_form(budget),
        precision=faster_precision(torch.device("cpu")),
        false_reject=settings.false_reject,
        seed=settings.seed,
    )

    def fit(data: Path, out: Path, progress: ProgressCall) -> object:
        from pyad_edge.export.methods.grad.train import train_grad

        return train_grad(
            data, out, settings=own, budget=budget, threads=threads, progress=progress
        )

    given = ("--budget", budget, "--size", str(side))
    note = f"its budget of {budget}, a small part of the paper's schedule"
    return Candidate(f"GRAD {side}px", ("grad", *given), fit, note)


def _weights(settings: AdviseSettings) -> Path | Literal["hub", "random"]:
    given = settings.weights
    if given is None or given == "hub":
        return "hub"  # where none were given, no method needs them
    return "random" if given == "random" else Path(given)


def _seconds_per_step(fit: Fit, data: Path) -> float:
    """Of a training that is begun and left again."""
    begun: list[float] = []

    def stop_soon(stage: str, done: int, of: int, note: str = "") -> None:
        if stage == "training":
            begun.append(time.perf_counter())
            if len(begun) > TIMED:
                raise _TimedError

    with TemporaryDirectory(prefix="pyad-edge-") as folder:
        try:
            fit(data, Path(folder) / "timed.pyad", stop_soon)
        except _TimedError:
            return (begun[-1] - begun[0]) / (len(begun) - 1)
    raise ResourceError("[advise] a training ended before it could be timed. Give more pictures.")
