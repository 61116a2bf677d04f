"""Train the transformers on pictures of good parts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from pyad_edge.errors import SettingError
from pyad_edge.export.memory import memory_limit
from pyad_edge.export.methods.fod.backbone import Backbone
from pyad_edge.export.methods.fod.features import FeatureSource
from pyad_edge.export.methods.fod.memory import training_memory
from pyad_edge.export.methods.fod.model import Fod
from pyad_edge.export.methods.fod.reference import Reference, build_reference
from pyad_edge.export.methods.fod.settings import FodSettings
from pyad_edge.export.methods.fod.trainer import Trainer
from pyad_edge.export.progress import ProgressCall, silent
from pyad_edge.export.training.device import seed_everything
from pyad_edge.export.training.loop import LoopReport, require_memory, run_loop
from pyad_edge.export.training.options import CheckpointOptions
from pyad_edge.export.training.pictures import PictureSource
from pyad_edge.export.training.sampling import Batches

__all__ = ["CheckpointOptions", "check_memory", "fit"]

OPTIONS = "--batch or --size"  # what makes a training smaller


def check_memory(
    backbone: Backbone, settings: FodSettings, device: torch.device, *, pictures: int
) -> int:
    """Refuse a training that the memory of its device will not hold, before any work.

    Returns:
        Bytes of main memory that are left for pictures.

    Raises:
        ResourceError: names what needs how much, and what makes it less.
    """
    needed = training_memory(backbone, settings, pictures=pictures)
    limit = memory_limit(settings.memory_limit)
    if device.type == "cuda":
        kept = {name: size for name, size in needed.items() if name.startswith("features")}
        own = {name: size for name, size in needed.items() if name not in kept}
        require_memory(own, limit=torch.cuda.mem_get_info(device)[0], options=OPTIONS)
        needed = kept
    require_memory(needed, limit=limit, options=OPTIONS)
    return limit - sum(needed.values())


def fit(
    backbone: Backbone,
    source: PictureSource,
    settings: FodSettings,
    *,
    identity: Mapping[str, Any],
    device: torch.device,
    options: CheckpointOptions | None = None,
    progress: ProgressCall = silent,
) -> tuple[Fod, LoopReport]:
    """Train for ``settings.epochs``, from the start or from a checkpoint.

    Everything follows from settings, pictures and seed: on a CPU, with one number of threads, the
    weights are the same bit for bit, stopped and resumed or not.

    Args:
        backbone: frozen.
        source: pictures to train on.
        settings: see there.
        identity: what a checkpoint must agree with.
        device: to train on.
        options: checkpoint and logs.
        progress: called with stages ``features`` and ``training``.

    Returns:
        The model on the CPU, in evaluation mode, and what the loop did.

    Raises:
        DataError: if a picture cannot be read, or a loss is no longer finite.
        SettingError: if the checkpoint is of another training, or there is one picture alone.
    """
    options = options or CheckpointOptions()
    if len(source) < 2:
        raise SettingError("[fod] expected at least 2 pictures to train on, got 1. Add some.")
    features = FeatureSource(backbone.to(device), source, device=device, progress=progress)
    seed_everything(settings.seed)
    model = Fod(backbone, references_of(features, settings), settings).to(device)
    steps = settings.steps(len(features))
    trainer = Trainer(model, settings, steps=steps)
    order = Batches(len(features), batch=settings.batch, seed=settings.seed)

    def step(iteration: int) -> dict[str, float]:
        batch = features.batch(order.batch_at(iteration))
        return trainer.step(iteration, [level.to(device) for level in batch])

    report = run_loop(
        step,
        iterations=steps,
        parts={"model": model.levels, "optimizer": trainer.optimizer},
        identity=identity,
        checkpoint=options.checkpoint,
        every=options.every,
        resume=options.resume,
        csv=options.csv,
        tensorboard=options.tensorboard,
        progress=progress,
    )
    return model.cpu().eval(), report


def references_of(features: FeatureSource, settings: FodSettings) -> list[Reference | None]:
    """The reference of each level; None where the views have no inter-correlation."""
    if settings.views not in ("inter", "all"):
        return [None] * len(features.levels)
    return [
        build_reference(
            settings.reference,
            level,
            grid=grid,
            size=settings.reference_count,
            seed=settings.seed,
        )
        for level, grid in zip(features.levels, settings.grids, strict=True)
    ]
