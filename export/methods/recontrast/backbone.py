"""The encoder: the first three stages of a ResNet of timm, and the shape that its mirror needs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pyad_edge.errors import BackendError, SettingError
from pyad_edge.export.networks import TORCHVISION, build_network, load_weights, require

if TYPE_CHECKING:
    from torch import nn

__all__ = ["Encoder", "Shape", "build_encoder"]

STRIDES = (4, 8, 16)


@dataclass(frozen=True)
class Shape:
    """Of an encoder, as its bottleneck and decoder mirror it.

    Attributes:
        channels: of the three stages.
        depths: blocks of the three stages.
        bottom: blocks of the bottleneck.
        ratio: width of a block's 3x3 convolution over its output; None: basic blocks.
    """

    channels: tuple[int, int, int]
    depths: tuple[int, int, int]
    bottom: int
    ratio: float | None

    def width(self, outputs: int) -> int | None:
        """Channels of the 3x3 convolution in a bottleneck block; None for a basic one."""
        return None if self.ratio is None else max(1, round(self.ratio * outputs))


@dataclass(frozen=True, eq=False)
class Encoder:
    """A network to start from, and what an engine records about it.

    Attributes:
        name: timm's.
        module: (N, 3, H, W) to three maps; evaluation mode.
        shape: see there.
        weights_sha256: of the weights' file, or of the state where there was no file.
        mean, std: of the pre-processing.
    """

    name: str
    module: nn.Module
    shape: Shape
    weights_sha256: str
    mean: tuple[float, float, float]
    std: tuple[float, float, float]


def build_encoder(name: str, *, weights: Path | Literal["hub", "random"], seed: int = 0) -> Encoder:
    """Builds the three stages and loads their weights.

    Args:
        name: of timm, such as resnet18, resnet50 or wide_resnet50_2.
        weights: a safetensors file, ``hub`` or ``random`` (tests).
        seed: of random weights.

    Raises:
        BackendError: if torch or timm are missing, the name is unknown, or the weights do not fit.
        SettingError: if the network has no three stages like a ResNet's.
    """
    if name.startswith(TORCHVISION):
        raise SettingError(
            f"[recontrast] the encoder is a ResNet of timm, got {name!r}. Leave out "
            f"`{TORCHVISION}`; torchvision's weights load into timm's networks."
        )
    network = build_network(name, weights=weights, seed=seed)
    timm = require("timm")
    try:
        module = timm.create_model(
            name, pretrained=False, features_only=True, out_indices=(1, 2, 3)
        )
        shape = _shape(module)
    except (AttributeError, IndexError, RuntimeError, TypeError, ValueError, AssertionError):
        raise SettingError(
            f"[recontrast] the encoder needs the stages layer1 to layer3 of a ResNet with strides "
            f"4, 8 and 16, which {name} does not have. Use resnet18, resnet50, wide_resnet50_2 or "
            "another ResNet of timm."
        ) from None
    keys = set(module.state_dict())
    if isinstance(weights, Path):
        load_weights(network, weights, needed=lambda key: key in keys)
    state = network.module.state_dict()
    if not keys <= set(state):
        raise BackendError(
            f"[recontrast] {name} names its stages' weights otherwise as feature levels than as a "
            "whole network. Use resnet18, resnet50 or wide_resnet50_2."
        )
    module.load_state_dict({key: state[key] for key in keys})
    module.eval()
    return Encoder(name, module, shape, network.weights_sha256, network.mean, network.std)


def _shape(module: Any) -> Shape:
    """Raises ValueError, or what torch raises, if the stages are not those of a ResNet."""
    if tuple(module.feature_info.reduction()) != STRIDES:
        raise ValueError("strides")
    stages = [module[name] for name in ("layer1", "layer2", "layer3")]
    a, b, c = (int(channels) for channels in module.feature_info.channels())
    last = stages[0][-1]
    ratio = last.conv2.out_channels / a if hasattr(last, "conv3") else None
    depths = (len(stages[0]), len(stages[1]), len(stages[2]))
    return Shape((a, b, c), depths, bottom=2 if ratio is None else 3, ratio=ratio)
