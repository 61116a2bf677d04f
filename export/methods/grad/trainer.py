"""One step of a detector's training (equation 7)."""

from __future__ import annotations

import math

import torch

from pyad_edge.errors import DataError
from pyad_edge.export.methods.grad.batches import Batch
from pyad_edge.export.methods.grad.detector import PATCH, PRESETS, Detector
from pyad_edge.export.methods.grad.regularisation import Recovery, feature_loss, gradient_loss
from pyad_edge.export.methods.grad.reweighting import (
    FeatureQueue,
    log_density_weights,
    normalised_weights,
    reweighted_loss,
)
from pyad_edge.export.methods.grad.settings import GradSettings
from pyad_edge.export.methods.grad.windows import cut
from pyad_edge.export.training.device import autocast

__all__ = ["RAMP", "DetectorTrainer", "standardise"]

RAMP = 0.2
"""Share of the steps over which beta rises from 0. What a detector cannot tell from normal patches
yet, equation 1 takes for normal: with all of beta from the start it may settle on the few patches
that it found first, and the others are never heard."""


class DetectorTrainer:
    """Detector, recovery network, queues and optimiser.

    Attributes:
        detector, recovery: on their device, channels last.
        positive, negative: queues of features.
        optimizer: Adam on both networks.
    """

    def __init__(self, settings: GradSettings, *, steps: int, device: torch.device) -> None:
        preset = PRESETS[settings.preset]
        dim = preset.widths[-1]
        self.detector = Detector(preset).to(device, memory_format=torch.channels_last)
        self.recovery = Recovery(dim).to(device)
        self.positive = FeatureQueue(settings.queue, dim, device=device)
        self.negative = FeatureQueue(settings.queue, dim, device=device)
        weights = [*self.detector.parameters(), *self.recovery.parameters()]
        self.optimizer = torch.optim.Adam(weights, lr=settings.rate)
        self._settings, self._steps, self._device = settings, steps, device

    def step(self, iteration: int, batch: Batch) -> dict[str, float]:
        """Train on one batch.

        Returns:
            ``loss``; its parts ``classes``, ``features``, ``gradient``; and how many negative
            patches count, 1 / sum of squared weights: ``effective``.

        Raises:
            DataError: if the loss is not finite; the weights are as before the step.
        """
        settings, device = self._settings, self._device
        positive, negative = batch.positive.to(device), batch.negative.to(device)
        patches = torch.cat((positive, negative)).contiguous(memory_format=torch.channels_last)
        if iteration == 0:
            standardise(self.detector, patches)
        with autocast(device, settings.precision):
            maps = self.detector.features(patches)
            logits = self.detector.classify(maps).float().flatten()
        rows = maps.detach().permute(0, 2, 3, 1).flatten(0, 2).float()  # in the logits' order
        count = len(positive) * settings.neighbours**2
        near, far = rows[:count], rows[count:]
        share = iteration / (RAMP * self._steps)
        positive_weights, negative_weights = self.weights(near, far, share=min(1.0, share))
        classes = reweighted_loss(
            logits[:count],
            logits[count:],
            positive_weights=positive_weights,
            negative_weights=negative_weights,
        )
        features = gradient = torch.zeros((), device=device)
        if settings.regularise:
            features, gradient = self._regularise(patches, positive)
        loss = classes + settings.alpha_features * features + settings.alpha_gradient * gradient
        value = float(loss.detach())
        if not math.isfinite(value):
            raise DataError(
                f"[grad] expected a finite loss of the detector, got {value} at step "
                f"{iteration + 1}. Lower --rate, or train with --precision fp32."
            )
        for group in self.optimizer.param_groups:
            turn = math.pi * iteration / self._steps
            group["lr"] = settings.rate * 0.5 * (1 + math.cos(turn))
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()
        self.positive.push(near)
        self.negative.push(far)
        return {
            "loss": value,
            "classes": float(classes.detach()),
            "features": float(features.detach()),
            "gradient": float(gradient.detach()),
            "effective": float(1 / negative_weights.square().sum()),
        }

    def weights(
        self, positive: torch.Tensor, negative: torch.Tensor, *, share: float = 1.0
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Weights of the patches with these features, each class's summing to 1.

        Before the first step the queues are empty, and all patches weigh the same.

        Args:
            positive: (P, D) float32.
            negative: (M, D) float32.
            share: of ``settings.beta``, in [0, 1]; 0: all weigh the same.

        Returns:
            (P,) and (M,) float64, without gradients.
        """
        settings = self._settings
        filled = len(self.positive.rows) > 0
        right = [torch.zeros(len(positive), dtype=torch.float64, device=positive.device)]
        wrong = [torch.zeros(len(negative), dtype=torch.float64, device=negative.device)]
        near, far, beta = self.positive.rows, self.negative.rows, share * settings.beta
        if filled and settings.reweight_tail:
            right.append(log_density_weights(positive, near, beta=beta))
            wrong.append(log_density_weights(negative, far, beta=beta))
        if filled and settings.reweight_noisy:
            wrong.append(log_density_weights(negative, near, beta=beta))
        return normalised_weights(*right), normalised_weights(*wrong)

    def _regularise(
        self, patches: torch.Tensor, positive: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Equation 5 on b / r^2 patches out of all, equation 6 on as many positive ones."""
        settings = self._settings
        count = settings.patches // settings.neighbours**2
        some = _single(patches, count)
        dim = self.detector.layers[-1].in_channels
        input_noise = settings.input_noise * torch.randn(some[:, :3].shape).to(some.device)
        feature_noise = settings.feature_noise * torch.randn(count, dim).to(some.device)
        with autocast(self._device, settings.precision):
            features = feature_loss(
                lambda x: self.detector.features(x).flatten(1),
                self.recovery,
                some,
                input_noise=input_noise,
                feature_noise=feature_noise,
            )
            single = _single(positive, count)
            gradient = gradient_loss(lambda x: self.detector(x).flatten(), single)
        return features, gradient


@torch.no_grad()  # type: ignore[untyped-decorator]
def standardise(detector: Detector, patches: torch.Tensor) -> None:
    """Start a training without norms where norms would start it (Salimans and Kingma 2016).

    Half of the first layer's filters become differences: they see neither evenness nor coordinates.
    Without them, brightness and place drown the details for hundreds of steps. Then each of the
    first seven layers is scaled and shifted, so that on these patches every channel has mean 0 and
    deviation 1 before its ReLU.

    Args:
        detector: new; changed in place.
        patches: (N, 5, s, s) of the first batch.
    """
    filters = detector.layers[0].weight[::2]
    filters[:, :3] -= filters[:, :3].mean(dim=(2, 3), keepdim=True)
    filters[:, 3:] = 0
    x = patches
    for layer in detector.layers[:-1]:
        found = layer(x)
        mean, deviation = found.mean(dim=(0, 2, 3)), found.std(dim=(0, 2, 3)).clamp_min(1e-3)
        layer.weight /= deviation[:, None, None, None]
        layer.bias.copy_((layer.bias - mean) / deviation)
        x = torch.relu((found - mean[:, None, None]) / deviation[:, None, None])


def _single(groups: torch.Tensor, count: int) -> torch.Tensor:
    """(count, 5, 34, 34) out of (n, 5, s, s): from groups of their own, as far as these last."""
    chosen = torch.cat([torch.randperm(len(groups)) for _ in range(-(-count // len(groups)))])
    places = torch.randint(groups.shape[-1] - PATCH + 1, (count, 2)).numpy()
    single = cut(groups, chosen[:count].numpy(), places, (PATCH, PATCH))
    return single.contiguous(memory_format=torch.channels_last)
