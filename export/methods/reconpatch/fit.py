"""From pictures to a network that ends in ReConPatch's learned map; PatchCore does the rest."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pyad_edge.engine_fields import Scalar
from pyad_edge.engine_manifest import MemoryBankHead, Preprocessing
from pyad_edge.errors import ResourceError
from pyad_edge.export.backbones import Backbone
from pyad_edge.export.data import check_images, fingerprint
from pyad_edge.export.frame_settings import FrameSettings
from pyad_edge.export.memory import format_bytes, memory_limit
from pyad_edge.export.methods.patchcore.extract import Extractor
from pyad_edge.export.methods.patchcore.fit import head_of, open_network
from pyad_edge.export.methods.patchcore.settings import PatchCoreSettings
from pyad_edge.export.methods.reconpatch.fold import fold
from pyad_edge.export.methods.reconpatch.settings import ReConPatchSettings
from pyad_edge.export.methods.reconpatch.train import learn, steps_of
from pyad_edge.export.progress import ProgressCall, silent
from pyad_edge.export.training.options import CheckpointOptions
from pyad_edge.feeder import Feeder
from pyad_edge.heads.memory_bank import embed
from pyad_edge.preprocessing import input_size

__all__ = ["LearnedMap", "descriptors", "learn_map"]

Array = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class LearnedMap:
    """What PatchCore's fit goes on with.

    Attributes:
        backbone: the network with the learned map at its end.
        settings: for its levels, which are added.
        trained: what the engine records.
        weight: (dim, D) float32, f.
        head: the aggregation that f was learned on.
        losses: of every step.
    """

    backbone: Backbone
    settings: PatchCoreSettings
    trained: Mapping[str, Scalar]
    weight: Array
    head: MemoryBankHead
    losses: tuple[float, ...]


def learn_map(
    paths: Sequence[Path],
    backbone: Backbone,
    settings: PatchCoreSettings,
    reconpatch: ReConPatchSettings,
    *,
    frames: FrameSettings | None = None,
    sizes: Collection[tuple[int, int]] | None = None,
    threads: int | None = None,
    device: str = "cpu",
    options: CheckpointOptions | None = None,
    progress: ProgressCall = silent,
) -> LearnedMap:
    """Describe every patch of the pictures, learn f, and fold it into the network.

    Args:
        paths, backbone, settings, frames, sizes, threads, progress: as for PatchCore's ``fit``.
        reconpatch: see there.
        device: of torch.
        options: checkpoint and logs of the training.

    Raises:
        DataError, BackendError: as PatchCore's ``fit``, and if torch is missing.
        ResourceError: if the descriptors do not fit the memory limit.
    """
    head = head_of(backbone, settings)
    features = descriptors(
        paths,
        backbone,
        settings,
        head,
        frames=frames,
        sizes=sizes,
        threads=threads,
        progress=progress,
    )
    found = learn(
        features,
        reconpatch,
        device=device,
        identity={"backbone": backbone.onnx_sha256, "fingerprint": fingerprint(paths)},
        options=options,
        progress=progress,
    )
    trained: dict[str, Scalar] = {
        f"reconpatch_{name}": value
        for name, value in reconpatch.model_dump().items()
        if name != "seed"
    }
    trained |= {
        "reconpatch_aggregation": head.aggregation.variant,
        "reconpatch_steps": steps_of(len(features), reconpatch),
        "reconpatch_last_loss": found.losses[-1],
    }
    return LearnedMap(
        backbone=fold(backbone, found.weight, head.aggregation),
        settings=settings.model_copy(
            update={"aggregation": "sum", "pre_dim": None, "target_dim": None}
        ),
        trained=trained,
        weight=found.weight,
        head=head,
        losses=found.losses,
    )


def descriptors(
    paths: Sequence[Path],
    backbone: Backbone,
    settings: PatchCoreSettings,
    head: MemoryBankHead,
    *,
    frames: FrameSettings | None = None,
    sizes: Collection[tuple[int, int]] | None = None,
    threads: int | None = None,
    progress: ProgressCall = silent,
) -> Array:
    """(N, D) float32 descriptors of all patches that count, picture by picture.

    Raises:
        DataError: if a picture cannot be read.
        ResourceError: if they do not fit the memory limit; nothing more was started then.
    """
    preprocessing = Preprocessing(
        resize=settings.resize,
        crop=settings.crop,
        mean=backbone.mean,
        std=backbone.std,
        color_order=frames.color_order if frames is not None else "rgb",
    )
    backend = open_network(backbone, threads, preprocessing)
    levels = backend.run(np.zeros((1, 3, *input_size(preprocessing)), np.float32))
    h, w, D = embed(levels, head).shape[1:]
    feeder = None
    if frames is not None:
        declared = frames.declare(
            sizes=sizes if sizes is not None else check_images(paths, frames.pixel_format),
            input_size=input_size(preprocessing),
            levels=[(level.shape[2], level.shape[3]) for level in levels],
        )
        feeder = Feeder(preprocessing, declared, grid=(h, w), sigma=settings.sigma)
    extract = Extractor(preprocessing, backend, head, feeder=feeder)
    first = extract(paths[0]).reshape(-1, D)
    needed, limit = 4 * D * len(first) * len(paths), memory_limit(settings.memory_limit)
    if 2 * needed > limit:  # the parts and the whole
        raise ResourceError(
            f"[reconpatch] the descriptors of {len(paths)} pictures need about "
            f"{format_bytes(2 * needed)} of memory, the limit is {format_bytes(limit)}. Use fewer "
            "pictures, a smaller --size, or raise --memory-limit."
        )
    parts = [first]
    for index, path in enumerate(paths[1:], 2):
        parts.append(extract(path).reshape(-1, D))
        progress("patches", index, len(paths))
    return np.concatenate(parts)
