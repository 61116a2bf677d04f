"""Train ReContrast (Guo et al., 2023, section 3.1 and appendices C and E)."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pyad_edge.errors import DataError
from pyad_edge.export.methods.recontrast.loss import alpha_at, global_cosine_loss
from pyad_edge.export.methods.recontrast.model import ReContrast

__all__ = ["Schedule", "Trained", "order", "train"]


@dataclass(frozen=True)
class Schedule:
    """How long and how fast.

    Attributes:
        iterations: steps in all; the paper: 2000 for MVTec AD, 5000 for several products.
        batch: pictures per step.
        encoder_rate, decoder_rate: of AdamW for the trained encoder, and for the rest.
        weight_decay: of AdamW.
        reset_every: steps after which AdamW forgets its moments (appendix E); 0: never.
        precision: ``bf16`` runs the networks in autocast; losses and weights stay float32.
    """

    iterations: int = 2000
    batch: int = 16
    encoder_rate: float = 1e-5
    decoder_rate: float = 2e-3
    weight_decay: float = 1e-5
    reset_every: int = 500
    precision: str = "fp32"


@dataclass
class Trained:
    """What a training leaves behind besides the model's weights.

    Attributes:
        losses: of every step.
        seconds: in all.
    """

    losses: list[float] = field(default_factory=list)
    seconds: float = 0.0


def order(pictures: int, batch: int, *, seed: int) -> Iterator[NDArray[np.int64]]:
    """Endless batches of picture numbers: every picture once per pass, whole batches only.

    Args:
        pictures: N, at least ``batch``.
        batch: pictures per batch.
        seed: of the passes' permutations.
    """
    rng = np.random.default_rng(seed)
    while True:
        permutation = rng.permutation(pictures)
        for begin in range(0, pictures - batch + 1, batch):
            yield permutation[begin : begin + batch]


def train(
    model: ReContrast,
    pictures: NDArray[np.float32],
    schedule: Schedule,
    *,
    seed: int = 0,
    progress: Callable[[int, float], None] | None = None,
) -> Trained:
    """Train in place.

    Args:
        model: on its device; its batch norms decide how they behave.
        pictures: (N, 3, H, W) float32, pre-processed.
        schedule: how long and how fast.
        seed: of the order of pictures.
        progress: told (step, loss) after each.

    Raises:
        DataError: if there are fewer pictures than one batch, or the loss stops being finite.
    """
    if len(pictures) < schedule.batch:
        raise DataError(
            f"[recontrast] expected at least one batch of {schedule.batch} pictures, got "
            f"{len(pictures)}. Add pictures of good parts, or use a smaller --batch."
        )
    start = time.perf_counter()
    device = next(model.parameters()).device
    optimiser = make_optimiser(model, schedule)
    result = Trained()
    model.train()
    for step, chosen in enumerate(order(len(pictures), schedule.batch, seed=seed)):
        if step == schedule.iterations:
            break
        if step and schedule.reset_every and step % schedule.reset_every == 0:
            optimiser.state.clear()
        x = torch.from_numpy(pictures[chosen]).to(device)
        x = x.contiguous(memory_format=torch.channels_last)
        loss = _step(model, optimiser, x, alpha_at(step, schedule.iterations), schedule.precision)
        if not np.isfinite(loss):
            raise DataError(
                f"[recontrast] the loss became {loss} at step {step}. Lower the learning rates, or "
                "train in fp32."
            )
        result.losses.append(loss)
        if progress is not None:
            progress(step + 1, loss)
    model.eval()
    result.seconds = time.perf_counter() - start
    return result


def make_optimiser(model: ReContrast, schedule: Schedule) -> torch.optim.AdamW:
    """AdamW with a small rate for what is pre-trained and a large one for what is new."""
    new = [*model.bottleneck.parameters(), *model.decoder.parameters()]
    return torch.optim.AdamW(
        [
            {"params": list(model.encoder.parameters()), "lr": schedule.encoder_rate},
            {"params": new, "lr": schedule.decoder_rate},
        ],
        betas=(0.9, 0.999),
        weight_decay=schedule.weight_decay,
    )


def _step(
    model: ReContrast, optimiser: torch.optim.AdamW, x: Tensor, alpha: float, precision: str
) -> float:
    with torch.autocast(x.device.type, torch.bfloat16, enabled=precision == "bf16"):
        targets, reconstructions = model(x)
    loss = global_cosine_loss(targets, reconstructions, alpha)
    optimiser.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    optimiser.step()
    return float(loss.detach())
