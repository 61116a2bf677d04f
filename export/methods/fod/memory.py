"""How much memory a training takes, counted before it starts."""

from __future__ import annotations

import copy
from typing import Any

import torch

from pyad_edge.export.methods.fod.backbone import Backbone
from pyad_edge.export.methods.fod.features import feature_bytes
from pyad_edge.export.methods.fod.loss import branch_weights, level_loss
from pyad_edge.export.methods.fod.model import Level
from pyad_edge.export.methods.fod.reference import Reference
from pyad_edge.export.methods.fod.settings import FodSettings

__all__ = ["training_memory"]

# Gradients of activations live beside them, and allocators keep scratch.
OVERHEAD = 1.5
BF16_SHARE = 2 / 3  # float32 copies lie beside what autocast computes


def training_memory(backbone: Backbone, settings: FodSettings, *, pictures: int) -> dict[str, int]:
    """Bytes by what takes them, from a forward pass without values (torch's meta device).

    Args:
        backbone: its channels.
        settings: size, batch, levels, precision.
        pictures: whose features are kept.
    """
    weights, activations = 0, 0
    for channels, width, grid in zip(
        backbone.channels, settings.widths, settings.grids, strict=True
    ):
        with torch.device("meta"):
            reference = None
            if settings.views in ("inter", "all"):
                reference = Reference("mean", torch.zeros(grid[0] * grid[1], channels))
            level = Level(channels, width, grid=grid, reference=reference, settings=settings)
            weights += sum(4 * p.numel() for p in level.parameters())
            one = _activations(copy.deepcopy(level), channels, settings)
        activations = max(activations, one)  # levels train one after the other
    share = BF16_SHARE if settings.precision == "bf16" else 1.0
    kept = feature_bytes(pictures, backbone.channels, settings.grids)
    return {
        "weights, gradients and Adam's moments": 4 * weights,
        f"activations of {settings.batch} pictures": int(
            OVERHEAD * share * activations * settings.batch
        ),
        f"features of {pictures} pictures": kept + (kept if settings.reference != "mean" else 0),
    }


def _activations(level: Level, channels: int, settings: FodSettings) -> int:
    """Bytes that the backward pass of one picture needs."""
    own = {t.untyped_storage()._cdata for t in level.state_dict().values()}
    saved: dict[int, tuple[torch.Tensor, int]] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage: Any = tensor.untyped_storage()
        if storage._cdata not in own:
            saved[storage._cdata] = (tensor, storage.nbytes())  # kept: no other gets its address
        return tensor

    features = torch.zeros(1, level.places.shape[0], channels, device="meta")
    intra, inter = branch_weights(settings)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss, _ = level_loss(features, level(features, intra=intra, inter=inter))
    total = sum(size for _, size in saved.values())
    del loss
    return total
