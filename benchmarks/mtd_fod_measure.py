"""Scores of a trained FOD model on all of MTD's test pictures, in every way of Table 4."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from report import commit, load, machine, shared

from pyad_edge.engine_manifest import CorrelationHead as HeadSettings
from pyad_edge.export.data import load_dataset, read_mask
from pyad_edge.export.methods.fod.engine import FodModel, check_agreement, export_model
from pyad_edge.export.methods.fod.settings import FodSettings
from pyad_edge.export.methods.fod.train import TrainedFod
from pyad_edge.export.metrics import aupro, image_auroc, pixel_auroc
from pyad_edge.heads.correlation import CorrelationHead
from pyad_edge.images import read_image

COMPARED = 4
Array = NDArray[np.float32]
Scorer = Callable[[Array], dict[str, Array]]


def measure(
    row: str, seed: int, done: TrainedFod, settings: FodSettings, threads: int
) -> dict[str, Any]:
    """Figures of every score, and how the training went."""
    made = export_model(done.model, settings, preprocessing=done.preprocessing)
    pipeline = made.pipeline(threads=threads)
    frames = [read_image(path) for path in done.pictures.held[:COMPARED]]
    difference = check_agreement(done.model, settings, pipeline, frames)
    score = by_engine(made, threads)
    samples = load_dataset(shared("data", "mtd"), require_train=False, require_test=True).test
    maps: dict[str, list[Array]] = {}
    masks: list[NDArray[np.bool_]] = []
    known = []
    x = np.empty((1, 3, *settings.input_size), np.float32)
    for sample in samples:
        frame = read_image(sample.path)
        pipeline.write_input(frame, out=x)
        for name, found in score(x).items():
            maps.setdefault(name, []).append(found)
        size = (frame.shape[0], frame.shape[1])
        known.append(not sample.is_anomalous or sample.mask is not None)
        masks.append(
            read_mask(sample.mask, resize=settings.resize, crop=None, picture_size=size)
            if sample.is_anomalous and sample.mask is not None
            else np.zeros(settings.input_size, bool)
        )
    defects = [sample.defect for sample in samples]
    losses = done.loop.losses
    return {
        "row": row,
        "seed": seed,
        "backbone": made.backbone,
        "scores": {name: figures(found, masks, known, defects) for name, found in maps.items()},
        "export_difference": difference,
        "steps": done.loop.steps,
        "train_seconds": done.loop.seconds,
        "losses": [float(np.mean(losses[i : i + 25])) for i in range(0, len(losses), 25)],
        "settings": settings.model_dump(mode="json"),
        "pictures": len(done.pictures.fit),
        "command": f"python benchmarks/mtd_fod.py --rows '{row}' --seeds {seed}",
        "commit": commit(),
        "load": load(),
        "machine": machine(threads),
    }


def figures(
    maps: Sequence[Array],
    masks: Sequence[NDArray[np.bool_]],
    known: Sequence[bool],
    defects: Sequence[str],
) -> dict[str, Any]:
    """AUROCs and AUPRO as ``pyad-edge eval`` takes them, and the image AUROC of every defect."""
    labels = np.array([name != "good" for name in defects])
    values = np.array([float(m.max()) for m in maps])
    own = [i for i, there in enumerate(known) if there]
    truth, shown = [masks[i] for i in own], [maps[i] for i in own]
    kinds = {}
    for name in sorted(set(defects) - {"good"}):
        part = np.array([d in ("good", name) for d in defects])
        kinds[name] = image_auroc(labels[part], values[part])
    return {
        "image_auroc": image_auroc(labels, values),
        "pixel_auroc": pixel_auroc(truth, shown),
        "aupro": aupro(truth, shown),
        "by_defect": kinds,
    }


class SharedHead(CorrelationHead):
    """A head that finds the divergences of a run in ``kept``, or leaves them there."""

    kept: dict[int, Array]

    def _divergence(self, outputs: Any, k: int, level: Any, N: int) -> Array:
        if k not in self.kept:
            self.kept[k] = super()._divergence(outputs, k, level, N).copy()
        return self.kept[k]


def by_engine(made: FodModel, threads: int) -> Scorer:
    """All scores from one run of the exported network, by the head that engines have."""
    session = made.pipeline(threads=threads).backend.session(1)
    kept: dict[int, Array] = {}
    heads = {
        name: SharedHead(head, made.keys, size=made.settings.input_size, sigma=made.settings.sigma)
        for name, head in variants(made.head).items()
    }

    for own in heads.values():
        own.kept = kept

    def score(x: Array) -> dict[str, Array]:
        session.input[:] = x
        session.run()
        kept.clear()
        found = {}
        for name, head in heads.items():
            maps = np.empty((1, *made.settings.input_size), np.float32)
            maxima, means = np.empty(1, np.float32), np.empty(1, np.float32)
            head.write(session.outputs, maps=maps, maxima=maxima, means=means)
            found[name] = maps[0]
        return found

    return score


def variants(head: HeadSettings) -> dict[str, HeadSettings]:
    """Heads of every score that the outputs of one allow."""
    if head.score == "rec":
        return {"rec": head}
    without = {"queries": None, "sigmas": None, "keys": None}
    changes: dict[str, dict[str, Any]] = {"rec": without, "div": {"errors": None}, "rec*div": {}}
    return {
        name: head.model_copy(
            update={"levels": tuple(level.model_copy(update=change) for level in head.levels)}
        )
        for name, change in changes.items()
    }
