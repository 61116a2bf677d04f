"""One iteration of the training: AdamW with two learning rates on the mined global distance."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from pyad_edge.errors import DataError
from pyad_edge.export.methods.recontrast.loss import recontrast_loss
from pyad_edge.export.methods.recontrast.model import ReContrast
from pyad_edge.export.methods.recontrast.schedule import alpha_at, forget_moments, forgets_at
from pyad_edge.export.methods.recontrast.settings import ReContrastSettings

__all__ = ["BETAS", "Trainer", "make_optimizer"]

BETAS = (0.9, 0.999)


def make_optimizer(model: ReContrast, settings: ReContrastSettings) -> torch.optim.AdamW:
    """AdamW: a small rate for the encoder, which was trained before, a large one for the rest."""
    new = [*model.bottleneck.parameters(), *model.decoder.parameters()]
    groups = [
        {"params": list(model.encoder.parameters()), "lr": settings.encoder_rate},
        {"params": new, "lr": settings.decoder_rate},
    ]
    return torch.optim.AdamW(groups, betas=BETAS, weight_decay=settings.weight_decay)


class Trainer:
    """Model and optimiser.

    Attributes:
        model: in training mode, on its device.
        optimizer: see :func:`make_optimizer`.
        settings: see there.
    """

    def __init__(self, model: ReContrast, settings: ReContrastSettings) -> None:
        # Channels last: oneDNN's and cuDNN's bf16 convolutions run on it without reordering.
        self.model = model.to(memory_format=torch.channels_last)
        self.optimizer = make_optimizer(model, settings)
        self.settings = settings
        self.model.train()

    def step(
        self,
        iteration: int,
        pictures: torch.Tensor,
        *,
        frozen: Sequence[torch.Tensor] | None = None,
    ) -> float:
        """Train on one batch.

        Args:
            iteration: from 0.
            pictures: (N, 3, H, W) float32 on the model's device.
            frozen: the frozen encoder's maps of them, where they are known.

        Returns:
            The loss before the step.

        Raises:
            DataError: if the loss is not finite; the weights are as before the step.
        """
        settings = self.settings
        if forgets_at(iteration, every=settings.forget_every):
            forget_moments(self.optimizer)
        alpha = alpha_at(
            iteration,
            settings.iterations,
            start=settings.alpha_start,
            end=settings.alpha_end,
            rise=settings.alpha_rise,
        )
        x = pictures.contiguous(memory_format=torch.channels_last)
        with torch.autocast(x.device.type, torch.bfloat16, enabled=settings.precision == "bf16"):
            targets, outputs = self.model(x, frozen=frozen)
        loss = recontrast_loss(targets, outputs, alpha=alpha)
        value = float(loss.detach())
        if not math.isfinite(value):
            raise DataError(
                f"[recontrast] expected a finite loss, got {value} at iteration {iteration + 1}. "
                "Lower --decoder-rate, or train with --precision fp32."
            )
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()
        return value
