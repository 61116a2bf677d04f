"""One step of the training: both phases' gradients, one step of Adam."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from pyad_edge.errors import DataError
from pyad_edge.export.methods.fod.loss import branch_weights, level_loss
from pyad_edge.export.methods.fod.model import Fod
from pyad_edge.export.methods.fod.settings import FodSettings
from pyad_edge.export.training.device import autocast

__all__ = ["Trainer"]


class Trainer:
    """Model and optimiser.

    Attributes:
        model: in training mode, on its device.
        optimizer: Adam over the levels; the backbone stays.
        settings: see there.
        steps: in all, for the schedule.
    """

    def __init__(self, model: Fod, settings: FodSettings, *, steps: int) -> None:
        self.model, self.settings, self.steps = model.train(), settings, steps
        self.optimizer = torch.optim.Adam(model.levels.parameters(), lr=settings.rate)

    def step(self, iteration: int, features: Sequence[torch.Tensor]) -> dict[str, float]:
        """Train on the features of one batch.

        Args:
            iteration: from 0.
            features: (N, L_k, C_k) float32 of each level on the model's device.

        Returns:
            Figures before the step: ``loss`` (the reconstruction's, sum over levels), and the
            means over levels of both branches' divergence and entropy.

        Raises:
            DataError: if a loss is not finite; the weights are as before the step.
        """
        settings = self.settings
        intra, inter = branch_weights(settings)
        rate = settings.rate
        if settings.schedule == "cosine":
            rate *= 0.5 * (1 + math.cos(math.pi * iteration / self.steps))
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad(set_to_none=True)
        figures: dict[str, float] = {"loss": 0.0}
        share = 1 / len(self.model.levels)
        for level, own in zip(self.model.levels, features, strict=True):
            with autocast(own.device, settings.precision):
                output = level(own, intra=intra, inter=inter, rows=self._rows(own))
            total, reconstruction = level_loss(own, output)
            value = float(total.detach())
            if not math.isfinite(value):
                raise DataError(
                    f"[fod] expected a finite loss, got {value} at step {iteration + 1}. Lower "
                    "--rate, or train with --precision fp32."
                )
            total.backward()  # levels share no weight: one after the other spares memory
            figures["loss"] += float(reconstruction.detach())
            for name, branch in (("intra", output.intra), ("inter", output.inter)):
                for layer in branch:
                    part = share / len(branch)
                    for what, found in (("div", layer.divergence), ("ent", layer.entropy)):
                        key = f"{name}_{what}"
                        figures[key] = figures.get(key, 0.0) + part * float(found.mean())
        self.optimizer.step()
        return figures

    def _rows(self, features: torch.Tensor) -> torch.Tensor | None:
        """Patches whose correlations enter the losses of this step."""
        L = features.shape[1]
        if self.settings.rows == 1.0:
            return None
        count = max(1, round(self.settings.rows * L))
        return torch.randperm(L)[:count].sort().values.to(features.device)
