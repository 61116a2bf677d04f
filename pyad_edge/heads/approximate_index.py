"""Approximate search of a memory bank: faiss IVF-PQ proposes, the canonical distance decides.

For banks that are not subsampled (PatchCore, Roth et al. 2022, table 5). An engine asks for it by
name; nothing falls back to it or from it silently. faiss is imported when such an engine is opened.
"""

from __future__ import annotations

import importlib
import threading
import warnings
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from pyad_edge.engine_manifest import IvfPqSettings
from pyad_edge.errors import BackendError, EngineError, SettingError
from pyad_edge.ops import num_threads, rerank

__all__ = ["ApproximateBank", "load_faiss"]

Array = NDArray[np.float32]


def load_faiss(purpose: str = "this engine searches its memory bank with a faiss index") -> Any:
    """The module faiss.

    Raises:
        BackendError: if it cannot be imported; the sentence names the extra and the alternative.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # SWIG's, on newer Pythons
            return importlib.import_module("faiss")
    except ImportError as error:
        raise BackendError(
            f"[ivfpq] {purpose}, and faiss cannot be imported ({error}). Install it with "
            "pip install 'pyad_edge[faiss]', or train the engine without --index: exact search "
            "needs no faiss."
        ) from error


class ApproximateBank:
    """A memory bank behind an IVF-PQ index. Thread-safe; stands where a ``MemoryBank`` stands.

    The index proposes ``settings.candidates`` rows a query, found by their compressed codes in
    ``settings.nprobe`` lists. :func:`~pyad_edge.ops.rerank` orders them by the canonical distance
    to the real rows. A distance is thus that of a real row, never too small; it is too large where
    the true neighbour was not proposed. A query that gets fewer than k candidates (its lists are
    nearly empty) is compared with every row instead, and counted in ``exact_searches``.

    Args:
        rows: (M, D) float32, finite.
        index: (bytes,) uint8, a serialised IndexIVFPQ that ``check_index`` has passed.
        settings: of the index.
        device: ``cpu``, or ``cuda`` where faiss is built for it (not every ``m`` fits there).

    Raises:
        BackendError: if faiss is missing, has no GPU support, or cannot hold this index there.
        EngineError: if the index does not fit the rows.
        SettingError: if the device is none of these.
    """

    def __init__(
        self,
        rows: Array,
        index: NDArray[np.uint8],
        settings: IvfPqSettings,
        *,
        device: Literal["cpu", "cuda"] = "cpu",
    ) -> None:
        if device not in ("cpu", "cuda"):
            raise SettingError(f"[ivfpq] expected device 'cpu' or 'cuda', got {device!r}.")
        self._faiss = load_faiss()
        try:
            loaded = self._faiss.deserialize_index(np.array(index))  # faiss wants it writeable
        except RuntimeError as error:
            raise EngineError(
                f"[ivfpq] faiss {self._faiss.__version__} does not read the engine's index, made "
                f"by faiss {settings.faiss} ({_brief(error)}). Install that version, or train the "
                "engine again."
            ) from error
        found = (type(loaded).__name__, loaded.ntotal, loaded.d)
        if found != ("IndexIVFPQ", *rows.shape):
            raise EngineError(
                f"[ivfpq] expected an IndexIVFPQ of the bank's {rows.shape} rows, got {found[0]} "
                f"of {found[1:]}. Train the engine again."
            )
        self.settings = settings
        self.device = device
        self._rows = rows
        self._lock = threading.Lock()  # of the counter; a GPU index also searches under it
        self._exact_searches = 0
        self._index = loaded if device == "cpu" else _to_gpu(self._faiss, loaded)
        self._index.nprobe = settings.nprobe

    @property
    def exact_searches(self) -> int:
        """Queries so far that got too few candidates and were compared with every row."""
        return self._exact_searches

    def search(self, queries: Array, *, k: int = 1) -> tuple[Array, NDArray[np.int64]]:
        """The ``k`` nearest of the proposed rows of each query.

        Args:
            queries: (Q, D) float32, finite.
            k: 1 <= k <= ``settings.candidates``.

        Returns:
            distances: (Q, k) float32, squared Euclidean distances, ascending.
            indices: (Q, k) int64, rows of the bank.

        Raises:
            TypeError, ValueError: see :func:`~pyad_edge.ops.rerank`.
        """
        if len(queries) == 0 or queries.shape[1:] != self._rows.shape[1:]:
            candidates = np.full((len(queries), self.settings.candidates), -1, np.int64)
        else:
            candidates = self._propose(np.ascontiguousarray(queries))
        distances, indices = rerank(queries, self._rows, candidates, k=k)
        short = np.flatnonzero(indices[:, -1] < 0)
        if len(short):
            everything = np.arange(len(self._rows))[np.newaxis]
            for q in short:
                distances[q], indices[q] = rerank(queries[q : q + 1], self._rows, everything, k=k)
            with self._lock:
                self._exact_searches += len(short)
        return distances, indices

    def _propose(self, queries: Array) -> NDArray[np.int64]:
        """Rows (Q, candidates) int64; -1 where the lists hold no more."""
        rows: NDArray[np.int64]
        if self.device == "cuda":  # faiss's GPU indexes serve one thread at a time
            with self._lock:
                _, rows = self._index.search(queries, self.settings.candidates)
            return rows
        self._faiss.omp_set_num_threads(num_threads())  # of the calling thread
        _, rows = self._index.search(queries, self.settings.candidates)
        return rows


def _to_gpu(faiss: Any, index: Any) -> Any:
    if not hasattr(faiss, "StandardGpuResources") or faiss.get_num_gpus() == 0:
        raise BackendError(
            "[ivfpq] the device 'cuda' was asked for, but this faiss is built without GPU support "
            "or finds no GPU. Install faiss-gpu instead of faiss-cpu, or use device 'cpu'."
        )
    try:
        return faiss.index_cpu_to_gpu(faiss.StandardGpuResources(), 0, index)
    except RuntimeError as error:
        raise BackendError(
            f"[ivfpq] faiss cannot hold this index on the GPU ({_brief(error)}). Use device "
            "'cpu', or train the engine with another --pq-m."
        ) from error


def _brief(error: RuntimeError) -> str:
    return " ".join(str(error).split())[-200:] or "it does not say why"
