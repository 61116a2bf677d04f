"""The frozen backbone: levels of a feature network of timm, average-pooled 3 x 3."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import nn
from torch.nn.functional import avg_pool2d

from pyad_edge.errors import BackendError, SettingError
from pyad_edge.export.networks import TORCHVISION, build_network, load_weights, require

if TYPE_CHECKING:
    from pyad_edge.export.networks import Network

__all__ = ["Backbone", "build_backbone"]


class Backbone(nn.Module):  # type: ignore[misc]
    """Pictures to patch features, without gradients and always in evaluation mode.

    Attributes:
        name: timm's.
        network: (N, 3, H, W) to one map per level.
        channels: of each level.
        weights_sha256: of the weights' file, or of the state where there was no file.
        mean, std: of the pre-processing.
    """

    def __init__(
        self,
        name: str,
        network: nn.Module,
        *,
        channels: Sequence[int],
        weights_sha256: str,
        mean: tuple[float, float, float],
        std: tuple[float, float, float],
    ) -> None:
        super().__init__()
        self.name, self.weights_sha256 = name, weights_sha256
        self.mean, self.std = mean, std
        self.channels = tuple(channels)
        self.network = network.requires_grad_(False)
        self.eval()

    def train(self, mode: bool = True) -> Backbone:
        """Stays in evaluation mode."""
        super().train(False)
        return self

    def forward(self, pictures: torch.Tensor) -> list[torch.Tensor]:
        """(N, 3, H, W) to (N, L_k, C_k) of each level, patches row by row.

        The pool's zero padding counts, as in the public code.
        """
        maps = self.network(pictures)
        return [avg_pool2d(m, 3, 1, 1).flatten(2).mT for m in maps]


def build_backbone(
    name: str,
    *,
    weights: Path | Literal["hub", "random"],
    levels: Sequence[int],
    seed: int = 0,
) -> Backbone:
    """Builds the levels and loads their weights.

    Args:
        name: of timm, such as resnet18, wide_resnet50_2 or tf_efficientnetv2_b0.
        weights: a safetensors file, ``hub`` or ``random`` (tests).
        levels: down-sampling ratios wanted; of several levels with one, the last.
        seed: of random weights.

    Raises:
        BackendError: if timm is missing, the name is unknown, or the weights do not fit.
        SettingError: if the network has no such levels.
    """
    if name.startswith(TORCHVISION):
        raise SettingError(
            f"[fod] the backbone is a feature network of timm, got {name!r}. Leave out "
            f"`{TORCHVISION}`; torchvision's weights load into timm's networks."
        )
    network = build_network(name, weights=weights, seed=seed)
    module, channels = _levels(name, levels)
    keys = set(module.state_dict())
    if isinstance(weights, Path):
        load_weights(network, weights, needed=lambda key: key in keys)
    state = network.module.state_dict()
    if not keys <= set(state):
        raise BackendError(
            f"[fod] {name} names the weights of its levels otherwise than as a whole network. Use "
            "resnet18, wide_resnet50_2, tf_efficientnetv2_b0 or a network like these."
        )
    module.load_state_dict({key: state[key] for key in keys})
    return _made(network, module, channels)


def _made(network: Network, module: nn.Module, channels: Sequence[int]) -> Backbone:
    return Backbone(
        network.name,
        module,
        channels=channels,
        weights_sha256=network.weights_sha256,
        mean=network.mean,
        std=network.std,
    )


def _levels(name: str, levels: Sequence[int]) -> tuple[Any, list[int]]:
    timm = require("timm")
    reductions: list[int] = []
    try:
        whole = timm.create_model(name, pretrained=False, features_only=True)
        reductions = [int(r) for r in whole.feature_info.reduction()]
        found = {ratio: index for index, ratio in enumerate(reductions)}
        indices = tuple(found[ratio] for ratio in levels)
        module = timm.create_model(name, pretrained=False, features_only=True, out_indices=indices)
        channels = [int(c) for c in module.feature_info.channels()]
    except KeyError:
        raise SettingError(
            f"[fod] expected levels among those of {name}, {reductions} times coarser than the "
            f"picture, got {tuple(levels)}. Choose others with --levels."
        ) from None
    except (AttributeError, IndexError, RuntimeError, TypeError, ValueError, AssertionError):
        raise SettingError(
            f"[fod] timm has no feature levels of {name}. Use a convolutional network, such as "
            "resnet18 or tf_efficientnetv2_b0."
        ) from None
    return module, channels
