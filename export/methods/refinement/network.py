"""The refinement network: two residual blocks and parallel dilated convolutions (ASPP).

    input (N, 1 or 4, H, W) ─ conv /stride ─ 2 residual blocks ─ ASPP ─ conv 1x1 ─ up ─ + g map
                                                                               └ sigmoid

Supplement D.1 of ReConPatch names two residual blocks and "several parallel Atrous convolution
with different rates"; everything else (width, stride, the term g times the unrefined map, with a
learned g that begins at 1) is ours.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["RefinementNetwork", "multiply_adds"]

_PRIOR = 0.01  # share of defective pixels that an untrained network expects


class ResidualBlock(nn.Module):  # type: ignore[misc]
    """relu(x + bn(conv(relu(bn(conv(x))))))."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, h, w) to the same shape."""
        y = functional.relu(self.bn1(self.conv1(x)))
        return functional.relu(x + self.bn2(self.conv2(y)))


class Aspp(nn.Module):  # type: ignore[misc]
    """Atrous spatial pyramid pooling: a 1x1 and dilated 3x3 convolutions, joined by a 1x1."""

    def __init__(self, width: int, rates: Sequence[int]) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            [nn.Conv2d(width, width, 1, bias=False)]
            + [nn.Conv2d(width, width, 3, padding=r, dilation=r, bias=False) for r in rates]
        )
        self.norms = nn.ModuleList([nn.BatchNorm2d(width) for _ in self.branches])
        self.join = nn.Conv2d(width * len(self.branches), width, 1, bias=False)
        self.norm = nn.BatchNorm2d(width)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, h, w) to the same shape."""
        found = [
            functional.relu(norm(conv(x)))
            for conv, norm in zip(self.branches, self.norms, strict=True)
        ]
        return functional.relu(self.norm(self.join(torch.cat(found, dim=1))))


class RefinementNetwork(nn.Module):  # type: ignore[misc]
    """A map, and the picture if wanted, to the probability of a defect at each pixel.

    Args:
        width: channels of every layer.
        stride: of the first convolution.
        rates: dilations of the ASPP.
        picture: whether channels 1 to 3 of the input hold the preprocessed picture.
    """

    def __init__(
        self, *, width: int = 16, stride: int = 4, rates: Sequence[int] = (1, 2, 4, 8),
        picture: bool = False,
    ) -> None:  # fmt: skip
        super().__init__()
        self.stride = stride
        # An even kernel: its windows lie where bilinear up-sampling puts the pixels back.
        kernel, padding = (3, 1) if stride == 1 else (2 * stride, stride // 2)
        self.stem = nn.Conv2d(4 if picture else 1, width, kernel, stride, padding, bias=False)
        self.norm = nn.BatchNorm2d(width)
        self.blocks = nn.Sequential(ResidualBlock(width), ResidualBlock(width))
        self.aspp = Aspp(width, rates)
        self.last = nn.Conv2d(width, 1, 1)
        self.gain = nn.Parameter(torch.ones(()))
        nn.init.zeros_(self.last.weight)  # begins as the unrefined map
        nn.init.constant_(self.last.bias, math.log(_PRIOR / (1 - _PRIOR)))

    def logits(self, x: Tensor) -> Tensor:
        """(N, 1 or 4, H, W) float32 to logits (N, 1, H, W)."""
        y = functional.relu(self.norm(self.stem(x)))
        y = self.last(self.aspp(self.blocks(y)))
        if self.stride > 1:
            y = functional.interpolate(y, x.shape[2:], mode="bilinear", align_corners=False)
        return y + self.gain * x[:, :1]

    def forward(self, x: Tensor) -> Tensor:
        """(N, 1 or 4, H, W) float32 to probabilities (N, 1, H, W) in [0, 1]."""
        return torch.sigmoid(self.logits(x))


def multiply_adds(network: RefinementNetwork, size: tuple[int, int]) -> int:
    """Multiplications of the convolutions for one map of (H, W) pixels."""
    H, W = (side // network.stride for side in size)
    total = 0
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            total += module.weight.numel() * H * W
    return total
