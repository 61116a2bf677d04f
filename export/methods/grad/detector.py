"""The patch-level detector, and the detectors of several levels side by side.

A detector looks at patches of 34 x 34 pixels and gives each a logit: the larger, the more
anomalous. Levels are the same network on smaller pictures: level 68 sees them at half the size,
level 136 at a quarter, so that its 34 pixels are 136 of the input's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

import torch
from torch import nn
from torch.nn import functional

from pyad_edge.errors import SettingError
from pyad_edge.export.methods.grad.place import WAVES, coordinates, waves

__all__ = [
    "BORDER",
    "LEVELS",
    "PATCH",
    "PRESETS",
    "STRIDE",
    "Detector",
    "Fusion",
    "GradModel",
    "Preset",
    "flop",
    "level_input",
]

PATCH = 34
"""Side of the receptive field, pixels of the level's picture."""
STRIDE = 4
"""Pixels between two patches."""
BORDER = 3
"""Pixels that a level's picture is extended by, each side, repeating its edge. With it, patch i is
centred on cell i + 3 of the grid of 4 x 4 pixel cells: all levels' maps lie on whole cells."""
LEVELS: Mapping[int, int] = MappingProxyType({34: 1, 68: 2, 136: 4})
"""Level to how many times smaller its picture is."""

KERNELS = (4, 3, 4, 3, 3, 2, 1, 1)
STRIDES = (2, 1, 2, 1, 1, 1, 1, 1)
PLACED = (4, 5, 6)
"""Layers, from 0, whose outputs a patch's place scales and shifts."""

Fusion = Literal["mean", "maximum"]


@dataclass(frozen=True)
class Preset:
    """Channels of a detector.

    Attributes:
        widths: outputs of the first seven layers; the eighth gives the logit. The seventh's are
            the features.
    """

    widths: tuple[int, ...]


PRESETS: Mapping[str, Preset] = MappingProxyType(
    {
        "accurate": Preset((32, 32, 64, 96, 96, 128, 128)),
        "compact": Preset((16, 16, 32, 48, 48, 64, 64)),
    }
)


class Detector(nn.Module):  # type: ignore[misc]
    """Eight convolutions without padding, a ReLU after each of the first seven.

    The paper gives eight layers, 34 x 34 pixels and five channels; kernels, strides, widths and
    the lack of norms are choices of this implementation. So is how the place is used: besides
    being channels of the input, it scales and shifts the outputs of the layers PLACED (FiLM, Perez
    et al. 2018), whose values say *what* a patch shows. From two ramps in the first layer, which
    sees 4 x 4 pixels, a detector hardly learns what belongs where. All of it is constant at run
    time, see ``graph.LevelGraph``.

    Attributes:
        layers: the convolutions, first to last.
        places: for each layer of PLACED, coordinates and their waves to scales, then shifts.
    """

    def __init__(self, preset: Preset) -> None:
        super().__init__()
        self.layers = nn.ModuleList()
        inputs = 5
        for outputs, kernel, stride in zip((*preset.widths, 1), KERNELS, STRIDES, strict=True):
            layer = nn.Conv2d(inputs, outputs, kernel, stride)
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            nn.init.zeros_(layer.bias)
            self.layers.append(layer)
            inputs = outputs
        nn.init.zeros_(self.layers[-1].weight)  # the training starts from even odds
        self.places = nn.ModuleDict()
        for index in PLACED:
            place = nn.Conv2d(2 + WAVES, 2 * preset.widths[index], 1)
            nn.init.zeros_(place.weight)  # and from places that change nothing
            nn.init.zeros_(place.bias)
            self.places[str(index)] = place

    def features(self, x: torch.Tensor) -> torch.Tensor:
        """(N, 5, H, W) to (N, D, (H - 34) // 4 + 1, (W - 34) // 4 + 1): the seventh layer's."""
        where = x[:, 3:]
        for index, layer in enumerate(self.layers[:-1]):
            x = layer(x)
            if index in PLACED:
                scale, shift = self.placed(index, where, (x.shape[-2], x.shape[-1]))
                x = x * scale + shift
            x = functional.relu(x)
        return x

    def placed(
        self, index: int, where: torch.Tensor, size: tuple[int, int]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """What a layer's outputs are multiplied by, and what is then added.

        Args:
            index: of the layer, one of PLACED.
            where: (N, 2, H, W) coordinates of the input's pixels.
            size: (h, w) of the layer's output.

        Returns:
            (N, C, h, w) each; from the coordinates of the pixel in the middle of each output's
            receptive field.
        """
        middle, stride = _middle(index)
        own = where[:, :, middle::stride, middle::stride][:, :, : size[0], : size[1]]
        scale, shift = self.places[str(index)](torch.cat((own, waves(own)), dim=1)).chunk(2, dim=1)
        return 1 + scale, shift

    def classify(self, features: torch.Tensor) -> torch.Tensor:
        """(N, D, h, w) to (N, 1, h, w) logits."""
        logits: torch.Tensor = self.layers[-1](features)
        return logits

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, 5, H, W), picture and coordinates, to (N, 1, h, w) logits."""
        return self.classify(self.features(x))


def _middle(index: int) -> tuple[int, int]:
    """(pixel in the middle of a layer's first receptive field, pixels to the next one)."""
    reach = stride = 1
    for kernel, own in zip(KERNELS[: index + 1], STRIDES[: index + 1], strict=True):
        reach, stride = reach + (kernel - 1) * stride, stride * own
    return (reach - 1) // 2, stride


def level_input(pictures: torch.Tensor, level: int) -> torch.Tensor:
    """What a level's detector looks at.

    Args:
        pictures: (N, 3, H, W) float32, pre-processed, H and W multiples of 16.
        level: 34, 68 or 136.

    Returns:
        (N, 5, H / f + 6, W / f + 6), f = LEVELS[level]: average-pooled f x f, extended by BORDER
        pixels that repeat the edge, and the coordinates appended.
    """
    factor = LEVELS[level]
    small = functional.avg_pool2d(pictures, factor) if factor > 1 else pictures
    N, _, H, W = small.shape
    small = functional.pad(small, (BORDER,) * 4, mode="replicate")
    where = coordinates(H, W, border=BORDER, device=pictures.device).to(pictures.dtype)
    return torch.cat((small, where.expand(N, -1, -1, -1)), dim=1)


class GradModel(nn.Module):  # type: ignore[misc]
    """Detectors by level, and how their maps become one.

    Attributes:
        detectors: by level's name: "34", "68", "136"; any of them may be missing, not all.
        means, deviations: (L,) float32 buffers, in the order of :attr:`levels`: of the largest
            logit, above what is usual at its place, of normal pictures that the detectors were not
            trained on.
        preset: key of PRESETS.
        fusion: of the levels' normalised maps at every cell: their maximum or their mean.
        input_size: (H, W) of the pictures.
    """

    def __init__(
        self,
        detectors: Mapping[int, Detector],
        *,
        preset: str,
        input_size: tuple[int, int] = (256, 256),
        fusion: Fusion = "maximum",
        means: Sequence[float] | None = None,
        deviations: Sequence[float] | None = None,
    ) -> None:
        super().__init__()
        levels = sorted(detectors)
        if not levels or not set(levels) <= set(LEVELS):
            raise SettingError(
                f"[grad] expected levels out of {', '.join(map(str, LEVELS))}, got {levels}."
            )
        self.detectors = nn.ModuleDict({str(level): detectors[level] for level in levels})
        self.preset, self.input_size, self.fusion = preset, input_size, fusion
        self.register_buffer("means", torch.tensor(means or [0.0] * len(levels)))
        self.register_buffer("deviations", torch.tensor(deviations or [1.0] * len(levels)))
        for level in levels:
            h, w = (
                (side // LEVELS[level] + 2 * BORDER - PATCH) // STRIDE + 1 for side in input_size
            )
            self.register_buffer(f"usual_{level}", torch.zeros(1, 1, h, w))

    @property
    def levels(self) -> tuple[int, ...]:
        """Ascending."""
        return tuple(int(name) for name in self.detectors)

    def usual(self, level: int) -> torch.Tensor:
        """(1, 1, h, w): mean logits of normal pictures, place by place, which are subtracted."""
        return self.get_buffer(f"usual_{level}")

    def level_maps(self, pictures: torch.Tensor) -> list[torch.Tensor]:
        """(N, 3, H, W) to logits (N, 1, H / 4f - 6, W / 4f - 6), one a level, not normalised."""
        return [self.detectors[str(n)](level_input(pictures, n)) for n in self.levels]

    def grids(self, pictures: torch.Tensor) -> list[torch.Tensor]:
        """Normalised maps (N, 1, H / 4, W / 4), one a level.

        A level's map is extended by BORDER cells that repeat its edge, then it covers the whole
        picture in cells of 4f pixels; larger cells are up-sampled bilinearly (half-pixel centres,
        ``align_corners=False``) to cells of 4.
        """
        H, W = pictures.shape[-2:]
        grids = []
        for index, logits in enumerate(self.level_maps(pictures)):
            above = logits - self.usual(self.levels[index])
            scores = (above - self.means[index]) / self.deviations[index]
            whole = functional.pad(scores, (BORDER,) * 4, mode="replicate")
            if whole.shape[-2:] != (H // STRIDE, W // STRIDE):
                size = (H // STRIDE, W // STRIDE)
                whole = functional.interpolate(
                    whole, size=size, mode="bilinear", align_corners=False
                )
            grids.append(whole)
        return grids

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        """(N, 3, H, W) to the fused map (N, 1, H / 4, W / 4); its maximum scores the picture."""
        grids = torch.cat(self.grids(pictures), dim=1)
        if self.fusion == "mean":
            return grids.mean(dim=1, keepdim=True)
        return grids.amax(dim=1, keepdim=True)


def flop(
    preset: Preset,
    *,
    input_size: tuple[int, int] = (256, 256),
    levels: Sequence[int] = tuple(LEVELS),
) -> int:
    """Floating-point operations of the detectors on one picture: 2 x multiply-adds.

    The coordinates' channels of the first layer are counted, though an engine folds them into a
    constant.
    """
    total = 0
    for level in levels:
        H, W = (side // LEVELS[level] + 2 * BORDER for side in input_size)
        inputs = 5
        for outputs, kernel, stride in zip((*preset.widths, 1), KERNELS, STRIDES, strict=True):
            H, W = (H - kernel) // stride + 1, (W - kernel) // stride + 1
            total += 2 * H * W * outputs * inputs * kernel * kernel
            inputs = outputs
    return total
