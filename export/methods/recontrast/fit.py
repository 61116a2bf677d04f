"""Train the network on pictures of good parts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch

from pyad_edge.errors import SettingError
from pyad_edge.export.memory import memory_limit
from pyad_edge.export.methods.recontrast.backbone import Encoder
from pyad_edge.export.methods.recontrast.batch_norm import give_statistics
from pyad_edge.export.methods.recontrast.memory import training_memory
from pyad_edge.export.methods.recontrast.model import ReContrast
from pyad_edge.export.methods.recontrast.settings import ReContrastSettings
from pyad_edge.export.methods.recontrast.trainer import Trainer
from pyad_edge.export.progress import ProgressCall, silent
from pyad_edge.export.training.device import seed_everything
from pyad_edge.export.training.loop import LoopReport, require_memory, run_loop
from pyad_edge.export.training.options import CheckpointOptions
from pyad_edge.export.training.pictures import PictureSource
from pyad_edge.export.training.sampling import Batches

__all__ = ["CheckpointOptions", "check_memory", "fit"]

STATISTICS_BATCH = 16
OPTIONS = "--batch or --size"  # what makes a training smaller


def check_memory(encoder: Encoder, settings: ReContrastSettings, device: torch.device) -> int:
    """Refuse a training that the memory of its device will not hold, before any work.

    Returns:
        Bytes of main memory that are left for pictures.

    Raises:
        ResourceError: names what needs how much, and what makes it less.
    """
    needed, limit = training_memory(encoder, settings), memory_limit(settings.memory_limit)
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        require_memory(needed, limit=free, options=OPTIONS)
        return limit
    require_memory(needed, limit=limit, options=OPTIONS)
    return limit - sum(needed.values())


def fit(
    encoder: Encoder,
    source: PictureSource,
    settings: ReContrastSettings,
    *,
    identity: Mapping[str, Any],
    device: torch.device,
    options: CheckpointOptions | None = None,
    progress: ProgressCall = silent,
) -> tuple[ReContrast, LoopReport]:
    """Train for ``settings.iterations``, from the start or from a checkpoint.

    Everything follows from settings, pictures and seed: on a CPU, with one number of threads, the
    weights are the same bit for bit, stopped and resumed or not.

    Args:
        encoder: to start from; its norms are changed in place if they lack statistics.
        source: pictures to train on.
        settings: see there.
        identity: what a checkpoint must agree with.
        device: to train on.
        options: checkpoint and logs.
        progress: called with stages ``statistics`` and ``training``.

    Returns:
        The model on the CPU, in evaluation mode, and what the loop did.

    Raises:
        DataError: if a picture cannot be read, or the loss is no longer finite.
        SettingError: if the checkpoint is of another training, or the encoder's norms do not suit.
    """
    options = options or CheckpointOptions()
    if len(source) < 2:
        raise SettingError(
            "[recontrast] expected at least 2 pictures to train on, got 1. Add some."
        )
    seed_everything(settings.seed)
    give_statistics(encoder.module, _all(source, progress))
    model = ReContrast(encoder.module, encoder.shape, batch_norm=settings.batch_norm).to(device)
    trainer = Trainer(model, settings)
    order = Batches(len(source), batch=settings.batch, seed=settings.seed)

    def step(iteration: int) -> float:
        pictures = torch.from_numpy(source.batch(order.batch_at(iteration))).to(device)
        return trainer.step(iteration, pictures)

    report = run_loop(
        step,
        iterations=settings.iterations,
        parts={"model": model, "optimizer": trainer.optimizer},
        identity=identity,
        checkpoint=options.checkpoint,
        every=options.every,
        resume=options.resume,
        csv=options.csv,
        tensorboard=options.tensorboard,
        progress=progress,
    )
    return model.cpu().eval(), report


def _all(source: PictureSource, progress: ProgressCall) -> Iterator[torch.Tensor]:
    for start in range(0, len(source), STATISTICS_BATCH):
        stop = min(start + STATISTICS_BATCH, len(source))
        yield torch.from_numpy(source.batch(range(start, stop)))
        progress("statistics", stop, len(source))
