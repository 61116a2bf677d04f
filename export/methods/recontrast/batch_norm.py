"""Batch norm of the trained encoder: the stable variant, and statistics for norms without any."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from pyad_edge.errors import DataError, SettingError

__all__ = ["StableBatchNorm2d", "give_statistics", "lacks_statistics", "stabilise"]

SMALL_VARIANCE = 5e-4


class StableBatchNorm2d(nn.BatchNorm2d):  # type: ignore[misc]
    """Batch norm that does not divide by the variance of a channel that is all but dead.

    In training, a channel whose variance in the batch is below min(5e-4, v) is divided by
    sqrt(v + eps), v its variance before the training, and v enters the running variance. All other
    channels, and evaluation, are plain batch norm.

    Source: Guo et al. 2023, appendix E.
    """

    trusted_var: torch.Tensor

    def __init__(self, norm: nn.BatchNorm2d) -> None:
        super().__init__(norm.num_features, eps=norm.eps, momentum=norm.momentum)
        self.load_state_dict(norm.state_dict())
        assert self.running_var is not None
        self.register_buffer("trusted_var", self.running_var.clone())
        self.train(norm.training)

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """(N, C, h, w) to the same."""
        mean, var = self.running_mean, self.running_var
        if not self.training or mean is None or var is None or self.momentum is None:
            return super().forward(input)
        # Backward wants the statistics as they leave this call, so they are copies.
        after = mean.clone(), var.clone()
        output, _, inverse = torch.native_batch_norm(
            input, self.weight, self.bias, *after, True, self.momentum, self.eps
        )
        with torch.no_grad():
            found = inverse.float().pow(-2) - self.eps
            dead = (found < self.trusted_var.clamp(max=SMALL_VARIANCE)).nonzero()[:, 0]
            trusted = self.trusted_var[dead]
            corrected = after[1].index_copy(0, dead, var[dead].lerp(trusted, self.momentum))
            mean.copy_(after[0])
            var.copy_(corrected)
        if len(dead) == 0:
            return output
        values = input[:, dead].float()
        values = values - values.mean((0, 2, 3), keepdim=True)
        scale = self.weight[dead] * (trusted + self.eps).rsqrt()
        values = values * scale[:, None, None] + self.bias[dead, None, None]
        return output.index_copy(1, dead, values.to(output.dtype))


def stabilise(network: nn.Module) -> int:
    """Replaces every batch norm by the stable one; how many there were.

    Raises:
        SettingError: if the network has norms of another kind, which keep no such statistics.
    """
    count = 0
    for name, child in network.named_children():
        if type(child) is nn.BatchNorm2d and child.track_running_stats and child.affine:
            setattr(network, name, StableBatchNorm2d(child))
            count += 1
        elif isinstance(child, nn.modules.batchnorm._BatchNorm):
            raise SettingError(
                f"[recontrast] the stable batch norm replaces plain ones, got "
                f"{type(child).__name__} in the encoder. Use --batch-norm train or eval."
            )
        else:
            count += stabilise(child)
    return count


def lacks_statistics(norm: nn.BatchNorm2d) -> bool:
    """Whether mean 0 and variance 1 say that the statistics were folded into weights.

    A variance of 1 - eps counts too: folding leaves it so that the norm divides by exactly 1.
    """
    mean, var = norm.running_mean, norm.running_var
    if mean is None or var is None:
        return False
    return not bool(mean.any()) and bool(((var - 1).abs() <= 2 * norm.eps).all())


def give_statistics(network: nn.Module, batches: Iterable[torch.Tensor]) -> int:
    """Gives folded norms the mean and variance of what really passes them; one pass.

    Scale and bias change along, so that in evaluation the network's function stays what it was::

        y = s x + t:  mean, var <- of x;  weight <- s sqrt(var + eps);  bias <- t + s mean

    Without this, training would divide by the batch's deviation what was never multiplied by it.

    Args:
        network: in evaluation mode; changed in place.
        batches: (N, 3, H, W) float32 of normal pictures.

    Returns:
        How many norms lacked statistics; 0: nothing was run.

    Raises:
        DataError: if there are no batches.
    """
    norms = [m for m in network.modules() if isinstance(m, nn.BatchNorm2d) and lacks_statistics(m)]
    if not norms:
        return 0
    sums = {norm: _Moments(norm.num_features) for norm in norms}
    hooks = [norm.register_forward_pre_hook(sums[norm].add) for norm in norms]
    was_training = network.training
    network.eval()
    try:
        with torch.no_grad():
            for batch in batches:
                network(batch)
    finally:
        for hook in hooks:
            hook.remove()
        network.train(was_training)
    for norm, moments in sums.items():
        _restate(norm, *moments.result())
    return len(norms)


class _Moments:
    """Sum and squared sum per channel, float64."""

    def __init__(self, channels: int) -> None:
        self.count = 0
        self.sums = torch.zeros(2, channels, dtype=torch.float64)

    def add(self, _norm: nn.Module, inputs: tuple[Any, ...]) -> None:
        x = inputs[0]
        self.count += x.shape[0] * x.shape[2] * x.shape[3]
        for sample in x:  # float64 of one picture at a time
            values = sample.double().flatten(1).cpu()
            self.sums += torch.stack((values.sum(1), values.square().sum(1)))

    def result(self) -> tuple[torch.Tensor, torch.Tensor]:
        if self.count == 0:
            raise DataError(
                "[recontrast] batch norm statistics need at least one normal picture, got none."
            )
        mean, square = self.sums / self.count
        return mean, (square - mean.square()).clamp(min=0)


def _restate(norm: nn.BatchNorm2d, mean: torch.Tensor, var: torch.Tensor) -> None:
    running_mean, running_var = norm.running_mean, norm.running_var
    assert running_mean is not None
    assert running_var is not None
    with torch.no_grad():
        scale = norm.weight.double().cpu() / (running_var.double().cpu() + norm.eps).sqrt()
        shift = norm.bias.double().cpu() - running_mean.double().cpu() * scale
        norm.weight.copy_(scale * (var + norm.eps).sqrt())
        norm.bias.copy_(shift + scale * mean)
        running_mean.copy_(mean)
        running_var.copy_(var)
