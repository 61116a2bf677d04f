"""Reference features of the inter-correlation: five kinds by name (appendix B.3, Table 15).

All give one feature per patch of the picture, since the target (eq. 5) compares places. ``mean``
and ``coreset`` do not depend on the picture; ``nearest``, ``prototypes`` and ``codebook`` are read
by it.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn.functional import normalize, one_hot

from pyad_edge.export.methods.fod.settings import ReferenceKind
from pyad_edge.ops import greedy_coreset, project, random_projection, start_distances

__all__ = ["Reference", "build_reference"]

Features = NDArray[np.float32]
NEIGHBORHOOD = 3  # p of eq. 14
PASSES, CHUNK = 5, 64  # over the pictures, for prototypes; pictures in one update
LLOYD, SAMPLE = 25, 1 << 16  # steps of k-means, and features it looks at
PROJECTED = 128


class Reference(nn.Module):  # type: ignore[misc]
    """What a picture's patches are compared with.

    Args:
        kind: see above.
        rows: (L, C) of ``mean`` and ``coreset``, (L, M, C) of ``nearest`` and ``prototypes``,
            (E, C) of ``codebook``.
    """

    def __init__(self, kind: ReferenceKind, rows: torch.Tensor) -> None:
        super().__init__()
        self.kind = kind
        self.register_buffer("rows", rows)

    @property
    def constant(self) -> bool:
        """Whether it is the same for every picture."""
        return self.kind in ("mean", "coreset")

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """(L, C) where it is constant; else (N, L, C), read by features (N, L, C)."""
        rows: torch.Tensor = self.rows
        if self.constant:
            return rows
        if self.kind == "codebook":
            nearest = (rows.square().sum(-1) - 2 * (features @ rows.transpose(-2, -1))).argmin(-1)
            return rows[nearest]
        if self.kind == "prototypes":  # eq. 18
            match = (normalize(features, dim=-1)[:, :, None] @ rows.transpose(-2, -1)).softmax(-1)
            return (match @ rows)[:, :, 0]
        L, M, C = rows.shape
        match = rows.square().sum(-1) - 2 * (features[:, :, None] @ rows.transpose(-2, -1))[:, :, 0]
        first = M * torch.arange(L, device=rows.device)
        return rows.reshape(L * M, C)[match.argmin(-1) + first]


def build_reference(
    kind: ReferenceKind, features: Features, *, grid: tuple[int, int], size: int, seed: int
) -> Reference:
    """Make the reference of one level.

    Args:
        kind: see the module.
        features: (N, L, C) float32 of all training pictures.
        grid: (h, w), L = h w.
        size: M or E.
        seed: of coreset, prototypes and codebook.
    """
    make: dict[ReferenceKind, Callable[[], Features]] = {
        "mean": lambda: np.asarray(features.mean(axis=0, dtype=np.float64), np.float32),
        "coreset": lambda: _coreset(features, seed),
        "nearest": lambda: _candidates(features, grid, size),
        "prototypes": lambda: _prototypes(features, size, seed),
        "codebook": lambda: _codebook(features, size, seed),
    }
    return Reference(kind, torch.from_numpy(np.ascontiguousarray(make[kind]())))


def _coreset(features: Features, seed: int) -> Features:
    """L rows of all pictures, by greedy selection in a random projection (eqs. 16 and 17)."""
    _, L, C = features.shape
    matrix = random_projection(C, out_dim=min(PROJECTED, C), seed=seed)
    rows = features.reshape(-1, C)
    projected = project(rows, matrix)
    chosen = greedy_coreset(projected, count=L, initial=start_distances(projected, seed=seed))
    return np.asarray(rows[np.sort(chosen)])


def _candidates(features: Features, grid: tuple[int, int], size: int) -> Features:
    """(L, M, C): of the p x p neighbourhood in all pictures (eqs. 14 and 15), the M most different.

    All N p^2 of them would not fit an engine.
    """
    h, w = grid
    N, _, C = features.shape
    maps = features.reshape(N, h, w, C)
    reach = NEIGHBORHOOD // 2
    made = np.empty((h * w, size, C), np.float32)
    for place in range(h * w):
        y, x = divmod(place, w)
        around = maps[:, max(0, y - reach) : y + reach + 1, max(0, x - reach) : x + reach + 1]
        rows = np.ascontiguousarray(around.reshape(-1, C))
        centre = rows.mean(axis=0, dtype=np.float64)
        first = np.square(rows - centre).sum(axis=1).astype(np.float32)
        count = min(size, len(rows))
        chosen = greedy_coreset(rows, count=count, initial=first)
        made[place] = rows[np.resize(chosen, size)]  # fewer rows than places: they repeat
    return made


def _prototypes(features: Features, size: int, seed: int) -> Features:
    """(L, M, C) of unit length, written by the pictures one group after another (eqs. 18 to 21)."""
    N = len(features)
    rng = np.random.default_rng(seed)
    whole = torch.from_numpy(features)
    start = np.resize(rng.permutation(N), size)
    items = normalize(whole[torch.from_numpy(start)].transpose(0, 1).contiguous(), dim=-1)
    for _ in range(PASSES):
        for group in np.array_split(rng.permutation(N), max(1, N // CHUNK)):
            x = normalize(whole[torch.from_numpy(group)], dim=-1).transpose(0, 1)  # (L, K, C)
            match = x @ items.mT  # (L, K, M)
            mine = one_hot(match.argmax(-1), size).float()  # whose nearest each one is
            # Softmax over the group's pictures, over its largest member's: eqs. 20 and 21.
            largest = match.masked_fill(mine == 0, -torch.inf).amax(1, keepdim=True)
            weight = torch.where(mine > 0, (match - largest).exp(), 0.0)
            items = normalize(items + weight.mT @ x, dim=-1)
    return np.asarray(items.numpy())


def _codebook(features: Features, size: int, seed: int) -> Features:
    """(E, C) codes by k-means.

    With a frozen backbone nothing but the codes moves in eq. 23: its second term is the objective
    of k-means, the others do not reach them.
    """
    rows = features.reshape(-1, features.shape[-1])
    rng = np.random.default_rng(seed)
    chosen = np.sort(rng.permutation(len(rows))[:SAMPLE])
    x = torch.from_numpy(rows[chosen])
    codes = x[torch.from_numpy(np.resize(rng.permutation(len(x)), size))].clone()
    for _ in range(LLOYD):
        nearest = (codes.square().sum(-1) - 2 * (x @ codes.mT)).argmin(-1)
        counts = torch.bincount(nearest, minlength=size)
        sums = torch.zeros_like(codes).index_add_(0, nearest, x)
        codes = torch.where(counts[:, None] > 0, sums / counts.clamp(min=1)[:, None], codes)
    return np.asarray(codes.numpy())
