"""Train one contender on one category, as its ``pyad-edge train`` command does."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from pyad_edge.export.methods.grad.settings import budget_form
from pyad_edge.export.methods.grad.settings import make_settings as grad_settings
from pyad_edge.export.methods.patchcore import make_settings as patchcore_settings
from pyad_edge.export.methods.reconpatch.settings import make_reconpatch_settings
from pyad_edge.export.papers.contenders import BANKS, Contender
from pyad_edge.export.papers.protocols import Input, shortened
from pyad_edge.export.progress import ProgressCall
from pyad_edge.export.train import train_patchcore
from pyad_edge.export.training.options import CheckpointOptions

__all__ = ["CHECKPOINT", "FOLDER", "Circumstances", "Report", "Work", "train"]

CHECKPOINT, FOLDER = ".safetensors", ".grad"  # instead of an engine's suffix
EVERY = 20  # steps between two checkpoints: what a kill may cost


class Report(Protocol):
    """What every training's report has, as far as it is read here."""

    @property
    def seconds(self) -> float:
        """In all."""


@dataclass(frozen=True)
class Circumstances:
    """What is the same for all contenders.

    Attributes:
        dataset: key.
        holdout: share of the good pictures kept for the threshold.
        precision: of trainings in torch.
        device: of them; threads: of everything.
        layers: of the backbones.
    """

    dataset: str
    holdout: float
    precision: str
    device: str
    threads: int | None
    layers: str | None


@dataclass(frozen=True)
class Work:
    """Files of one training.

    Attributes:
        data: folder in MVTec's layout.
        calibration: folder of pictures for the threshold; None: the hold-out of ``data``.
        pictures: that will be trained on, about.
        engine: to write.
    """

    data: Path
    calibration: Path | None
    pictures: int
    engine: Path

    @property
    def checkpoint(self) -> Path:
        """Of a training half-way."""
        return self.engine.with_suffix(CHECKPOINT)

    @property
    def folder(self) -> Path:
        """Of GRAD's windows and checkpoints."""
        return self.engine.with_suffix(FOLDER)


def train(
    contender: Contender,
    seed: int,
    given: Input,
    work: Work,
    around: Circumstances,
    *,
    progress: ProgressCall,
) -> Report:
    """Train and write the engine; goes on from checkpoints that an earlier call left.

    Raises:
        DataError, SettingError, BackendError, ResourceError: as the method's training does.
    """
    short = shortened(
        contender.method, around.dataset, budget=contender.budget, steps=contender.steps
    )
    values = dict(short.values)
    common: dict[str, Any] = {
        "resize": given.resize,
        "crop": given.crop,
        "holdout": 0.0 if work.calibration is not None else around.holdout,
        "seed": seed,
    }
    every_call: dict[str, Any] = {
        "calibration_data": work.calibration,
        "threads": around.threads,
        "progress": progress,
    }
    if contender.method in BANKS:
        reconpatch = contender.method == "reconpatch"
        learned = make_reconpatch_settings(seed=seed, **values) if reconpatch else None
        return train_patchcore(
            work.data,
            work.engine,
            settings=patchcore_settings(coreset=contender.coreset, **common),
            reconpatch=learned,
            backbone=str(contender.source),
            layers=around.layers,
            device=around.device,
            options=_options(work) if reconpatch else None,
            **every_call,
        )
    common |= {"precision": around.precision}
    every_call |= {"device": around.device}
    if contender.method == "grad":
        from pyad_edge.export.methods.grad.train import train_grad
        from pyad_edge.export.methods.grad.work import WorkFolder

        if short.budget is not None or contender.steps is not None:
            values = budget_form(short.budget or "30m") | values
        return train_grad(
            work.data,
            work.engine,
            settings=grad_settings(**common, **values),
            budget=short.budget,
            work=WorkFolder(work.folder, resume=True, every=EVERY),
            **every_call,
        )
    every_call |= {
        "weights": contender.source,
        "backbone": contender.network,
        "options": _options(work),
    }
    if contender.method == "recontrast":
        from pyad_edge.export.methods.recontrast.settings import make_settings
        from pyad_edge.export.methods.recontrast.train import train_recontrast

        own = make_settings(**common, **values)
        return train_recontrast(work.data, work.engine, settings=own, **every_call)
    return _train_fod(common | values, work, every_call)


def _train_fod(values: dict[str, Any], work: Work, every_call: dict[str, Any]) -> Report:
    from pyad_edge.export.methods.fod.settings import make_settings
    from pyad_edge.export.methods.fod.train import train_fod

    if (steps := values.pop("steps", None)) is not None:
        values["epochs"] = (steps - 0.5) / work.pictures  # rounded up to whole steps there
    return train_fod(work.data, work.engine, settings=make_settings(**values), **every_call)


def _options(work: Work) -> CheckpointOptions:
    return CheckpointOptions(work.checkpoint, every=EVERY, resume=work.checkpoint.exists())
