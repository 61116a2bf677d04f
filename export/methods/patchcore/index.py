"""The approximate index of a bank that is not subsampled: faiss IVF-PQ, trained and measured."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pyad_edge.backends.onnxruntime import OnnxRuntimeBackend
from pyad_edge.engine_manifest import IndexErrors, IvfPqIndex, IvfPqSettings
from pyad_edge.errors import BackendError, SettingError
from pyad_edge.export.methods.patchcore.settings import PatchCoreSettings
from pyad_edge.feeder import Feeder
from pyad_edge.heads.approximate_index import ApproximateBank, load_faiss
from pyad_edge.heads.ivfpq_layout import IvfPqLayout, check_index
from pyad_edge.heads.memory_bank import MemoryBankHead
from pyad_edge.images import read_image
from pyad_edge.ops import num_threads
from pyad_edge.preprocessing import input_size, to_batch

if TYPE_CHECKING:
    from pyad_edge.export.methods.patchcore.fit import PatchCoreModel

__all__ = ["TrainedIndex", "add_index", "measure_index", "plan_index", "train_index"]

Array = NDArray[np.float32]

# k-means wants so many rows per centroid (faiss warns below); more than MOST only cost time.
LEAST_PER_CENTROID, MOST_PER_CENTROID = 39, 64
ITERATIONS = 10  # of the lists' k-means, as faiss itself has it
FLOOR = 0.01  # of the mean distance: patches nearer than that are measured against it


@dataclass(frozen=True, eq=False)
class TrainedIndex:
    """An index and what it misses.

    Attributes:
        data: (bytes,) uint8, as faiss serialises it.
        record: settings and measured errors, as the engine keeps them.
    """

    data: NDArray[np.uint8]
    record: IvfPqIndex

    def bank(self, rows: Array) -> ApproximateBank:
        """The search of these rows, (M, D) float32."""
        return ApproximateBank(rows, self.data, self.record)


def plan_index(
    settings: PatchCoreSettings, *, M: int, D: int, neighbors: int
) -> IvfPqSettings | None:
    """The index's settings with defaults filled in, before any work; None for exact search.

    Args:
        settings: of the fit.
        M: rows of the bank. D: their dimensions.
        neighbors: of the picture score.

    Raises:
        SettingError: if the bank is too small or a setting does not fit it.
        BackendError: if faiss is missing.
    """
    if settings.index is None:
        return None
    faiss = load_faiss("--index ivfpq trains a faiss index")
    # Measured on 163,856 rows (benchmarks/ivfpq.py, README): longer codes or more candidates find
    # hardly more, and with twice the nprobe exact search is nearly as fast.
    nbits = settings.pq_nbits or 8
    nlist = settings.nlist or max(1, min(round(4 * math.sqrt(M)), M // LEAST_PER_CENTROID))
    m = settings.pq_m or max(m for m in range(1, max(1, D // 16) + 1) if D % m == 0)
    nprobe = settings.nprobe or min(16, nlist)
    candidates = settings.candidates or min(max(64, neighbors), M)
    needed = LEAST_PER_CENTROID * max(nlist, 1 << nbits)
    if needed > M:
        raise SettingError(
            f"[ivfpq] {nlist:,} lists and codes of {nbits} bits need at least {needed:,} bank rows "
            f"to be trained on, got {M:,}. Use more pictures, a smaller --nlist or --pq-nbits, or "
            "leave --index out: a bank of this size is searched exactly in little time."
        )
    if D % m:
        raise SettingError(
            f"[ivfpq] expected --pq-m as a divisor of the {D} dimensions of a patch, got {m}."
        )
    if nprobe > nlist:
        raise SettingError(f"[ivfpq] expected --nprobe of 1 to {nlist} (lists), got {nprobe}.")
    if not neighbors <= candidates <= M:
        raise SettingError(
            f"[ivfpq] expected --candidates of {neighbors} (neighbours of the picture score) to "
            f"{M:,} (rows of the bank), got {candidates}."
        )
    return IvfPqSettings(
        type="faiss_ivfpq",
        faiss=faiss.__version__,
        nlist=nlist,
        m=m,
        nbits=nbits,
        nprobe=nprobe,
        candidates=candidates,
    )


def train_index(bank: Array, settings: IvfPqSettings, *, seed: int) -> NDArray[np.uint8]:
    """Train an IndexIVFPQ on a bank (M, D) float32 and fill it; its serialised bytes.

    Squared Euclidean distance, product quantization of the residuals (Jegou et al., "Product
    Quantization for Nearest Neighbor Search", PAMI 2011).

    Raises:
        BackendError: if faiss fails, or lays an index out as pyad_edge does not know it.
    """
    faiss: Any = load_faiss("--index ivfpq trains a faiss index")
    M, D = bank.shape
    faiss.omp_set_num_threads(num_threads())
    coarse = faiss.IndexFlatL2(D)
    index = faiss.IndexIVFPQ(coarse, D, settings.nlist, settings.m, settings.nbits)
    index.cp.seed = index.pq.cp.seed = seed % (1 << 31)
    index.cp.max_points_per_centroid = MOST_PER_CENTROID
    index.cp.niter = ITERATIONS
    try:
        index.train(bank)
        index.add(bank)
    except RuntimeError as error:
        raise BackendError(f"[ivfpq] faiss failed to train the index ({error}).") from error
    data: NDArray[np.uint8] = faiss.serialize_index(index)
    layout = IvfPqLayout(M=M, D=D, nlist=settings.nlist, m=settings.m, nbits=settings.nbits)
    if wrong := check_index(data, layout):
        raise BackendError(
            f"[ivfpq] faiss {faiss.__version__} wrote an index that no engine can hold: {wrong}. "
            "Use fewer lists (--nlist), or another version of faiss."
        )
    return data


def add_index(
    model: PatchCoreModel,
    held: Sequence[Path],
    *,
    threads: int | None,
    progress: Callable[[str, int, int], None],
) -> PatchCoreModel:
    """The same model with a trained and measured index, if its settings ask for one.

    Args:
        model: from fit.
        held: pictures of good parts outside of the bank.
        threads: of the backbone.
        progress: called with (stage, done, of); stages index, index errors.

    Raises:
        SettingError, BackendError: see plan_index and train_index.
        DataError: if a picture cannot be read.
    """
    M, D = model.bank.shape
    settings = plan_index(model.settings, M=M, D=D, neighbors=model.head.neighbors)
    if settings is None:
        return model
    progress("index", 0, 1)
    data = train_index(model.bank, settings, seed=model.settings.seed)
    progress("index", 1, 1)
    backend = OnnxRuntimeBackend(
        model.backbone.model, outputs=model.backbone.layers, threads=threads
    )

    def features(path: Path) -> Sequence[Array]:
        if model.declared is None:
            return backend.run(to_batch([read_image(path)], model.preprocessing))
        return backend.run(_one_tile(path, model))

    errors = measure_index(
        MemoryBankHead(model.bank, model.head),
        MemoryBankHead(
            model.bank, model.head, approximate=ApproximateBank(model.bank, data, settings)
        ),
        [partial(features, path) for path in held],
        progress=progress,
    )
    record = IvfPqIndex(**settings.model_dump(), errors=errors)
    return dataclasses.replace(model, index=TrainedIndex(data, record))


def _one_tile(path: Path, model: PatchCoreModel) -> Array:
    """A picture of a declared format as the network's input."""
    if model.declared is None:
        raise ValueError("[ivfpq] nothing is declared.")
    feeder = Feeder(
        model.preprocessing, model.declared, grid=model.grid, sigma=model.settings.sigma
    )
    frame = model.read(path)
    feeder.check(frame)
    plan = feeder.plan(frame.shape)
    batch = np.empty((1, 3, *input_size(model.preprocessing)), np.float32)
    feeder.write(feeder.picture(frame), plan, plan.tiles[0], batch)
    return batch


def measure_index(
    exact: MemoryBankHead,
    approximate: MemoryBankHead,
    pictures: Sequence[Callable[[], Sequence[Array]]],
    *,
    progress: Callable[[str, int, int], None],
) -> IndexErrors:
    """What the approximate head misses, against the exact one, on the same backbone features.

    A patch's nearest row counts as found if its distance is the exact one, to the bit: of equally
    near rows any will do. Errors are relative to the exact value, of patches to a hundredth of the
    picture's mean distance at least.

    Args:
        exact, approximate: heads over the same bank.
        pictures: each gives the backbone's levels (1, C, h, w) of one picture, at least one.
        progress: told after each.
    """
    found, patch_errors, image_errors = 0, [], []
    for done, picture in enumerate(pictures, 1):
        features = picture()
        right, guess = exact.score(features), approximate.score(features)
        found += int((right.distances == guess.distances).sum())
        scale = np.maximum(right.distances, FLOOR * right.distances.mean(dtype=np.float64))
        scale = np.maximum(scale, np.finfo(np.float32).tiny)
        patch_errors.append(((guess.distances - right.distances) / scale).ravel())
        wanted = max(float(right.image[0]), float(np.finfo(np.float32).tiny))
        image_errors.append(abs(float(guess.image[0]) - float(right.image[0])) / wanted)
        progress("index errors", done, len(pictures))
    errors = np.concatenate(patch_errors)
    bank = approximate.approximate
    return IndexErrors(
        pictures=len(pictures),
        patches=errors.size,
        recall_at_1=found / errors.size,
        patch_mean=float(errors.mean(dtype=np.float64)),
        patch_max=float(errors.max()),
        image_mean=float(np.mean(image_errors)),
        image_max=float(np.max(image_errors)),
        exact_searches=bank.exact_searches if bank is not None else 0,
    )
