"""PatchCore as its authors' code does it, step by step, in plain NumPy and torch: the oracle.

Written from the paper (Roth et al., CVPR 2022) and shares no code with pyad_edge. Slow on purpose:
unfolded windows are materialised, one pass over all features is made per coreset pick, every query
meets every bank row. The projection matrix and the coreset's start are given, because the official
ones are random.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import load_file
from torch.nn import functional

Array = NDArray[np.float32]

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
LANES = 16
BLOCK = 1024  # points of one block of the coreset's loop: its differences stay in the L2 cache


def load_resnet18(weights: Path) -> Any:
    """ResNet-18 of timm that gives layer2 and layer3, with these weights."""
    network = timm.create_model("resnet18", features_only=True, out_indices=(2, 3))
    missing = network.load_state_dict(load_file(weights), strict=False).missing_keys
    if any(not key.startswith(("layer4", "fc")) for key in missing):
        raise SystemExit(f"{weights} lacks {missing}")
    return network.eval()


def read_picture(path: Path) -> torch.Tensor:
    """(1, 3, H, W) float32 in [0, 1]."""
    with Image.open(path) as picture:
        values = np.array(picture.convert("RGB"))
    return torch.from_numpy(values).permute(2, 0, 1)[None].float() / 255


def prepare(picture: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Antialiased resize of the whole picture, ImageNet normalisation."""
    resized = functional.interpolate(
        picture, size, mode="bilinear", align_corners=False, antialias=True
    )
    mean, std = (torch.tensor(v)[None, :, None, None] for v in (MEAN, STD))
    return (resized - mean) / std


def embed(levels: Sequence[torch.Tensor], pre_dim: int, target_dim: int) -> torch.Tensor:
    """Feature maps (1, C_l, h_l, w_l) to patch features (h * w, target_dim)."""
    h, w = levels[0].shape[2:]
    pooled = []
    for level in levels:
        _, C, h_l, w_l = level.shape
        windows = functional.unfold(level, kernel_size=3, padding=1).reshape(1, C * 9, h_l, w_l)
        if (h_l, w_l) != (h, w):
            windows = functional.interpolate(windows, (h, w), mode="bilinear", align_corners=False)
        rows = windows[0].permute(1, 2, 0).reshape(h * w, 1, C * 9)
        pooled.append(functional.adaptive_avg_pool1d(rows, pre_dim)[:, 0])
    stacked = torch.stack(pooled, dim=1).reshape(h * w, 1, len(levels) * pre_dim)
    return functional.adaptive_avg_pool1d(stacked, target_dim)[:, 0]


def features(network: Any, path: Path, size: tuple[int, int], dim: int) -> Array:
    """Patch features (h * w, dim) of one picture."""
    with torch.inference_mode():
        levels = network(prepare(read_picture(path), size))
        found: Array = embed(levels, dim, dim).numpy()
    return found


def squared_start(points: Array, rows: Sequence[int]) -> Array:
    """Square of the mean Euclidean distance of each point (N, P) to the given start rows."""
    total = np.zeros(len(points))
    for row in rows:
        for block in range(0, len(points), 65536):
            part = slice(block, block + 65536)
            differences = points[part].astype(np.float64) - points[row]
            total[part] += np.sqrt((differences**2).sum(axis=1))
    return ((total / len(rows)) ** 2).astype(np.float32)


def select_coreset(
    points: Array,
    count: int,
    start: Array,
    *,
    threads: int = 1,
    progress: Callable[[int], None] | None = None,
) -> NDArray[np.int64]:
    """Greedy k-center, one pass over all points (N, P) per pick.

    The distance is the canonical one: Sum (a_d - b_d)^2 in float32, sixteen partial sums over
    d = l, l + 16, ..., added in halves. It needs a fixed order: where the last bit of a distance is
    left to a BLAS, equal inputs lead to other picks after some hundred.

    Points lie in blocks with the dimension first, so that each step runs along the points.
    """
    N, P = points.shape
    width = -(-P // LANES) * LANES
    blocks = []
    for begin in range(0, N, BLOCK):
        rows = points[begin : begin + BLOCK]
        block = np.zeros((width, len(rows)), np.float32)
        block[:P] = rows.T
        blocks.append(block)
    nearest = start.astype(np.float32)
    center = np.zeros((width, 1), np.float32)

    def update(first: int) -> None:
        squares = np.empty((width, BLOCK), np.float32)
        sums = np.empty((LANES, BLOCK), np.float32)
        for index in range(first, len(blocks), threads):
            block = blocks[index]
            n = block.shape[1]
            d, s = squares[:, :n], sums[:, :n]
            np.subtract(block, center, out=d)
            np.multiply(d, d, out=d)
            s[...] = d[:LANES]
            for lane in range(LANES, width, LANES):
                s += d[lane : lane + LANES]
            for half in (8, 4, 2, 1):
                s[:half] += s[half : 2 * half]
            part = nearest[index * BLOCK : index * BLOCK + n]
            np.minimum(part, s[0], out=part)

    picks = np.empty(count, np.int64)
    with ThreadPoolExecutor(threads) as pool, np.errstate(over="ignore"):
        for pick in range(count):
            picks[pick] = nearest.argmax()
            center[:P, 0] = points[picks[pick]]
            list(pool.map(update, range(threads)))
            nearest[picks[: pick + 1]] = -1.0  # what is picked does not compete again
            if progress is not None:
                progress(pick + 1)
    return picks


def select_coreset_by_products(
    points: Array,
    count: int,
    start: Array,
    *,
    progress: Callable[[int], None] | None = None,
) -> NDArray[np.int64]:
    """Greedy k-center as public code does it, in torch: one matrix-vector product per pick.

    Distances are |x|^2 - 2 x.c + |c|^2, updated in place. Their last bits are the BLAS library's.
    """
    x = torch.from_numpy(points)
    norms = (x * x).sum(dim=1)
    nearest = torch.from_numpy(start.copy())
    distances = torch.empty_like(nearest)
    picks = torch.empty(count, dtype=torch.int64)
    with torch.inference_mode():
        for pick in range(count):
            row = int(nearest.argmax())
            picks[pick] = row
            torch.addmv(norms, x, x[row], alpha=-2.0, out=distances)
            distances += float(norms[row])
            torch.minimum(nearest, distances, out=nearest)
            nearest[row] = -torch.inf  # what is picked does not compete again
            if progress is not None:
                progress(pick + 1)
    found: NDArray[np.int64] = picks.numpy()
    return found


def patch_scores(queries: Array, bank: Array) -> NDArray[np.float64]:
    """Squared L2 distance of every query (Q, D) to its nearest bank row (M, D), by brute force.

    All products first; the distance to the row that they name is then taken directly in float64,
    so that nothing cancels.
    """
    q, b = torch.from_numpy(queries), torch.from_numpy(bank)
    distances = (b * b).sum(1) - 2.0 * (q @ b.T)
    winners = distances.argmin(dim=1).numpy()
    squared: NDArray[np.float64] = (
        (queries.astype(np.float64) - bank[winners].astype(np.float64)) ** 2
    ).sum(axis=1)
    return squared


def image_score(queries: Array, bank: Array) -> float:
    """The plain maximum of the patch scores."""
    return float(patch_scores(queries, bank).max())
