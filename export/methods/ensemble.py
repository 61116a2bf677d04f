"""Ensembles: several memory banks in one engine, fused by the modified z-score.

Hyun et al. 2024 (ReConPatch), eq. 11: a member's score s becomes ``(s - median) / (beta * MAD)``
with beta = 1.4826, and the ensemble's score is the mean over members. The paper takes the
statistics over the training pictures. Here they are of normal pictures held out of the banks: those
in a bank lie near their own rows, so that their scores are too small, and differently so for each
member. It calls MAD the *mean* absolute deviation; 1.4826 is the factor that makes the *median*
absolute deviation of normally distributed scores their standard deviation, so that one is used.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyad_edge.engine_manifest import AnomalyMap, Fusion, Member, Network, member_tensor
from pyad_edge.engine_members import MAX_MEMBERS, MODIFIED_Z_BETA
from pyad_edge.ensemble_pipeline import EnsemblePipeline
from pyad_edge.errors import DataError, SettingError
from pyad_edge.export.engine_writer import write_engine
from pyad_edge.export.frame_settings import FrameSettings
from pyad_edge.export.methods.patchcore.engine import (
    backbone_record,
    engine_parts,
    golden_frames,
    settings_record,
)
from pyad_edge.export.methods.patchcore.fit import PatchCoreModel, calibrate
from pyad_edge.export.progress import ProgressCall, silent
from pyad_edge.frame_files import read_frame
from pyad_edge.pipeline import Pipeline
from pyad_edge.preprocessing import input_size

__all__ = ["MEANING", "check_members", "export_ensemble", "fusion_of", "modified_z", "spread"]

MEANING = (
    "Mean over {count} networks of the modified z-score (eq. 11 of Hyun et al. 2024) of {what}; "
    "ordinary normal pictures lie around 0"
)
_MAP_VALUES = 1 << 24  # of a member, that its map statistics rest on at most
_SAME = 1e-6  # a spread below this share of the median is rounding


def modified_z(scores: NDArray[Any], *, median: float, mad: float) -> NDArray[np.float64]:
    """Eq. 11, of any array of scores."""
    values = np.asarray(scores, np.float64)
    return np.asarray((values - median) / (MODIFIED_Z_BETA * mad), np.float64)


def spread(scores: NDArray[Any]) -> tuple[float, float]:
    """Median and median absolute deviation of an array."""
    values = np.asarray(scores, np.float64)
    median = float(np.median(values))
    return median, float(np.median(np.abs(values - median)))


def check_members(names: Sequence[str], *, index: str | None, frames: FrameSettings | None) -> None:
    """Refuse, before any work, what cannot be an ensemble.

    Raises:
        SettingError: names what it is.
    """
    if not 2 <= len(names) <= MAX_MEMBERS:
        raise SettingError(f"[ensemble] expected 1 to {MAX_MEMBERS} --backbone, got {len(names)}.")
    if len(set(names)) < len(names):
        raise SettingError(
            f"[ensemble] expected different backbones, got {', '.join(names)}. A network that is "
            "there twice adds time and no knowledge."
        )
    if index is not None:
        raise SettingError(
            f"[ensemble] an ensemble searches its banks exactly, got --index {index}. Leave it "
            "out, and use a --coreset below 1."
        )
    if frames is not None and (frames.size_policy == "tile" or frames.mask):
        what = "a --mask" if frames.mask else "--size-policy tile"
        raise SettingError(
            f"[ensemble] the networks of an ensemble see whole frames, got {what}. Use one "
            "--backbone, or --size-policy resize or letterbox without a mask."
        )


def fusion_of(
    members: Sequence[Pipeline], paths: Sequence[Path], *, progress: ProgressCall = silent
) -> Fusion:
    """Statistics of each member's scores and map values over normal pictures.

    Args:
        members: one pipeline each.
        paths: normal pictures that no bank holds.
        progress: told after each picture.

    Raises:
        DataError: if a picture cannot be read, or a member's scores have no spread.
    """
    found: dict[str, list[float]] = {"median": [], "mad": [], "map_median": [], "map_mad": []}
    for number, pipeline in enumerate(members, 1):
        scores: list[float] = []
        values: list[NDArray[np.float32]] = []
        pixel_format = pipeline.input_info["pixel_format"]
        for done, path in enumerate(paths, 1):
            result = pipeline.score([read_frame(path, pixel_format)])
            scores.append(float(result.image[0]))
            flat = result.maps[0].reshape(-1)
            step = -(-flat.size * len(paths) // _MAP_VALUES)
            # Made odd, so that it does not fall on the same columns of every row.
            values.append(flat[:: step | (step > 1)].copy())
            progress(f"spread {number}", done, len(paths))
        for start, (median, mad) in (
            ("", spread(np.array(scores))),
            ("map_", spread(np.concatenate(values))),
        ):
            if mad <= _SAME * abs(median) or mad < 1e-12:
                what = "scores" if not start else "maps"
                raise DataError(
                    f"[ensemble] network {number}'s {what} of {len(paths)} normal pictures have "
                    f"a median of {median:.6g} and a spread of {mad:.3g}, so nothing can be "
                    "measured by it. Calibrate on more, different pictures, or leave it out."
                )
            found[f"{start}median"].append(median)
            found[f"{start}mad"].append(mad)
    return Fusion(beta=MODIFIED_Z_BETA, **{name: tuple(own) for name, own in found.items()})


def export_ensemble(
    path: str | os.PathLike[str],
    models: Sequence[PatchCoreModel],
    held: Sequence[Path],
    fingerprint: str,
    *,
    threads: int | None = None,
    progress: ProgressCall = silent,
) -> NDArray[np.float32]:
    """Measure the members, fuse and calibrate them, and write one engine.

    Args:
        path: of the new file.
        models: fitted on the same pictures with the same settings of the input.
        held: normal pictures that no bank holds.
        fingerprint: SHA-256 of the training pictures.
        threads: of the networks.
        progress: told after each picture.

    Returns:
        (n,) float32, the calibration scores, ascending.

    Raises:
        DataError: see fusion_of and calibrate.
        ResourceError, SettingError: if the file cannot be written.
    """
    members = [model.pipeline(threads=threads) for model in models]
    fusion = fusion_of(members, held, progress=progress)
    pipeline = EnsemblePipeline(members, fusion)
    calibration = calibrate(pipeline, held, progress=progress)
    first = models[0]
    draft, tensors = engine_parts(
        first,
        pipeline,
        calibration,
        golden=golden_frames(held, declared=first.declared),
        fingerprint=fingerprint,
    )
    meaning = draft.score_meaning[0].lower() + draft.score_meaning[1:]
    draft = draft.model_copy(
        update={
            "members": tuple(_member(model) for model in models[1:]),
            "fusion": fusion,
            "score_meaning": MEANING.format(count=len(models), what=meaning),
        }
    )
    for number, model in enumerate(models[1:], 1):
        own: dict[str, NDArray[Any]] = {
            "network/onnx": np.frombuffer(model.backbone.model, np.uint8),
            "bank/features": model.bank,
            "bank/sources": model.sources,
        }
        tensors |= {member_tensor(number, name): tensor for name, tensor in own.items()}
    write_engine(path, manifest=draft, tensors=tensors)
    return calibration.scores


def _member(model: PatchCoreModel) -> Member:
    return Member(
        name=model.backbone.name,
        backbone=backbone_record(model.backbone),
        preprocessing=model.preprocessing,
        network=Network(input_size=input_size(model.preprocessing), grid=model.grid),
        head=model.head,
        anomaly_map=AnomalyMap(sigma=model.settings.sigma),
        training_settings=settings_record(model),
    )
