"""The advice's statistics, rules and refusals."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from command_line import call

from pyad_edge.bench.statistics import summarize
from pyad_edge.calibration import threshold_for
from pyad_edge.errors import ResourceError, SettingError
from pyad_edge.export.advise import AdviseSettings, make_settings
from pyad_edge.export.advise.candidates import Candidate
from pyad_edge.export.advise.judge import Judged, Scored, difference
from pyad_edge.export.advise.recommend import Advice, recommend
from pyad_edge.export.advise.settings import methods_of, seconds_of
from pyad_edge.export.advise.statistics import draws_of, interval, resampled, wins_of
from pyad_edge.export.advise.trained import plan_trained
from pyad_edge.export.demo import write_dataset
from pyad_edge.export.metrics import image_auroc

SETTINGS = make_settings(latency=0.02)


def judged(
    name: str,
    *,
    ms: float,
    lift: float,
    n: int = 60,
    rejects: int = 0,
    note: str = "",
    normal: int = 100,
) -> Judged:
    """A candidate whose defects score ``lift`` above its good pictures, on common noise."""
    rng = np.random.default_rng(5)
    good, defective = rng.normal(size=n), rng.normal(size=(n, 2)) + lift
    wins = wins_of(good, defective)
    runtime = SimpleNamespace(threshold=threshold_for(np.arange(float(normal)), 0.001))
    candidate = Candidate(name, ("patchcore", "--size", "64"), lambda *_: None, note)
    scored = Scored(candidate, runtime, 1.0, 4.0, wins, rejects, 0.9, 0.8)  # type: ignore[arg-type]
    values = resampled(wins, draws_of(n))
    times = np.full(200, ms)
    return Judged(scored, interval(float(wins.mean()), values), values, summarize(times))


def chosen(*candidates: Judged, n: int = 60) -> Advice:
    return recommend(candidates, SETTINGS, data=Path("my parts"), held=n)


@pytest.mark.parametrize("n", [2, 7, 31])
def test_resampled_auroc_is_the_auroc_of_resampled_pictures(n: int) -> None:
    rng = np.random.default_rng(n)
    good = np.round(rng.normal(size=n), 1)  # with ties
    defective = np.round(rng.normal(size=(n, 3)) + 0.5, 1)
    wins = wins_of(good, defective)
    labels = np.repeat([False, True], [n, 3 * n])
    assert wins.mean() == pytest.approx(image_auroc(labels, [*good, *defective.ravel()]))

    draws = draws_of(n, seed=3, draws=5)
    assert (draws.sum(axis=1) == n).all()
    for counts, value in zip(draws.astype(int), resampled(wins, draws), strict=True):
        picked = np.repeat(np.arange(n), counts)
        again = [*good[picked], *defective[picked].ravel()]
        assert value == pytest.approx(image_auroc(labels, again))


def test_interval_of_few_pictures_is_wider() -> None:
    few, many = judged("few", ms=1, lift=1.0, n=10), judged("many", ms=1, lift=1.0, n=300)
    assert many.auroc.low <= many.auroc.value <= many.auroc.high
    width = [one.auroc.high - one.auroc.low for one in (few, many)]
    assert width[0] > 2 * width[1] > 0


def test_what_cannot_be_told_apart_is_chosen_by_speed() -> None:
    slow, fast = judged("slow", ms=9, lift=1.5), judged("fast", ms=3, lift=1.46)
    assert slow.auroc.value > fast.auroc.value
    assert 0 < difference(slow, fast).low < 0.01  # beyond chance, on defects of no one
    advice = chosen(slow, fast)
    assert advice.candidate == "fast"
    assert "slow has the highest AUROC" in advice.reasons[1]
    assert "fast (" in advice.reasons[1]
    assert "cannot be told from it" in advice.reasons[1]
    assert advice.command == (
        "pyad-edge train patchcore --size 64 --data 'my parts' --out part.pyad --false-reject "
        "0.001 --seed 0"
    )


def test_a_speed_that_nobody_notices_decides_nothing() -> None:
    assert chosen(judged("a", ms=3.1, lift=1.5), judged("b", ms=3.0, lift=1.46)).candidate == "a"


def test_a_clear_difference_is_chosen_by_auroc() -> None:
    advice = chosen(judged("slow", ms=9, lift=3.0), judged("fast", ms=3, lift=0.5))
    assert advice.candidate == "slow"
    assert "ahead of each other one by more than chance explains" in advice.reasons[1]


def test_the_latency_excludes_and_what_it_costs_is_said() -> None:
    advice = chosen(judged("exact", ms=21, lift=3.0), judged("fast", ms=3, lift=0.5))
    assert advice.candidate == "fast"
    assert advice.reasons[0] == "1 of 2 candidates answer within 20 ms (p99)."
    assert any("exact would find more of them" in reason for reason in advice.reasons)


def test_nothing_is_recommended_that_is_too_slow() -> None:
    advice = chosen(judged("a", ms=40, lift=3.0), judged("b", ms=30, lift=0.5))
    assert (advice.candidate, advice.command) == (None, None)
    assert "the fastest, b, takes 30.0 ms (p99)" in advice.reasons[0]


def test_the_tail_counts_and_not_the_median() -> None:
    steady = judged("steady", ms=19, lift=1.0)
    times = np.full(200, 2.0)
    times[::20] = 50.0  # one frame in twenty
    uneven = Judged(steady.scored, steady.auroc, steady.draws, summarize(times))
    assert uneven.latency.p50 < steady.latency.p50
    assert "1 of 2 candidates" in chosen(steady, uneven).reasons[0]


def test_doubts_are_said() -> None:
    few = chosen(judged("a", ms=1, lift=1.0, n=12), judged("b", ms=1, lift=1.0, n=12), n=12)
    assert any("Only 12 good pictures were held out, with 24 defects" in r for r in few.reasons)
    easy = chosen(judged("a", ms=1, lift=50.0), judged("b", ms=1, lift=50.0))
    assert any("too easy to rank" in reason for reason in easy.reasons)
    brief = chosen(judged("a", ms=1, lift=1.0, note="100 of 2,000 iterations"))
    assert any("trained briefly (100 of 2,000 iterations)" in reason for reason in brief.reasons)
    for advice in (few, easy, brief):
        assert "Synthetic defects are not your defects" in advice.reasons[-1]


@pytest.mark.parametrize(("rejects", "said"), [(0, False), (2, False), (4, True)])
def test_false_rejects_beyond_the_promise_are_said(rejects: int, said: bool) -> None:
    """100 calibration pictures promise 1/101: of 60 pictures 3 or more happen with 2 %."""
    reasons = chosen(judged("a", ms=1, lift=1.0, rejects=rejects)).reasons
    assert any(f"rejects {rejects} of 60 held-out" in reason for reason in reasons) == said


@pytest.mark.parametrize(
    ("text", "seconds"), [("20ms", 0.02), ("0.5s", 0.5), ("10m", 600), ("1h", 3600), ("1.5m", 90)]
)
def test_durations(text: str, seconds: float) -> None:
    assert seconds_of(text, "--time") == pytest.approx(seconds)


@pytest.mark.parametrize(
    "text", ["20", "20 ms", "ms", "-5ms", "1e3ms", "20msec", "", "0x5s", "٣ms", "nanms", "20ms\n1s"]
)
def test_durations_without_a_unit_are_refused(text: str) -> None:
    with pytest.raises(SettingError, match=r"--latency as a number with its unit \(ms, s, m, h\)"):
        seconds_of(text, "--latency")


def test_methods_are_some_of_three() -> None:
    assert methods_of(None) == ()
    assert methods_of("grad, recontrast") == ("recontrast", "grad")
    with pytest.raises(SettingError, match="'patchcore' is none of them"):
        methods_of("fod,patchcore")


@pytest.fixture(scope="module")
def five(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("five") / "part"
    return write_dataset(folder, seed=1, train=5, good=0, per_defect=0, size=64)


@pytest.mark.parametrize(
    ("options", "code", "phrase"),
    [
        (("--latency", "20"), 2, "such as 20ms or 10m, got '20'"),
        (("--latency", "0ms"), 2, "--latency above 0, got '0ms'"),
        (("--latency", "2m"), 2, "--latency should be less than or equal to 60, got 120.0"),
        (("--latency", "20ms", "--time", "10"), 2, "--time as a number with its unit"),
        (("--latency", "20ms", "--size", 100), 2, "--size should be a multiple of 32, got 100"),
        (
            ("--latency", "20ms", "--size", 64, "--size", 64),
            2,
            "different values of --size, got 64, 64",
        ),
        (("--latency", "20ms", "--include", "svm"), 2, "'svm' is none of them"),
        (("--latency", "20ms", "--include", "fod"), 2, "--weights FILE.safetensors"),
        (("--latency", "20ms", "--weights", "w"), 2, "--weights is for --include recontrast"),
        (("--latency", "20ms", "--false-reject", 0), 2, "--false-reject should be greater"),
        (("--latency", "20ms", "--backend", "tvm"), 2, "unknown backend 'tvm'"),
        (("--latency", "20ms", "--backbone", "no.onnx"), 5, "no.onnx"),
        (("--latency", "20ms"), 3, "5 good pictures cannot be split, at least 8 are needed"),
    ],
)
def test_refusals(five: Path, options: tuple[object, ...], code: int, phrase: str) -> None:
    answer = call("advise", "--data", five, *options)
    assert answer.code == code, answer.err
    assert phrase in answer.sentence
    assert answer.out == ""


def test_three_pictures_are_refused(tmp_path: Path) -> None:
    data = write_dataset(tmp_path / "part", seed=1, train=3, good=0, per_defect=0, size=64)
    answer = call("advise", "--data", data / "train/good", "--latency", "20ms")
    assert answer.code == 3
    assert "holds 3 picture(s), at least 4 are needed" in answer.sentence


def test_missing_weights_are_refused_before_any_fit(five: Path, tmp_path: Path) -> None:
    pytest.importorskip("timm")
    given = ("--include", "recontrast", "--weights", tmp_path / "none.safetensors")
    answer = call("advise", "--data", five, "--latency", "20ms", *given)
    assert answer.code == 3
    assert "there is no file" in answer.sentence


@pytest.mark.parametrize("method", ["recontrast", "fod"])
def test_a_training_gets_the_steps_that_its_time_allows(
    method: str, part_data: Path, tmp_path: Path
) -> None:
    pytest.importorskip("timm")
    settings = AdviseSettings(latency=1.0, sizes=(64,), include=(method,), weights="random")  # type: ignore[arg-type]

    def plan(seconds: float) -> Candidate:
        return plan_trained(
            method,  # type: ignore[arg-type]
            settings,
            part_data,
            pictures=8,
            seconds=seconds,
            threads=1,
        )

    with pytest.raises(ResourceError, match=r"fewer than 20. Give more --time"):
        plan(0.001)
    ample = plan(1e7)
    given = dict(zip(ample.arguments[1::2], ample.arguments[2::2], strict=True))
    assert given["--size"] == "64"
    assert given["--weights"] == "random"
    most = {"recontrast": ("--iterations", "2000"), "fod": ("--epochs", "100")}
    assert (most[method][0], given[most[method][0]]) == most[method]


def test_grad_needs_five_minutes() -> None:
    settings = make_settings(latency=1.0, include=("grad",))

    def plan(seconds: float) -> Candidate:
        return plan_trained("grad", settings, Path(), pictures=8, seconds=seconds, threads=None)

    with pytest.raises(ResourceError, match="needs 5 minutes, 299 s are left"):
        plan(299)
    assert plan(1799).arguments[:3] == ("grad", "--budget", "5m")
    assert plan(1800).arguments[:3] == ("grad", "--budget", "30m")
