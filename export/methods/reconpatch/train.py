"""Learn ReConPatch's linear map f from patch features (Hyun et al. 2024, section 3.2)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pyad_edge.errors import DataError
from pyad_edge.export.methods.reconpatch.loss import relaxed_contrastive
from pyad_edge.export.methods.reconpatch.model import Branches
from pyad_edge.export.methods.reconpatch.settings import ReConPatchSettings
from pyad_edge.export.methods.reconpatch.similarity import similarity
from pyad_edge.export.networks import require
from pyad_edge.export.progress import ProgressCall, silent
from pyad_edge.export.training.device import choose_device
from pyad_edge.export.training.loop import run_loop
from pyad_edge.export.training.options import CheckpointOptions
from pyad_edge.export.training.sampling import Batches

__all__ = ["Learned", "learn", "principal_axes", "steps_of"]

Array = NDArray[np.float32]
NO_IDENTITY: Mapping[str, Any] = MappingProxyType({})
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
    identity: Mapping[str, Any] = NO_IDENTITY,
    options: CheckpointOptions | None = None,
    progress: ProgressCall = silent,
) -> Learned:
    """Train f and g; g is dropped.

    Args:
        features: (N, D) float32, patch descriptors of good pictures.
        settings: see there.
        device: of torch: ``cpu``, ``cuda`` or ``cuda:1``.
        identity: what else tells this training from others, such as the pictures' fingerprint.
        options: checkpoint and logs.
        progress: told after each step.

    Raises:
        DataError: if there are fewer patches than neighbours, or the loss stops being finite.
        BackendError: if timm, which has AdamP, is missing, or the device is.
        SettingError, KeyboardInterrupt: see ``run_loop``.
    """
    N, D = features.shape
    if settings.neighbors > min(settings.batch, N):
        raise DataError(
            f"[reconpatch] {settings.neighbors} neighbours need mini-batches of at least as many "
            f"patches, got {min(settings.batch, N)}. Use more pictures or a larger --batch."
        )
    where, options = choose_device(device), options or CheckpointOptions()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed % 2**63)
        start = None
        if settings.start != "random":
            axes = principal_axes(
                features,
                settings.dim,
                seed=settings.seed,
                whitened=settings.start == "whitened",
            )
            start = torch.from_numpy(axes)
        model = Branches(
            D, dim=settings.dim, projection=settings.projection or settings.dim, start=start
        ).to(where)
    adamp = require("timm.optim").AdamP
    optimizer = adamp(
        [model.f.weight, model.g.weight], lr=settings.rate, weight_decay=settings.weight_decay
    )
    steps = steps_of(N, settings)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    batches = Batches(N, batch=min(settings.batch, N), seed=settings.seed)

    def step(iteration: int) -> float:
        patches = torch.from_numpy(features[batches.batch_at(iteration)]).to(where)
        weights = similarity(
            model.averaged(patches),
            k=settings.neighbors,
            alpha=settings.alpha,
            bandwidth=settings.bandwidth,
        )
        loss = relaxed_contrastive(model(patches), weights, margin=settings.margin)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        schedule.step()
        model.average(settings.momentum)
        if not math.isfinite(value := float(loss.detach())):
            raise DataError(
                f"[reconpatch] the loss became {value} at step {iteration + 1}. Lower --rate."
            )
        return value

    report = run_loop(
        step,
        iterations=steps,
        parts={"model": model, "optimizer": optimizer, "schedule": schedule},
        identity={"method": "reconpatch", "settings": settings.model_dump(mode="json")}
        | dict(identity),
        checkpoint=options.checkpoint,
        every=options.every,
        resume=options.resume,
        csv=options.csv,
        tensorboard=options.tensorboard,
        progress=progress,
    )
    weight = model.f.weight.detach().cpu().numpy().astype(np.float32)
    return Learned(weight, report.losses, report.seconds)


def principal_axes(features: Array, dim: int, *, seed: int, whitened: bool = False) -> Array:
    """(dim, D) orthonormal axes along which patches vary most; beyond D of them random mixtures.

    Args:
        features: (N, D) float32.
        dim: how many.
        seed: of the sample that they are taken from, and of the mixtures.
        whitened: divide each axis by the square root of its standard deviation, relative to the
            mean of these roots; axes without deviation count as the last one that has some.
    """
    rng = np.random.default_rng(seed)
    N, D = features.shape
    rows = features if N <= _SAMPLE else features[np.sort(rng.choice(N, _SAMPLE, replace=False))]
    centred = rows.astype(np.float64) - rows.mean(0, dtype=np.float64)
    variances, axes = np.linalg.eigh(centred.T @ centred / max(1, len(rows) - 1))
    found = axes.T[::-1][:dim]  # the largest first
    if whitened:
        variances = variances[::-1][:dim]
        least = variances[variances > 1e-6 * variances[0]].min(initial=variances[0])
        roots = np.maximum(variances, max(least, np.finfo(np.float64).tiny)) ** 0.25
        found = found * (roots.mean() / roots)[:, None]
    if dim > D:  # a rotation into more dimensions keeps every distance
        mixed, _ = np.linalg.qr(rng.standard_normal((dim, D)))
        found = mixed @ found
    result: Array = np.ascontiguousarray(found, np.float32)
    return result
