"""An engine's golden pictures: what it scored where it was made, it must score here."""

from __future__ import annotations

import numpy as np

from pyad_edge.engine import Engine
from pyad_edge.engine_manifest import Manifest
from pyad_edge.errors import EngineError
from pyad_edge.pipeline import Pipeline

__all__ = ["check_golden", "least_scale"]


_TINY = float(np.finfo(np.float32).tiny)


def check_golden(pipeline: Pipeline, engine: Engine, *, tolerance: float) -> float:
    """Run the golden pictures; return the largest relative drift.

    A score near zero (a picture that lies in the bank) is measured against a tenth of the largest
    golden score: relative to itself it would drift by any rounding. The scores of an ensemble lie
    around zero by design; they are measured against the distance, in the same units, from a raw
    score of zero to the normal pictures' median: relative to the raw scores, as all others are.

    Args:
        pipeline: of that engine, on the backend that is to be trusted.
        engine: holds the pictures and what they must score.
        tolerance: largest relative drift allowed.

    Raises:
        EngineError: if a score drifted further, or is not a number.
    """
    expected = engine.tensors["golden/scores"]
    floor = least_scale(engine)
    largest = 0.0
    for n, frame in enumerate(engine.tensors["golden/frames"]):
        score = float(pipeline.own.score([frame]).image[0])
        wanted = float(expected[n])
        drift = abs(score - wanted) / max(abs(wanted), floor)
        if not drift <= tolerance:
            info = pipeline.backend.info
            name, precision = info["name"], info.get("precision", "fp32")
            advice = (
                f"Update {name}, choose another --backend, or export the engine again."
                if precision == "fp32"
                else f"Choose another --precision or --backend: this network does not bear "
                f"{precision} here."
            )
            raise EngineError(
                f"[Runtime] {engine.path}: golden picture {n} scores {score:.6g} here on {name} in "
                f"{precision}, but {wanted:.6g} where the engine was made (drift {drift:.2e}, "
                f"tolerance {tolerance:.0e}). This machine or its inference backend computes "
                f"differently. {advice}"
            )
        largest = max(largest, drift)
    return largest


def least_scale(engine: Engine) -> float:
    """What the smallest scores are measured against, see :func:`check_golden`."""
    largest = float(np.abs(engine.tensors["golden/scores"]).max())
    return max(0.1 * largest, _raw_zero(engine.manifest), _TINY)


def _raw_zero(manifest: Manifest) -> float:
    """Modified z-score, without its sign, of members whose raw scores are all zero; eq. 11.

    0 where scores are no z-scores: of one network, or taken from a refined map.
    """
    fusion, refinement = manifest.fusion, manifest.refinement
    if fusion is None or (refinement is not None and refinement.score == "maximum"):
        return 0.0
    medians, mads = np.abs(fusion.median), np.asarray(fusion.mad)
    return float(np.mean(medians / (fusion.beta * mads)))
