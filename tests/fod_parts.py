"""Small FOD models for tests."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pyad_edge.engine_manifest import Preprocessing
from pyad_edge.export.methods.fod.backbone import build_backbone
from pyad_edge.export.methods.fod.model import Fod
from pyad_edge.export.methods.fod.reference import build_reference
from pyad_edge.export.methods.fod.settings import make_settings

__all__ = ["PREPROCESSING", "SIZE", "SMALL", "TINY", "one_thread", "pictures", "small_model"]

TINY, SIZE = "test_resnet", (64, 96)
SMALL = {"resize": SIZE, "widths": (16, 24), "heads": 2, "layers": 2}
PREPROCESSING = Preprocessing(
    resize=SIZE, crop=None, mean=(0.5,) * 3, std=(0.2,) * 3, color_order="rgb"
)


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Small arrays gain nothing from a second thread, and wait for it on a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def pictures(count, seed=0):
    """Inputs of the network, (N, 3, H, W)."""
    values = np.random.default_rng(seed).normal(size=(count, 3, *SIZE))
    return torch.from_numpy(values.astype(np.float32))


def small_model(seed=0, **changes):
    """A model with random weights, spread as after some training, and its settings."""
    torch.manual_seed(seed)
    settings = make_settings(**SMALL | changes)
    backbone = build_backbone(TINY, weights="random", levels=settings.levels)
    features = [level.numpy() for level in backbone(pictures(6))]
    references = [None] * len(features)
    if settings.views in ("inter", "all"):
        references = [
            build_reference(
                settings.reference, f, grid=grid, size=min(settings.reference_count, 7), seed=0
            )
            for f, grid in zip(features, settings.grids, strict=True)
        ]
    model = Fod(backbone, references, settings)
    with torch.no_grad():
        for parameter in model.levels.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model.eval(), settings
