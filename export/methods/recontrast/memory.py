"""How much memory a training takes, counted before it starts."""

from __future__ import annotations

import copy
from typing import Any

import torch

from pyad_edge.export.methods.recontrast.backbone import Encoder
from pyad_edge.export.methods.recontrast.loss import recontrast_loss
from pyad_edge.export.methods.recontrast.model import ReContrast
from pyad_edge.export.methods.recontrast.settings import ReContrastSettings

__all__ = ["training_memory"]

# Gradients of activations live beside them, and allocators and oneDNN keep scratch: measured
# resident memory over counted, ResNet-18 at 256 px, batch 16.
OVERHEAD = 1.5
BF16_SHARE = 2 / 3  # float32 copies lie beside what autocast computes


def training_memory(encoder: Encoder, settings: ReContrastSettings) -> dict[str, int]:
    """Bytes by what takes them, from a forward pass without values (torch's meta device).

    Args:
        encoder: to start from.
        settings: size, batch and precision.
    """
    with torch.device("meta"):
        network = copy.deepcopy(encoder.module).to("meta")
        model = ReContrast(network, encoder.shape, batch_norm="train")
        picture = torch.zeros(1, 3, *settings.input_size)
    trained = sum(4 * p.numel() for p in model.parameters() if p.requires_grad)
    whole = sum(4 * t.numel() for t in model.state_dict().values())
    own = {t.untyped_storage()._cdata for t in model.state_dict().values()}
    saved: dict[int, tuple[torch.Tensor, int]] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage: Any = tensor.untyped_storage()
        if storage._cdata not in own:
            saved[storage._cdata] = (tensor, storage.nbytes())  # kept: no other gets its address
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss = recontrast_loss(*model(picture), alpha=1.0)
    activations = sum(size for _, size in saved.values())
    del loss
    share = BF16_SHARE if settings.precision == "bf16" else 1.0
    return {
        "weights, gradients and AdamW's moments": whole + 3 * trained,
        f"activations of {settings.batch} pictures": int(
            OVERHEAD * share * activations * settings.batch
        ),
    }
