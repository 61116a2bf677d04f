"""Train a refinement network on cached maps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from pyad_edge.errors import BackendError
from pyad_edge.export.methods.patchcore.fit import silent
from pyad_edge.export.methods.refinement.loss import refinement_loss
from pyad_edge.export.methods.refinement.network import RefinementNetwork
from pyad_edge.export.methods.refinement.pictures import MapSet
from pyad_edge.export.methods.refinement.settings import RefinementSettings
from pyad_edge.export.progress import ProgressCall

__all__ = ["Trained", "make_network", "train_network"]

Record = Callable[[int, float], None]  # step, loss


@dataclass(frozen=True, eq=False)
class Trained:
    """A trained network, in evaluation mode on the CPU.

    Attributes:
        network: see RefinementNetwork.
        offset, scale: its first input channel is (map - offset) / scale.
        losses: (epochs,) mean training loss of each epoch.
        steps: of the optimiser.
    """

    network: RefinementNetwork
    offset: float
    scale: float
    losses: tuple[float, ...]
    steps: int


def make_network(settings: RefinementSettings) -> RefinementNetwork:
    """An untrained network; its weights follow from the seed alone."""
    state = torch.get_rng_state()
    torch.manual_seed(settings.seed)
    try:
        return RefinementNetwork(
            width=settings.width,
            stride=settings.stride,
            rates=settings.rates,
            picture=settings.picture,
        )
    finally:
        torch.set_rng_state(state)


def train_network(
    data: MapSet,
    settings: RefinementSettings,
    *,
    device: torch.device | str = "cpu",
    record: Record | None = None,
    progress: ProgressCall = silent,
) -> Trained:
    """SGD over all cached maps, each mirrored at random in both directions.

    The same settings, data and number of threads give the same network.

    Args:
        data: of ``collect_maps``.
        settings: see there.
        device: that torch trains on.
        record: called with (step, loss) after every step.
        progress: called with ("refinement", done, of) after every step.

    Raises:
        BackendError: if the loss is no longer finite.
    """
    network = make_network(settings).to(device).train()
    offset, scale = data.normalisation()
    optimiser = torch.optim.SGD(
        network.parameters(),
        lr=settings.learning_rate,
        momentum=settings.momentum,
        weight_decay=settings.weight_decay,
    )
    count = len(data.maps)
    steps = -(-count // settings.batch)
    total = steps * settings.epochs
    schedule = (
        torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, total)
        if settings.schedule == "cosine"
        else None
    )
    rng = np.random.default_rng([settings.seed, 1])
    losses: list[float] = []
    done = 0
    for _ in range(settings.epochs):
        order, summed = rng.permutation(count), 0.0
        for chosen in np.array_split(order, steps):
            inputs, target = batch_of(data, chosen, offset=offset, scale=scale)
            axes = [axis for axis in (2, 3) if rng.random() < 0.5]
            x = torch.from_numpy(np.ascontiguousarray(np.flip(inputs, axes))).to(device)
            y = torch.from_numpy(np.ascontiguousarray(np.flip(target, axes))).to(device)
            loss = refinement_loss(
                network.logits(x),
                y,
                gamma=settings.focal_gamma,
                focal_weight=settings.focal_weight,
                l1_weight=settings.l1_weight,
            )
            optimiser.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            if schedule is not None:
                schedule.step()
            value = float(loss.detach())
            if not np.isfinite(value):
                raise BackendError(
                    f"[refinement] the loss became {value} at step {done + 1}. Use a smaller "
                    f"--lr than {settings.learning_rate:g}."
                )
            summed, done = summed + value * len(chosen), done + 1
            if record is not None:
                record(done, value)
            progress("refinement", done, total)
        losses.append(summed / count)
    return Trained(network.eval().cpu(), offset, scale, tuple(losses), done)


def batch_of(
    data: MapSet, chosen: NDArray[np.integer], *, offset: float, scale: float
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Inputs (b, 1 or 4, H, W) and masks (b, 1, H, W), both float32."""
    maps = (data.maps[chosen, None] - np.float32(offset)) / np.float32(scale)
    target = data.masks[chosen, None].astype(np.float32)
    if data.pictures is None:
        return maps, target
    return np.concatenate((maps, data.pictures[chosen].astype(np.float32)), axis=1), target
