"""Learn ReConPatch's linear map f from patch features (Hyun et al. 2024, section 3.2)."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from pyad_edge.errors import DataError
from pyad_edge.export.methods.reconpatch.loss import relaxed_contrastive
from pyad_edge.export.methods.reconpatch.model import Branches
from pyad_edge.export.methods.reconpatch.settings import ReConPatchSettings
from pyad_edge.export.methods.reconpatch.similarity import similarity
from pyad_edge.export.networks import require

__all__ = ["Learned", "learn", "principal_axes", "steps_of"]

Array = NDArray[np.float32]
_SAMPLE = 65536  # patches that the principal axes are taken from


@dataclass(frozen=True, eq=False)
class Learned:
    """What a training gives.

    Attributes:
        weight: (dim, D) float32, f.
        losses: of every step.
        seconds: in all.
    """

    weight: Array
    losses: tuple[float, ...]
    seconds: float


def steps_of(patches: int, settings: ReConPatchSettings) -> int:
    """Mini-batches of a training, at least one."""
    batch = min(settings.batch, patches)
    return max(1, round(settings.epochs * (patches // batch)))


def learn(
    features: Array,
    settings: ReConPatchSettings,
    *,
    device: str = "cpu",
    progress: Callable[[int, int, float], None] | None = None,
) -> Learned:
    """Train f and g; g is dropped.

    Args:
        features: (N, D) float32, patch descriptors of good pictures.
        settings: see there.
        device: of torch.
        progress: told (step, steps, loss) after each.

    Raises:
        DataError: if there are fewer patches than neighbours, or the loss stops being finite.
        BackendError: if timm, which has AdamP, is missing.
    """
    N, D = features.shape
    if settings.neighbors > min(settings.batch, N):
        raise DataError(
            f"[reconpatch] {settings.neighbors} neighbours need mini-batches of at least as many "
            f"patches, got {min(settings.batch, N)}. Use more pictures or a larger --batch."
        )
    begin = time.perf_counter()
    generator = torch.Generator().manual_seed(settings.seed % 2**63)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed % 2**63)
        start = None
        if settings.start == "principal":
            start = torch.from_numpy(principal_axes(features, settings.dim, seed=settings.seed))
        model = Branches(
            D, dim=settings.dim, projection=settings.projection or settings.dim, start=start
        ).to(device)
    adamp = require("timm.optim").AdamP
    optimiser = adamp(
        [model.f.weight, model.g.weight], lr=settings.rate, weight_decay=settings.weight_decay
    )
    steps, batch = steps_of(N, settings), min(settings.batch, N)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    per_epoch, losses = N // batch, []
    order = torch.empty(0, dtype=torch.int64)
    for step in range(steps):
        place = step % per_epoch
        if place == 0:
            order = torch.randperm(N, generator=generator)
        chosen = order[place * batch : (place + 1) * batch].numpy()
        patches = torch.from_numpy(features[chosen]).to(device)
        weights = similarity(
            model.averaged(patches),
            k=settings.neighbors,
            alpha=settings.alpha,
            bandwidth=settings.bandwidth,
        )
        loss = relaxed_contrastive(model(patches), weights, margin=settings.margin)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        schedule.step()
        model.average(settings.momentum)
        losses.append(float(loss.detach()))
        if not math.isfinite(losses[-1]):
            raise DataError(
                f"[reconpatch] the loss became {losses[-1]} at step {step + 1}. Lower --rate."
            )
        if progress is not None:
            progress(step + 1, steps, losses[-1])
    weight = model.f.weight.detach().cpu().numpy().astype(np.float32)
    return Learned(weight, tuple(losses), time.perf_counter() - begin)


def principal_axes(features: Array, dim: int, *, seed: int) -> Array:
    """(dim, D) orthonormal axes along which patches vary most; beyond D of them random mixtures.

    Args:
        features: (N, D) float32.
        dim: how many.
        seed: of the sample that they are taken from, and of the mixtures.
    """
    rng = np.random.default_rng(seed)
    N, D = features.shape
    rows = features if N <= _SAMPLE else features[np.sort(rng.choice(N, _SAMPLE, replace=False))]
    centred = rows.astype(np.float64) - rows.mean(0, dtype=np.float64)
    _, axes = np.linalg.eigh(centred.T @ centred)
    found = axes.T[::-1][:dim]  # the largest first
    if dim > D:  # a rotation into more dimensions keeps every distance
        mixed, _ = np.linalg.qr(rng.standard_normal((dim, D)))
        found = mixed @ found
    result: Array = np.ascontiguousarray(found, np.float32)
    return result
