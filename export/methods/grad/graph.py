"""The network of an engine: all levels in one graph, the coordinates folded into constants."""

from __future__ import annotations

import copy
import functools
from typing import Any

import torch
from torch import nn
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from pyad_edge.export.methods.grad.detector import (
    BORDER,
    LEVELS,
    PLACED,
    Detector,
    GradModel,
)
from pyad_edge.export.methods.grad.place import coordinates

__all__ = ["OUTPUT", "InferenceGraph", "LevelGraph", "macs"]

OUTPUT = "score_map"


class _Extend(torch.autograd.Function):  # type: ignore[misc]
    """BORDER more pixels or cells on each side, repeating the edge: one node of the ONNX file."""

    @staticmethod
    def forward(_context: Any, x: torch.Tensor) -> torch.Tensor:
        return functional.pad(x, (BORDER,) * 4, mode="replicate")

    @staticmethod
    def symbolic(graph: Any, x: Any) -> Any:
        amounts = torch.tensor([0, 0, BORDER, BORDER] * 2)
        return graph.op("Pad", x, graph.op("Constant", value_t=amounts), mode_s="edge")


class LevelGraph(nn.Module):  # type: ignore[misc]
    """A detector for pictures of one size, without coordinate channels.

    What the coordinates add to the first layer does not depend on the picture: it becomes that
    layer's bias, one number a channel and position. So do the scales and shifts of the layers
    PLACED, which take in their layer's bias. The level's normalisation is affine: the last layer's
    weights take in its scale, and its bias is one number a position, which takes in the offset. All
    are computed in float64 and rounded once.

    Args:
        detector: trained; left as it is.
        size: (H, W) of the level's picture, without its border.
        offset, scale: logits become (logit - offset) / scale; the offset is (1, 1, h, w), or one
            number.
    """

    def __init__(
        self,
        detector: Detector,
        size: tuple[int, int],
        *,
        offset: float | torch.Tensor,
        scale: float,
    ) -> None:
        super().__init__()
        first = detector.layers[0]
        weight = first.weight.detach().double()
        where = coordinates(*size, border=BORDER).double()[None]
        bias = functional.conv2d(
            where, weight[:, 3:], first.bias.detach().double(), stride=first.stride
        )
        self.stride = first.stride
        self.register_buffer("weight", weight[:, :3].float().contiguous())
        self.register_buffer("bias_map", bias.float().contiguous())  # (1, C, h, w)
        self.layers = nn.ModuleList()
        placing = copy.deepcopy(detector).double().requires_grad_(False)
        h, w = bias.shape[-2:]
        for index, layer in enumerate(detector.layers[1:], start=1):
            (kernel, _), (stride, _) = layer.kernel_size, layer.stride
            h, w = (h - kernel) // stride + 1, (w - kernel) // stride + 1
            last = index == len(detector.layers) - 1
            own_bias = index not in PLACED and not last
            copied = nn.Conv2d(
                layer.in_channels, layer.out_channels, kernel, stride, bias=own_bias
            ).requires_grad_(False)
            copied.weight.copy_(layer.weight)
            if index in PLACED:
                factor, shift = placing.placed(index, where, (h, w))
                shift = shift + factor * layer.bias.detach().double()[:, None, None]
                self.register_buffer(f"scale_{index}", factor.float().contiguous())
                self.register_buffer(f"shift_{index}", shift.float().contiguous())
            elif own_bias:
                copied.bias.copy_(layer.bias)
            self.layers.append(copied)
        self.layers[-1].weight.copy_((self.layers[-1].weight.double() / scale).float())
        less = torch.as_tensor(offset, dtype=torch.float64).expand(1, 1, h, w)
        usual = (detector.layers[-1].bias.detach().double()[:, None, None] - less) / scale
        self.register_buffer("last_bias", usual.float().contiguous())

    def forward(self, picture: torch.Tensor) -> torch.Tensor:
        """(N, 3, H, W) to (N, 1, H / 4, W / 4), the edges repeated in both."""
        x = _Extend.apply(picture)
        x = functional.relu(functional.conv2d(x, self.weight, stride=self.stride) + self.bias_map)
        for index, layer in enumerate(self.layers[:-1], start=1):
            x = layer(x)
            if index in PLACED:
                x = x * self.get_buffer(f"scale_{index}") + self.get_buffer(f"shift_{index}")
            x = functional.relu(x)
        found: torch.Tensor = _Extend.apply(self.layers[-1](x) + self.last_bias)
        return found


class InferenceGraph(nn.Module):  # type: ignore[misc]
    """A trained model, as an engine runs it: a picture in, its score map out.

    Compared with the model:

    - coordinates and normalisation are constants, see :class:`LevelGraph`;
    - level 136 pools level 68's picture instead of the input;
    - its map m comes out as log(1 + exp(m)): in the same order, never negative, and of one level
      without normalisation the loss of eq. 3 that a normal patch with these odds would give.

    Attributes:
        levels: ascending.
    """

    def __init__(self, model: GradModel) -> None:
        super().__init__()
        model = copy.deepcopy(model).cpu().eval()
        self.levels, self.fusion = model.levels, model.fusion
        self.input_size = model.input_size
        H, W = model.input_size
        # A mean's division too is the last layers'.
        share = len(self.levels) if model.fusion == "mean" else 1
        graphs = []
        with torch.no_grad():
            for n, level in enumerate(self.levels):
                offset, deviation = float(model.means[n]), float(model.deviations[n])
                graphs.append(
                    LevelGraph(
                        model.detectors[str(level)],
                        (H // LEVELS[level], W // LEVELS[level]),
                        offset=offset + model.usual(level).double(),
                        scale=deviation * share,
                    )
                )
        self.graphs = nn.ModuleList(graphs)
        # Averages of 2 x 2 pixels as a convolution: backends keep three channels as they are for
        # it, which they copy into blocks of 16 for an average pooling.
        quarter = torch.eye(3)[:, :, None, None] / 4
        self.register_buffer("pool", quarter.expand(3, 3, 2, 2).contiguous())

    def forward(self, picture: torch.Tensor) -> torch.Tensor:
        """(N, 3, H, W), pre-processed, to (N, 1, H / 4, W / 4), not negative."""
        small, factor = picture, 1
        grids: list[torch.Tensor] = []
        for level, graph in zip(self.levels, self.graphs, strict=True):
            while factor < LEVELS[level]:
                small, factor = functional.conv2d(small, self.pool, stride=2), 2 * factor
            grid = graph(small)
            if factor > 1:
                grid = functional.interpolate(
                    grid, scale_factor=float(factor), mode="bilinear", align_corners=False
                )
            grids.append(grid)
        total = functools.reduce(torch.add, grids)
        fused = total if self.fusion == "mean" else functools.reduce(torch.maximum, grids)
        # Nothing to finite numbers. Maxima of some backends drop NaN, and a softplus makes 0 of
        # minus infinity: a network that fails would look like one that sees nothing.
        return functional.softplus(fused + 0.0 * total)


def macs(graph: InferenceGraph) -> int:
    """Multiply-accumulates of one picture in convolutions, counted on tensors without memory.

    The pooling, which is a convolution with a diagonal kernel, is among them.
    """
    meta = copy.deepcopy(graph).to("meta")
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        meta(torch.zeros(1, 3, *graph.input_size, device="meta"))
    return int(counter.get_total_flops()) // 2
