"""What a golden score's drift is measured against, for scores that lie around zero."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from engine_factory import Tensors, ensemble_engine, refined, small_engine

from pyad_edge.engine import Engine, read_engine
from pyad_edge.engine_manifest import ManifestDraft
from pyad_edge.errors import EngineError
from pyad_edge.export.engine_writer import write_engine
from pyad_edge.golden import check_golden


def written(made: tuple[ManifestDraft, Tensors], golden: list[float], folder: Path) -> Engine:
    tensors = made[1] | {"golden/scores": np.array(golden, np.float32)}
    return read_engine(write_engine(folder / "e.pyad", manifest=made[0], tensors=tensors))


def scoring(*scores: float) -> Any:
    """A pipeline that gives these scores, one a call."""
    left = iter(scores)

    def score(frames: list[Any]) -> Any:
        return SimpleNamespace(image=np.array([next(left)] * len(frames)))

    backend = SimpleNamespace(info={"name": "none"})
    return SimpleNamespace(own=SimpleNamespace(score=score), backend=backend)


def test_an_ensemble_drifts_relative_to_its_raw_scores(tmp_path: Path) -> None:
    # Raw scores of 0 would be z-scores of -4 / 1.4826 and -5 / (2 * 1.4826), on average -2.192.
    made = ensemble_engine()
    engine = written(made, [0.0, -1e-3], tmp_path)
    unit = (4 / 1.4826 + 5 / (2 * 1.4826)) / 2
    drift = check_golden(scoring(1e-3, -1e-3), engine, tolerance=1e-3)
    assert drift == pytest.approx(1e-3 / unit, rel=1e-6)
    with pytest.raises(EngineError, match=r"golden picture 0 scores 0\.01 here"):
        check_golden(scoring(1e-2, -1e-3), engine, tolerance=1e-3)
    far = written(made, [-1e-3, -10.0], tmp_path)  # a score far from 0 is its own measure
    assert check_golden(scoring(-1e-3, -10.005), far, tolerance=1e-3) == pytest.approx(5e-4)
    with pytest.raises(EngineError, match="golden picture 1"):
        check_golden(scoring(-1e-3, np.nan), far, tolerance=0.5)


@pytest.mark.parametrize(
    "made",
    [small_engine(), refined(*ensemble_engine(), score="maximum")],
    ids=["one network", "refined ensemble"],
)
def test_other_scores_keep_a_tenth_of_the_largest(
    made: tuple[ManifestDraft, Tensors], tmp_path: Path
) -> None:
    engine = written(made, [0.0, 0.5], tmp_path)
    drift = check_golden(scoring(4e-5, 0.5), engine, tolerance=1e-3)
    assert drift == pytest.approx(8e-4, rel=1e-6)
    with pytest.raises(EngineError, match="golden picture 0"):
        check_golden(scoring(6e-5, 0.5), engine, tolerance=1e-3)
