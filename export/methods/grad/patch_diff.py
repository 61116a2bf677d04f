"""PatchDiff: train a network of limited sight, and let it generate windows."""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import numpy as np
import torch

from pyad_edge.errors import DataError
from pyad_edge.export.methods.grad.detector import PATCH
from pyad_edge.export.methods.grad.diffusion import (
    STEPS,
    Schedule,
    channels,
    patchdiff_loss,
    sample,
)
from pyad_edge.export.methods.grad.regions import Regions
from pyad_edge.export.methods.grad.samples import Samples
from pyad_edge.export.methods.grad.settings import GradSettings
from pyad_edge.export.methods.grad.unet import PatchUNet
from pyad_edge.export.methods.grad.windows import LevelPictures, cut, random_places
from pyad_edge.export.progress import ProgressCall, silent
from pyad_edge.export.training.device import autocast, seed_everything
from pyad_edge.export.training.loop import LoopReport, run_loop
from pyad_edge.export.training.options import CheckpointOptions
from pyad_edge.export.training.sampling import Batches

__all__ = ["PatchDiffTrainer", "generate", "train_patchdiff"]

GENERATED_AT_ONCE = 8
DECAY = 0.3  # share of the steps over which the learning rate falls to zero, at the end


class PatchDiffTrainer:
    """Network and optimiser.

    Attributes:
        network: on its device, channels last.
        optimizer: Adam.
    """

    def __init__(
        self, reach: int, pictures: LevelPictures, settings: GradSettings, *, device: torch.device
    ) -> None:
        network = PatchUNet(reach, width=settings.width)
        self.network = network.to(device, memory_format=torch.channels_last)
        self.optimizer = torch.optim.Adam(network.parameters(), lr=settings.diffusion_rate)
        self._pictures, self._settings, self._device = pictures, settings, device
        self._schedule, self._grey = Schedule(device), pictures.grey
        self._order = Batches(
            len(pictures), batch=settings.diffusion_batch, seed=settings.seed + reach
        )

    def step(self, iteration: int) -> float:
        """Train on one batch of windows.

        Raises:
            DataError: if the loss is not finite; the weights are as before the step.
        """
        settings, whole = self._settings, self._pictures
        rng = np.random.default_rng([settings.seed, whole.level, self.network.reach, iteration])
        numbers = self._order.batch_at(iteration)
        side = min(settings.diffusion_window, *whole.size)
        places = random_places(rng, len(numbers), size=whole.size, window=(side, side))
        x = cut(whole.pictures, numbers, places, (side, side)).to(self._device)
        where = cut(whole.where, numbers, places, (side, side)).to(self._device)
        N = len(x)
        with autocast(self._device, settings.precision):
            loss = patchdiff_loss(
                self.network,
                x.contiguous(memory_format=torch.channels_last),
                where,
                schedule=self._schedule,
                steps=torch.randint(0, STEPS, (N,)).to(self._device),
                noise=channels(N, side, side, grey=self._grey).to(self._device),
                global_noise=settings.global_noise
                * channels(N, 1, 1, grey=self._grey).to(self._device),
                weighting=settings.weighting,
            )
        value = float(loss.detach())
        if not math.isfinite(value):
            raise DataError(
                f"[grad] expected a finite loss of PatchDiff, got {value} at step {iteration + 1}. "
                "Lower --diffusion-rate, or train with --precision fp32."
            )
        left = (settings.diffusion_steps - iteration) / (DECAY * settings.diffusion_steps)
        for group in self.optimizer.param_groups:
            group["lr"] = settings.diffusion_rate * min(1.0, left)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()
        return value


def train_patchdiff(
    reach: int,
    pictures: LevelPictures,
    settings: GradSettings,
    *,
    identity: Mapping[str, Any],
    device: torch.device,
    options: CheckpointOptions,
    progress: ProgressCall = silent,
) -> tuple[PatchUNet, LoopReport]:
    """Train for ``settings.diffusion_steps``, from the start or from a checkpoint.

    Args:
        reach: receptive field, pixels.
        pictures: normal ones, of a level.
        settings: see there.
        identity: what a checkpoint must agree with.
        device: to train on.
        options: checkpoint and logs.
        progress: told after each step.

    Raises:
        DataError: if the loss is no longer finite, or the checkpoint is of another training.
    """
    seed_everything(settings.seed + 1000 * pictures.level + reach)
    trainer = PatchDiffTrainer(reach, pictures, settings, device=device)
    report = run_loop(
        trainer.step,
        iterations=settings.diffusion_steps,
        parts={"network": trainer.network, "optimizer": trainer.optimizer},
        identity=identity,
        checkpoint=options.checkpoint,
        every=options.every,
        resume=options.resume,
        csv=options.csv,
        tensorboard=options.tensorboard,
        progress=progress,
    )
    return trainer.network.eval(), report


def generate(
    network: PatchUNet,
    pictures: LevelPictures,
    settings: GradSettings,
    *,
    device: torch.device,
    progress: ProgressCall = silent,
) -> Samples:
    """Generate ``settings.samples`` windows at random places.

    A network without down-sampling generates any window, given its coordinates: it need not make
    whole pictures for patches of 34 pixels. The last ``settings.inside`` of the windows are normal
    but for a region.

    Args:
        network: trained, on ``device``.
        pictures: normal ones of the level.
        settings: see there.
        device: to compute on.
        progress: told after each group of windows.
    """
    side = min(settings.sample_window, *pictures.size)
    rng = np.random.default_rng([settings.seed, pictures.level, network.reach])
    places = random_places(
        rng, settings.samples, size=pictures.size, window=(side, side), beyond=side - PATCH
    )
    noise = torch.Generator().manual_seed(settings.seed + 1000 * pictures.level + network.reach)
    schedule, made, grey = Schedule(device), [], pictures.grey
    first = len(places) - round(settings.inside * len(places))
    starts = [*range(0, first, GENERATED_AT_ONCE), *range(first, len(places), GENERATED_AT_ONCE)]
    regions = Regions(pictures, settings)
    for start, end in pairwise([*starts, len(places)]):
        mine = places[start:end]
        if start < first:
            where, known = cut(pictures.where, range(len(mine)), mine, (side, side)), None
        else:
            own = regions.at(rng, mine)
            where, known = own.where, (own.pictures.to(device), own.kept.to(device))
        with autocast(device, settings.precision):
            windows = sample(
                network,
                where.to(device),
                schedule=schedule,
                sampler=settings.sampler,
                steps=settings.sampling_steps,
                generator=noise,
                known=known,
                grey=grey,
            )
        made.append(((windows + 1) * 127.5).round().to(torch.uint8).cpu())
        progress("generating", start + len(mine), len(places))
    return Samples(torch.cat(made), places)
