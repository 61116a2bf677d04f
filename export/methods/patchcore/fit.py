"""Fit PatchCore: pictures of good parts to a memory bank, then calibrate it on others."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from pyad_edge.backends.onnxruntime import OnnxRuntimeBackend
from pyad_edge.engine_fields import Scalar
from pyad_edge.engine_manifest import Aggregation, MemoryBankHead, Preprocessing
from pyad_edge.errors import DataError, SettingError
from pyad_edge.export.backbones import Backbone
from pyad_edge.export.data import check_images
from pyad_edge.export.frame_settings import FrameSettings
from pyad_edge.export.memory import memory_limit
from pyad_edge.export.methods.patchcore.extract import (
    Extractor,
    MemoryPlan,
    Progress,
    offsets_of,
    plan_memory,
    project_all,
    rows_of,
)
from pyad_edge.export.methods.patchcore.index import TrainedIndex, plan_index
from pyad_edge.export.methods.patchcore.settings import PatchCoreSettings
from pyad_edge.export.progress import silent
from pyad_edge.feeder import DeclaredInput, Feeder
from pyad_edge.frame_files import read_frame
from pyad_edge.heads.memory_bank import MemoryBankHead as Head
from pyad_edge.heads.memory_bank import embed
from pyad_edge.input_choice import declared_pipeline, pixel_format_of
from pyad_edge.ops import greedy_coreset, random_projection, start_distances
from pyad_edge.pipeline import Pipeline
from pyad_edge.preprocessing import input_size

__all__ = [
    "Calibration",
    "PatchCoreModel",
    "calibrate",
    "fit",
    "head_of",
    "open_network",
    "silent",
]

Array = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class PatchCoreModel:
    """A fitted model, complete but for its calibration.

    Attributes:
        settings, backbone: what it was fitted with.
        preprocessing, head: the same, in the engine's words.
        grid: (h, w) patches of a picture.
        bank: (M, D) float32.
        sources: (M, 3) int32: picture, row and column of each bank row.
        pictures: names that ``sources`` refers to.
        plan: memory that the fit was allowed.
        index: of the bank, measured; None: exact search. See ``index.add_index``.
        declared: frames that it was fitted on; None: 8-bit RGB pictures, resized.
        method: whose engine it makes.
        trained: what an engine records about how its network was trained.
    """

    settings: PatchCoreSettings
    backbone: Backbone
    preprocessing: Preprocessing
    head: MemoryBankHead
    grid: tuple[int, int]
    bank: Array
    sources: NDArray[np.int32]
    pictures: tuple[str, ...]
    plan: MemoryPlan
    index: TrainedIndex | None = None
    declared: DeclaredInput | None = None
    method: Literal["patchcore", "reconpatch"] = "patchcore"
    trained: Mapping[str, Scalar] = field(default_factory=dict)

    def pipeline(self, *, threads: int | None = None) -> Pipeline:
        """The pipeline that the exported engine will run."""
        parts: dict[str, Any] = {
            "preprocessing": self.preprocessing,
            "backend": open_network(self.backbone, threads, self.preprocessing),
            "head": Head(
                self.bank,
                self.head,
                approximate=self.index.bank(self.bank) if self.index is not None else None,
            ),
            "sigma": self.settings.sigma,
        }
        if self.declared is None:
            return Pipeline(**parts)
        return declared_pipeline(parts, self.declared, grid=self.grid)

    def read(self, path: Path) -> NDArray[Any]:
        """A picture as a frame of the kind that it was fitted on.

        Raises:
            DataError: if it cannot be read.
        """
        return read_frame(path, pixel_format_of(self.declared))


@dataclass(frozen=True, eq=False)
class Calibration:
    """Scores of normal pictures outside the bank, each ascending.

    Attributes:
        scores: (n,) float32 picture scores.
        map_maxima: (n,) float32 largest value of each anomaly map.
    """

    scores: Array
    map_maxima: Array


def fit(
    paths: Sequence[Path],
    backbone: Backbone,
    settings: PatchCoreSettings,
    *,
    names: Sequence[str] | None = None,
    frames: FrameSettings | None = None,
    sizes: Collection[tuple[int, int]] | None = None,
    threads: int | None = None,
    progress: Progress = silent,
) -> PatchCoreModel:
    """Build the memory bank from pictures of good parts.

    Args:
        paths: pictures, all of which enter (hold some out before, for :func:`calibrate`).
        backbone: see ``resolve_backbone``.
        settings: see there.
        names: of the pictures, as results will show them; none: the files' names.
        frames: what frames will come; none: 8-bit RGB or mono pictures, resized.
        sizes: (H, W) of all pictures, those of the calibration too; none: those of ``paths``.
        threads: of the backbone.
        progress: called with (stage, done, of); stages features, coreset, bank.

    Raises:
        DataError: if a picture cannot be read.
        SettingError: if the settings leave no bank, or one that the index does not suit.
        BackendError: if the backbone fails, or the index needs faiss.
        ResourceError: if the memory limit will not do; nothing was started then.
    """
    if not paths:
        raise DataError("[patchcore] there are no pictures to fit on.")
    if backbone.color_order != "rgb":
        raise SettingError(
            f"[patchcore] the backbone {backbone.name} wants {backbone.color_order.upper()} input. "
            "Export it with its first convolution's channels reversed, so that it takes RGB."
        )
    preprocessing = Preprocessing(
        resize=settings.resize,
        crop=settings.crop,
        mean=backbone.mean,
        std=backbone.std,
        color_order=frames.color_order if frames is not None else "rgb",
    )
    head = head_of(backbone, settings)
    backend = open_network(backbone, threads, preprocessing)
    levels = backend.run(np.zeros((1, 3, *input_size(preprocessing)), np.float32))
    h, w, D = embed(levels, head).shape[1:]
    declared, feeder = None, None
    if frames is not None:
        frames.check_fit(resize=settings.resize, crop=settings.crop, index=settings.index)
        declared = frames.declare(
            sizes=sizes if sizes is not None else check_images(paths, frames.pixel_format),
            input_size=input_size(preprocessing),
            levels=[(level.shape[2], level.shape[3]) for level in levels],
        )
        feeder = Feeder(preprocessing, declared, grid=(h, w), sigma=settings.sigma)
    extract = Extractor(preprocessing, backend, head, feeder=feeder)
    patches: int | list[int] = h * w
    if feeder is not None:
        patches = [len(extract.positions(path, (h, w))) for path in paths]
    N = int(offsets_of(patches, len(paths))[-1])
    M = max(1, int(N * settings.coreset))
    if settings.scoring == "reweighted" and settings.neighbors > M:
        raise SettingError(
            f"[patchcore] a coreset of {settings.coreset:g} of {N:,} patches has {M} rows, fewer "
            f"than the {settings.neighbors} neighbours of the re-weighting. Use more pictures, a "
            "larger --coreset, or --scoring maximum."
        )
    P = settings.projection_dim
    plan = plan_memory(N=N, D=D, P=P, M=M, limit=memory_limit(settings.memory_limit))
    plan_index(settings, M=M, D=D, neighbors=head.neighbors)  # refuses now what it would later
    kept: list[Array] = []
    if M == N:
        selected = np.arange(N)
    else:
        matrix = random_projection(D, out_dim=P, seed=settings.seed)
        projected, kept = project_all(
            paths, extract, matrix, patches=patches, keep=plan.keep_features, progress=progress
        )
        selected = greedy_coreset(
            projected,
            count=M,
            initial=start_distances(projected, seed=settings.seed),
            progress=lambda made: progress("coreset", made, M),
        )
        del projected
    bank = rows_of(selected, paths, extract, patches=patches, D=D, kept=kept, progress=progress)
    sources = _sources(selected, paths, extract, patches=patches, grid=(h, w))
    return PatchCoreModel(
        settings=settings,
        backbone=backbone,
        preprocessing=preprocessing,
        head=head,
        grid=(h, w),
        bank=bank,
        sources=sources,
        pictures=tuple(names) if names is not None else tuple(path.name for path in paths),
        plan=plan,
        declared=declared,
    )


def calibrate(
    pipeline: Pipeline, paths: Sequence[Path], *, progress: Progress = silent
) -> Calibration:
    """Score normal pictures that the bank has not seen, one by one, just as the runtime will.

    Raises:
        DataError: if there are fewer than two, or one cannot be read.
        BackendError: if the network fails on one.
    """
    if len(paths) < 2:
        raise DataError(
            f"[calibrate] a threshold needs at least 2 normal pictures outside the memory bank, "
            f"got {len(paths)}. Use a larger --holdout, or --calibration-data DIR."
        )
    scores: dict[str, list[float]] = {"image": [], "map": []}
    for index, path in enumerate(paths):
        result = pipeline.score([read_frame(path, pipeline.input_info["pixel_format"])])
        scores["image"].append(float(result.image[0]))
        scores["map"].append(float(result.map_maxima[0]))
        progress("calibration", index + 1, len(paths))
    return Calibration(
        np.sort(np.array(scores["image"], np.float32)), np.sort(np.array(scores["map"], np.float32))
    )


def _sources(
    selected: NDArray[np.int64],
    paths: Sequence[Path],
    extract: Extractor,
    *,
    patches: int | Sequence[int],
    grid: tuple[int, int],
) -> NDArray[np.int32]:
    """(M, 3) picture, row and column of the selected patches."""
    offsets = offsets_of(patches, len(paths))
    pictures = np.searchsorted(offsets, selected, side="right") - 1
    sources = np.empty((len(selected), 3), np.int32)
    sources[:, 0] = pictures
    for picture in np.unique(pictures):
        where = np.flatnonzero(pictures == picture)
        positions = extract.positions(paths[picture], grid)
        sources[where, 1:] = positions[selected[where] - offsets[picture]]
    return sources


def head_of(backbone: Backbone, settings: PatchCoreSettings) -> MemoryBankHead:
    """Aggregation and scoring as an engine records them."""
    official = settings.aggregation == "official"
    dim = min(sum(backbone.channels), 1024)
    values: dict[str, Any] = {
        "variant": settings.aggregation,
        "pre_dim": (settings.pre_dim or dim) if official else None,
        "target_dim": (settings.target_dim or dim) if official else None,
    }
    return MemoryBankHead(
        type="memory_bank",
        aggregation=Aggregation(**values),
        scoring=settings.scoring,
        neighbors=settings.neighbors if settings.scoring == "reweighted" else 1,
    )


def open_network(
    backbone: Backbone, threads: int | None, preprocessing: Preprocessing
) -> OnnxRuntimeBackend:
    """The network as fit and calibration run it."""
    return OnnxRuntimeBackend(
        backbone.model,
        outputs=backbone.layers,
        input_size=input_size(preprocessing),
        threads=threads,
    )
