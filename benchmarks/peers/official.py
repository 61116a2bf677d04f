"""The official PatchCore algorithm in torch and faiss-cpu: the form that its paper's code has.

Unfolded windows, mean-mapped levels, ``IndexFlatL2``, the largest squared distance as the score,
the map by bilinear interpolation and SciPy's Gaussian. Steps come from ``oracle/patchcore.py``,
here for a batch of prepared tensors. Shares no code with pyad_edge.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import torch
from numpy.typing import NDArray
from oracle import patchcore as oracle
from scipy.ndimage import gaussian_filter
from torch.nn import functional

Array = NDArray[np.float32]
RunBatch = Callable[[Array], tuple[Array, Array]]  # (N, 3, H, W) -> (N,) scores, (N, H, W) maps

SIGMA = 4.0


def embed(levels: Sequence[torch.Tensor], dim: int) -> torch.Tensor:
    """Feature maps (N, C_l, h_l, w_l) to patch features (N * h * w, dim), as the paper's code."""
    N, _, h, w = levels[0].shape
    pooled = []
    for level in levels:
        _, C, h_l, w_l = level.shape
        windows = functional.unfold(level, kernel_size=3, padding=1).reshape(N, C * 9, h_l, w_l)
        if (h_l, w_l) != (h, w):
            windows = functional.interpolate(windows, (h, w), mode="bilinear", align_corners=False)
        rows = windows.permute(0, 2, 3, 1).reshape(N * h * w, 1, C * 9)
        pooled.append(functional.adaptive_avg_pool1d(rows, dim)[:, 0])
    stacked = torch.stack(pooled, dim=1).reshape(N * h * w, 1, len(levels) * dim)
    return functional.adaptive_avg_pool1d(stacked, dim)[:, 0]


def official(
    network: Any, bank: Array, *, threads: int, channels_last: bool, device: str = "cpu"
) -> RunBatch:
    """The algorithm, ready to run.

    Args:
        network: gives levels 2 and 3; copied.
        bank: (M, D) float32.
        threads: of faiss; torch's are set by the caller for the process.
        channels_last: layout of network and input; the scores are the same.
        device: of the network and, where faiss is built for it, of the search; the paper's code
            hands patch features over on the host in both cases.
    """
    layout = torch.channels_last if channels_last else torch.contiguous_format
    network = copy.deepcopy(network).to(device=device, memory_format=layout)
    faiss.omp_set_num_threads(threads)
    index = faiss.IndexFlatL2(bank.shape[1])
    if device != "cpu" and hasattr(faiss, "StandardGpuResources"):
        index = faiss.index_cpu_to_gpu(faiss.StandardGpuResources(), 0, index)
    index.add(np.ascontiguousarray(bank))

    def run(batch: Array) -> tuple[Array, Array]:
        with torch.inference_mode():
            tensor = torch.from_numpy(batch).to(device).contiguous(memory_format=layout)
            levels = [level.contiguous() for level in network(tensor)]
            N, (h, w) = len(batch), levels[0].shape[2:]
            queries = embed(levels, bank.shape[1]).cpu().numpy()
            squared, _ = index.search(queries, 1)
            patches = squared.reshape(N, h, w)
            raised = functional.interpolate(
                torch.from_numpy(patches)[:, None], batch.shape[2:], mode="bilinear"
            )
        maps = np.stack([gaussian_filter(found, SIGMA) for found in raised[:, 0].numpy()])
        return patches.reshape(N, -1).max(axis=1), maps

    return run


def patch_distances(weights: Path, bank: Array, batch: Array) -> Array:
    """(1, h, w) Euclidean distance of each patch to its nearest row, summed up in float64."""
    network = oracle.load_resnet18(weights)
    with torch.inference_mode():
        levels = network(torch.from_numpy(batch))
        queries = embed(levels, bank.shape[1]).numpy()
    h, w = levels[0].shape[2:]
    found: Array = np.sqrt(oracle.patch_scores(queries, bank)).astype(np.float32)
    return found.reshape(1, h, w)
