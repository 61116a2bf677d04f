"""Train a refinement network on cached maps."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pyad_edge.errors import BackendError
from pyad_edge.export.methods.refinement.loss import refinement_loss
from pyad_edge.export.methods.refinement.network import RefinementNetwork
from pyad_edge.export.methods.refinement.pictures import MapSet
from pyad_edge.export.methods.refinement.settings import RefinementSettings
from pyad_edge.export.progress import ProgressCall, silent
from pyad_edge.export.training.loop import Stateful, run_loop
from pyad_edge.export.training.sampling import Batches

__all__ = ["Trained", "batch_of", "make_network", "train_network"]

NO_DATA: Mapping[str, str] = {}


@dataclass(frozen=True, eq=False)
class Trained:
    """A trained network, in evaluation mode on the CPU.

    Attributes:
        network: see RefinementNetwork.
        offset, scale: its first input channel is (map - offset) / scale.
        losses: one per step.
    """

    network: RefinementNetwork
    offset: float
    scale: float
    losses: tuple[float, ...]


def make_network(settings: RefinementSettings) -> RefinementNetwork:
    """An untrained network; its weights follow from the seed alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        return RefinementNetwork(
            width=settings.width,
            stride=settings.stride,
            rates=settings.rates,
            picture=settings.picture,
        )


def train_network(
    data: MapSet,
    settings: RefinementSettings,
    *,
    device: torch.device | str = "cpu",
    identity: Mapping[str, Any] = NO_DATA,
    checkpoint: Path | None = None,
    resume: bool = False,
    csv: Path | None = None,
    progress: ProgressCall = silent,
) -> Trained:
    """SGD over all cached maps, each batch mirrored at random in both directions.

    Args:
        data: of ``collect_maps``.
        settings: see there. The same settings, data and threads give the same network.
        device: that torch trains on.
        identity: what else tells this training from others, such as the engine's SHA-256.
        checkpoint, resume, csv, progress: see ``run_loop``.

    Raises:
        BackendError: if the loss is no longer finite.
        SettingError, DataError, KeyboardInterrupt: see ``run_loop``.
    """
    network = make_network(settings).to(device).train()
    offset, scale = data.normalisation()
    optimizer = torch.optim.SGD(
        network.parameters(),
        lr=settings.learning_rate,
        momentum=settings.momentum,
        weight_decay=settings.weight_decay,
    )
    batches = Batches(len(data.maps), batch=settings.batch, seed=settings.seed)
    iterations = math.ceil(len(data.maps) * settings.epochs / settings.batch)
    parts: dict[str, Stateful] = {"network": network, "optimizer": optimizer}
    annealing = None
    if settings.schedule == "cosine":
        annealing = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, iterations)
        parts["annealing"] = annealing

    def step(iteration: int) -> float:
        inputs, target = batch_of(data, batches.batch_at(iteration), offset=offset, scale=scale)
        mirrored = np.random.default_rng([settings.seed, iteration]).random(2) < 0.5
        axes = tuple(int(axis) + 2 for axis in np.flatnonzero(mirrored))
        x = torch.from_numpy(np.ascontiguousarray(np.flip(inputs, axes))).to(device)
        y = torch.from_numpy(np.ascontiguousarray(np.flip(target, axes))).to(device)
        loss = refinement_loss(
            network.logits(x),
            y,
            gamma=settings.focal_gamma,
            focal_weight=settings.focal_weight,
            l1_weight=settings.l1_weight,
        )
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        if annealing is not None:
            annealing.step()
        value = float(loss.detach())
        if not math.isfinite(value):
            raise BackendError(
                f"[refinement] the loss became {value} at step {iteration + 1}. Use a smaller "
                f"--lr than {settings.learning_rate:g}."
            )
        return value

    report = run_loop(
        step,
        iterations=iterations,
        parts=parts,
        identity={"method": "refinement", "settings": settings.model_dump(mode="json")}
        | dict(identity),
        checkpoint=checkpoint,
        resume=resume,
        csv=csv,
        progress=progress,
    )
    return Trained(network.eval().cpu(), offset, scale, report.losses)


def batch_of(
    data: MapSet, chosen: NDArray[np.integer], *, offset: float, scale: float
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Inputs (b, 1 or 4, H, W) and masks (b, 1, H, W), both float32."""
    maps = (data.maps[chosen, None] - np.float32(offset)) / np.float32(scale)
    target = data.masks[chosen, None].astype(np.float32)
    if data.pictures is None:
        return maps, target
    return np.concatenate((maps, data.pictures[chosen].astype(np.float32)), axis=1), target
