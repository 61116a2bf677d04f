"""From an engine to the same engine with a refinement: maps, training, export, calibration."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pyad_edge.calibration import Threshold, threshold_for
from pyad_edge.engine import Engine, read_engine
from pyad_edge.engine_manifest import CreatedWith, Manifest, ManifestDraft, Refinement
from pyad_edge.errors import DataError, SettingError
from pyad_edge.export.engine_writer import write_engine
from pyad_edge.export.methods.patchcore.fit import Calibration, calibrate
from pyad_edge.export.methods.refinement.pictures import check_input, collect_maps
from pyad_edge.export.methods.refinement.settings import RefinementSettings
from pyad_edge.export.progress import ProgressCall, silent
from pyad_edge.export.synthetic_textures import Textures
from pyad_edge.export.training.stages import check_spread, check_target, open_data
from pyad_edge.export.validation import split_validation
from pyad_edge.images import list_images
from pyad_edge.opening import build_pipeline
from pyad_edge.refined_pipeline import RefinedPipeline

if TYPE_CHECKING:
    import torch

__all__ = ["RefineReport", "outside_the_fit", "refine_engine"]

MEANING = "Largest probability of a defect in the refined anomaly map, learned on synthetic defects"


@dataclass(frozen=True)
class RefineReport:
    """What a training did.

    Attributes:
        path: the new engine.
        pictures: good ones that the network learned from; calibration_pictures: others.
        multiply_adds: of the network, for one map.
        first_loss, last_loss: means over the first and the last tenth of the steps.
        difference: of a probability between torch and the ONNX file, the largest.
        threshold: in the engine, with what backs it.
        seconds: in all.
    """

    path: Path
    pictures: int
    calibration_pictures: int
    multiply_adds: int
    first_loss: float
    last_loss: float
    difference: float
    threshold: Threshold
    seconds: float


def refine_engine(
    source: str | os.PathLike[str],
    data: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    out: str | os.PathLike[str],
    *,
    settings: RefinementSettings,
    textures: str | os.PathLike[str] | None = None,
    calibration_data: str | os.PathLike[str] | None = None,
    device: str = "cpu",
    threads: int | None = None,
    checkpoint: Path | None = None,
    resume: bool = False,
    csv: Path | None = None,
    progress: ProgressCall = silent,
) -> RefineReport:
    """Train a refinement for an engine and write a copy of it that has one.

    Good pictures that the engine was not fitted on (its calibration pictures) are divided once
    more, near-duplicates on one side: the network learns on one part, the thresholds are
    calibrated on the other.

    Args:
        source: any engine without a refinement.
        data: what it was fitted on, in the same order where there are several.
        out: the engine file to write; may be ``source``.
        settings: see there.
        textures: folder of pictures, for synthetic defects of the kind "texture".
        calibration_data: folder of good pictures outside the fit, instead of ``data``'s own.
        device: that torch trains on.
        threads: of the engine's network.
        checkpoint, resume, csv, progress: see ``run_loop``.

    Raises:
        DataError: if ``data`` is not what the engine was fitted on, holds too few pictures, or
            scores have no spread.
        SettingError: if the engine has a refinement already or cannot be refined.
        BackendError, EngineError, ResourceError: see read_engine, train_network, write_engine.
    """
    from pyad_edge.export.methods.refinement.export_onnx import export_network
    from pyad_edge.export.methods.refinement.network import multiply_adds
    from pyad_edge.export.methods.refinement.train import train_network
    from pyad_edge.export.training.device import choose_device

    start = time.perf_counter()
    check_target(Path(out))
    where: torch.device = choose_device(device)
    engine = read_engine(source)
    if engine.manifest.refinement is not None:
        raise SettingError(
            f"[refinement] {source} has a refinement already. Refine the engine that it was made "
            "from."
        )
    pipeline = build_pipeline(engine, threads=threads)
    check_input(pipeline)
    good = outside_the_fit(engine, data, calibration_data)
    learned, kept = split_validation(good, fraction=settings.calibration, seed=settings.seed)
    maps = collect_maps(
        pipeline,
        learned,
        settings,
        textures=Textures(textures) if textures is not None else None,
        progress=progress,
    )
    trained = train_network(
        maps,
        settings,
        device=where,
        identity={"engine": engine.file_sha256},
        checkpoint=checkpoint,
        resume=resume,
        csv=csv,
        progress=progress,
    )
    del maps
    model, difference = export_network(
        trained.network, size=pipeline.input_size, picture=settings.picture
    )
    refinement = Refinement(
        onnx_sha256=hashlib.sha256(model).hexdigest(),
        scale=trained.scale,
        offset=trained.offset,
        picture=settings.picture,
        score=settings.score,
        sigma=settings.sigma,
    )
    refined = RefinedPipeline(pipeline, model, refinement, threads=threads)
    calibration = calibrate(refined, kept, progress=progress)
    check_spread(calibration.scores, scale=0.0 if settings.score == "keep" else 1.0)
    path = _write(Path(out), engine, refined, model, calibration, settings)
    tenth = max(1, len(trained.losses) // 10)
    return RefineReport(
        path=path,
        pictures=len(learned),
        calibration_pictures=len(kept),
        multiply_adds=multiply_adds(trained.network, pipeline.input_size),
        first_loss=float(np.mean(trained.losses[:tenth])),
        last_loss=float(np.mean(trained.losses[-tenth:])),
        difference=difference,
        threshold=threshold_for(calibration.scores, engine.manifest.threshold.false_reject),
        seconds=time.perf_counter() - start,
    )


def outside_the_fit(
    engine: Engine,
    data: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    calibration_data: str | os.PathLike[str] | None,
) -> tuple[Path, ...]:
    """Good pictures that the engine has not seen: its own hold-out, or a folder of others."""
    if calibration_data is not None:
        return tuple(list_images(Path(calibration_data)))
    training = engine.manifest.training
    holdout = training.settings.get("holdout")
    if not isinstance(holdout, float) or holdout <= 0:
        raise SettingError(
            f"[refinement] {engine.path} was fitted on all of its pictures, so none of --data is "
            "new to it. Name other good pictures with --calibration-data DIR."
        )
    preprocessing = engine.manifest.preprocessing
    pictures = open_data(
        data,
        holdout=holdout,
        seed=training.seed,
        resize=preprocessing.resize,
        crop=preprocessing.crop,
    )
    if pictures.fingerprint != training.fingerprint:
        raise DataError(
            f"[refinement] --data is not what {engine.path} was fitted on, so which of its "
            "pictures are new to it is unknown. Name the same --data, or other good pictures with "
            "--calibration-data DIR."
        )
    return pictures.held


def _write(
    out: Path,
    engine: Engine,
    refined: RefinedPipeline,
    model: bytes,
    calibration: Calibration,
    settings: RefinementSettings,
) -> Path:
    manifest = engine.manifest
    golden = [float(refined.own.score([f]).image[0]) for f in engine.tensors["golden/frames"]]
    tensors: dict[str, NDArray[Any]] = dict(engine.tensors) | {
        "refinement/onnx": np.frombuffer(model, np.uint8),
        "calibration/scores": calibration.scores,
        "calibration/map_maxima": calibration.map_maxima,
        "golden/scores": np.array(golden, np.float32),
    }
    draft = _draft(manifest, refined.settings, len(calibration.scores), settings)
    return write_engine(out, manifest=draft, tensors=tensors)


def _draft(
    manifest: Manifest, refinement: Refinement, pictures: int, settings: RefinementSettings
) -> ManifestDraft:
    said = {
        f"refinement_{name}": getattr(settings, name)
        for name in ("width", "stride", "defects", "epochs", "batch", "learning_rate", "schedule")
    } | {"refinement_kinds": ", ".join(settings.kinds), "refinement_seed": settings.seed}
    training = manifest.training.model_copy(
        update={
            "calibration_pictures": pictures,
            "settings": dict(manifest.training.settings) | said,
        }
    )
    fields = {name: getattr(manifest, name) for name in ManifestDraft.model_fields} | {
        "refinement": refinement,
        "training": training,
        "created_with": CreatedWith(
            pyad_edge=version("pyad_edge"),
            numpy=version("numpy"),
            onnxruntime=version("onnxruntime"),
        ),
    }
    if refinement.score == "maximum":
        fields["score_meaning"] = MEANING
    return ManifestDraft(**fields)
