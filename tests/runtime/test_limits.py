"""The band for review: where it lies, what it refuses, and that it never hides an NG part."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tiny_engine import TinyEngine

from pyad_edge import Decision, Result, Runtime, SettingError, Verdict, read_image
from pyad_edge.limits import choose_limits

SCORES = np.arange(1.0, 100.0)  # 99 pictures: a rate of 1 % is the largest score
MAXIMA = SCORES * 2


def choose(**settings: Any) -> Any:
    return choose_limits(SCORES, MAXIMA, **({"false_reject": None, "value": None} | settings))


def test_rates_give_two_conformal_thresholds() -> None:
    limits = choose(false_reject=0.01, review=0.05)
    assert (limits.score.value, limits.review_value, limits.map_value) == (99.0, 95.0, 198.0)
    assert limits.review.guaranteed_false_reject == 0.05
    assert "Scores above 99 are anomalous" in limits.statement()
    assert "From 95 up to there they are for review: at most about 5 % of" in limits.statement()
    assert choose(false_reject=0.01).review is None
    assert choose(false_reject=0.01).statement() == choose(false_reject=0.01).score.statement()


def test_scores_give_two_fixed_thresholds() -> None:
    limits = choose(value=120.0, review=90.5)
    assert (limits.score.value, limits.review_value) == (120.0, 90.5)
    assert "9 of the same pictures score above that" in limits.statement()


def test_an_empty_band_is_said() -> None:
    limits = choose_limits(SCORES[:3], MAXIMA[:3], false_reject=0.4, value=None, review=0.45)
    assert limits.score.value == limits.review_value
    assert "The band for review is empty" in limits.statement()


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"false_reject": 0.05, "review": 0.05}, "a rate above false_reject=0.05, got 0.05"),
        ({"false_reject": 0.05, "review": 0.01}, "a rate above false_reject=0.05, got 0.01"),
        ({"false_reject": 0.05, "review": 0.6}, "at most 0.5, got 0.6"),
        ({"false_reject": 0.05, "review": float("nan")}, "got nan"),
        ({"false_reject": 0.05, "review": "x"}, "got 'x'"),
        ({"value": 5.0, "review": 5.0}, "a score below the threshold 5.0, got 5.0"),
        ({"value": 5.0, "review": 7}, "a score below the threshold 5.0, got 7.0"),
        ({"value": 5.0, "review": float("inf")}, "finite threshold, got inf"),
        ({"review": 0.1}, "either false_reject or a fixed value"),
        ({"false_reject": 0.1, "value": 1.0, "review": 0.2}, "either false_reject or a fixed"),
    ],
)
def test_bands_that_cannot_be_are_refused(settings: dict[str, Any], sentence: str) -> None:
    with pytest.raises(SettingError, match=sentence):
        choose(**settings)


@pytest.mark.parametrize(
    ("score", "review", "verdict"),
    [
        (5.0, None, "OK"),
        (5.0, 3.0, "REVIEW"),
        (3.0, 3.0, "OK"),
        (np.nextafter(3.0, 4.0), 3.0, "REVIEW"),
        (np.nextafter(5.0, 6.0), 3.0, "NG"),
        (np.nextafter(5.0, 6.0), None, "NG"),
        (float("inf"), 3.0, "NG"),
        (float("-inf"), 3.0, "OK"),
        (float("nan"), 3.0, "FAULT"),
        (float("nan"), None, "FAULT"),
    ],
)
def test_verdicts_lie_between_the_thresholds(
    score: float, review: float | None, verdict: str
) -> None:
    found = Verdict.of(float(score), 5.0, review)
    assert (found, str(found), f"{found}") == (verdict, verdict, verdict)


def test_a_runtime_reviews(tiny: TinyEngine) -> None:
    frames = [read_image(path) for path in tiny.scores]
    scores = sorted(tiny.scores.values())
    low, high = scores[2], scores[-3]
    runtime = Runtime(tiny.path, threshold=high, review=low)
    assert runtime.review_threshold is not None
    assert runtime.review_threshold.value == low
    results = [runtime.infer(frame) for frame in frames]
    for result in results:
        wanted = "NG" if result.score > high else "REVIEW" if result.score > low else "OK"
        assert (result.verdict, result.review_threshold) == (wanted, low)
        assert result.is_anomalous == (wanted == "NG")
        plain = result.to_dict()
        assert (plain["verdict"], plain["review_threshold"]) == (wanted, low)
    assert [sum(r.verdict == v for r in results) for v in ("NG", "REVIEW")] == [2, len(scores) - 5]
    assert runtime.info["thresholds"]["review"] == low

    runtime.set_threshold(value=high)
    assert runtime.review_threshold is None
    assert {runtime.infer(frame).verdict for frame in frames} == {Verdict.OK, Verdict.NG}
    with pytest.raises(SettingError):
        runtime.set_threshold(value=high, review=high)
    assert runtime.review_threshold is None, "a refused change changes nothing"


def test_a_decision_is_plain_data() -> None:
    decision = Decision(
        verdict=Verdict.REVIEW,
        settled="search",
        patches_searched=3,
        patches=16,
        score=1.5,
        threshold=2.0,
        review_threshold=1.0,
        anomaly_map=None,
        timings={"total": 1.23456},
    )
    assert decision.to_dict() == {
        "verdict": "REVIEW",
        "settled": "search",
        "patches_searched": 3,
        "patches": 16,
        "score": 1.5,
        "threshold": 2.0,
        "review_threshold": 1.0,
        "is_anomalous": False,
        "timings_ms": {"total": 1.235},
    }
    assert dataclasses.replace(decision, verdict=Verdict.NG).is_anomalous


def test_results_stay_what_they_were(tiny: TinyEngine) -> None:
    """Arrays of a result that is kept never change, however many frames follow."""
    runtime = Runtime(tiny.path)
    frames: list[NDArray[np.uint8]] = [read_image(path) for path in tiny.scores]
    kept: list[tuple[Result, bytes, bytes]] = []
    for turn in range(30):
        result = runtime.infer(frames[turn % len(frames)])
        if turn % 3 == 0:
            kept.append((result, result.anomaly_map.tobytes(), result.mask.tobytes()))
    # Only a view of the map is held here, not its result.
    window = runtime.infer(frames[1]).anomaly_map[2:5, 7:11]
    before = window.tobytes()
    for frame in frames * 3:
        runtime.infer(frame)
    assert window.tobytes() == before
    for result, anomaly_map, mask in kept:
        assert (result.anomaly_map.tobytes(), result.mask.tobytes()) == (anomaly_map, mask)
