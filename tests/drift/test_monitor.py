"""The monitor on a stream: it learns, alarms, remembers, and leaves verdicts alone."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from command_line import call
from tiny_engine import TinyEngine

from pyad_edge import Runtime, SettingError
from pyad_edge.drift import DriftMonitor
from pyad_edge.drift.state import acknowledge, read_state
from pyad_edge.drift.statistics import displacement, measure_frame
from pyad_edge.images import read_image
from pyad_edge.result import Result, Verdict
from pyad_edge.streaming import Fault, FaultCode, Inspection


@pytest.fixture(scope="module")
def runtime(tiny: TinyEngine) -> Runtime:
    return Runtime(tiny.path, false_reject=0.2)


@pytest.fixture(scope="module")
def pictures(tiny: TinyEngine) -> list[np.ndarray]:
    return [read_image(path) for path in sorted((tiny.data / "train/good").iterdir())]


class Line:
    """Frames as a stream would judge them, without running the network."""

    def __init__(self, monitor: DriftMonitor, runtime: Runtime, pictures: list[np.ndarray]) -> None:
        self.monitor, self.pictures = monitor, pictures
        self.rng, self.index = np.random.default_rng(5), 0
        self.scores = runtime.engine.tensors["calibration/scores"].astype(float)
        self.threshold: float = runtime.threshold.value
        self.example = runtime.infer(pictures[0])

    def frame(self, *, gain: float = 1.0, verdict: Verdict = Verdict.OK) -> Inspection:
        picture = self.pictures[self.rng.integers(len(self.pictures))].astype(float)
        noisy = picture * gain * self.rng.normal(1, 0.02) + self.rng.normal(0, 2, picture.shape)
        image = np.clip(noisy, 0, 255).astype(np.uint8)
        threshold = self.threshold
        score = (
            threshold + 1.0
            if verdict is Verdict.NG
            else min(self.rng.choice(self.scores), threshold)
        )
        result = Result(**{**vars(self.example), "score": score, "threshold": threshold})
        fault = Fault(FaultCode.BLACK, "dark.") if verdict is Verdict.FAULT else None
        self.index += 1
        return Inspection(
            "camera", self.index - 1, 0, "f", 0.0, verdict,
            result=None if fault else result, fault=fault, image=image,
        )  # fmt: skip

    def run(self, frames: int, **settings: object) -> tuple[object, ...]:
        alarms: tuple[object, ...] = ()
        for _ in range(frames):
            alarms = self.monitor.observe(self.frame(**settings))  # type: ignore[arg-type]
        return alarms


def test_gain_alarms_stays_and_is_acknowledged(
    runtime: Runtime, pictures: list[np.ndarray], tmp_path: Path
) -> None:
    path, threshold = tmp_path / "s.json", runtime.threshold
    monitor = DriftMonitor(runtime, state=path, learn=300, shape=20)
    line = Line(monitor, runtime, pictures)
    line.run(10, verdict=Verdict.FAULT)
    assert line.run(319) == ()
    assert not monitor.armed
    line.run(1)
    assert monitor.armed
    frozen = read_state(path)
    assert line.run(300) == ()
    alarms = line.run(60, gain=1.25)
    names = {alarm.chart: alarm for alarm in alarms}
    assert names["light_up"].direction == names["brightness"].direction == "up"
    assert "light_down" not in names
    assert 610 <= names["light_up"].since <= 640
    assert names["light_up"].at < 680
    assert line.run(50) == monitor.alarms  # stands though the gain is back
    assert {a.chart for a in monitor.alarms} >= set(names)
    assert runtime.threshold is threshold
    # The reference did not move, and the alarms outlive the process.
    again = DriftMonitor(runtime, state=path)
    assert again.alarms == monitor.alarms
    kept = read_state(path)
    assert frozen is not None
    assert kept is not None
    assert kept.values == frozen.values
    # Acknowledged in the running process, without a restart.
    assert {one.chart for one in acknowledge(path)} == {a.chart for a in monitor.alarms}
    assert line.run(1) == ()
    assert read_state(path).alarms == []  # type: ignore[union-attr]


def test_a_run_of_defects_is_an_alarm_of_rejects(
    runtime: Runtime, pictures: list[np.ndarray]
) -> None:
    monitor = DriftMonitor(runtime, learn=300, shape=20)
    line = Line(monitor, runtime, pictures)
    line.run(320)
    alarms = line.run(60, verdict=Verdict.NG)
    assert [alarm.chart for alarm in alarms] == ["rejects"]


def test_scores_that_grow_below_the_threshold_alarm(
    runtime: Runtime, pictures: list[np.ndarray]
) -> None:
    # Three calibration scores cannot carry an alarm; a hundred can.
    scores = np.random.default_rng(6).normal(1.0, 0.1, 100)
    watched = Stand(runtime, scores.astype(np.float32))
    line = Line(DriftMonitor(watched, learn=300, shape=20), runtime, pictures)
    line.scores, line.threshold = scores, 5.0
    assert line.run(720) == ()
    line.scores = scores + 0.2
    assert {alarm.chart for alarm in line.run(250)} == {"score", "score_ks"}


class Stand:
    """Stands for a runtime whose engine has other calibration scores."""

    def __init__(self, runtime: Runtime, scores: np.ndarray) -> None:
        tensors = dict(runtime.engine.tensors) | {"calibration/scores": scores}
        self.engine = replace(runtime.engine, tensors=tensors)
        self.threshold, self.info = runtime.threshold, runtime.info


def test_positions_are_those_of_a_moved_picture(pictures: list[np.ndarray]) -> None:
    first = measure_frame(pictures[0], full_scale=255.0)
    moved = measure_frame(np.roll(pictures[0], (0, 2), (0, 1)), full_scale=255.0)
    x, y = displacement(moved.thumbnail, first.thumbnail)
    assert x == pytest.approx(2 / 96, rel=0.35)
    assert abs(y) < 0.2 * x
    assert displacement(first.thumbnail, first.thumbnail) == pytest.approx([0.0, 0.0])


def test_measures_of_a_plain_picture() -> None:
    image = np.zeros((40, 50, 3), np.uint8)
    image[...] = (51, 102, 255)
    image[:20, :, 1] = 0
    found = measure_frame(image, full_scale=255.0).values
    assert found["brightness"] == pytest.approx(np.log(0.2 + 1 / 255))
    assert found["dark"] == 0.5
    assert found["balance_0"] == pytest.approx(0.0)
    assert found["balance_2"] == pytest.approx(np.log((1 + 1 / 255) / (0.2 + 1 / 255)))
    mono = measure_frame(np.full((9, 11), 65535, np.uint16), full_scale=65535.0).values
    assert (mono["saturated"], "balance_0" in mono) == (1.0, False)


def test_states_that_cannot_be_used(runtime: Runtime, tmp_path: Path, tiny: TinyEngine) -> None:
    path = tmp_path / "s.json"
    for content in (b"{}", b"\xff", b'{"format": NaN}'):
        path.write_bytes(content)
        path.chmod(0o600)
        with pytest.raises(SettingError, match="damaged"):
            DriftMonitor(runtime, state=path)
    DriftMonitor(runtime, state=path, reset=True)
    state = json.loads(path.read_text())
    path.write_text(json.dumps(state | {"engine_sha256": "0" * 64}))
    with pytest.raises(SettingError, match="another engine"):
        DriftMonitor(runtime, state=path)
    for version, way in ((1, "Learn again with --drift-reset"), (3, "Update pyad_edge")):
        path.write_text(json.dumps(state | {"format_version": version}))
        with pytest.raises(SettingError, match=way):
            DriftMonitor(runtime, state=path)
    path.chmod(0o666)
    with pytest.raises(SettingError, match="written by others"):
        DriftMonitor(runtime, state=path)
    with pytest.raises(SettingError, match="folder that exists"):
        DriftMonitor(runtime, state=tmp_path / "no" / "s.json")
    with pytest.raises(SettingError, match="expected learn from 100"):
        DriftMonitor(runtime, learn=5)
    with pytest.raises(SettingError, match="no source 'up'"):
        runtime.stream(str(tiny.data / "test/good"), drift={"up": DriftMonitor(runtime)})


def test_run_learns_tells_and_keeps_its_exit_code(tiny: TinyEngine, tmp_path: Path) -> None:
    path, source = tmp_path / "s.json", tiny.data / "test/good"
    plain = call("run", tiny.path, "--source", source)
    answer = call("run", tiny.path, "--source", source, "--drift", path, "--drift-learn", 100)
    assert (answer.code, plain.code) == (0, 0)
    verdicts = [[json.loads(r)["verdict"] for r in a.out.splitlines()] for a in (plain, answer)]
    assert verdicts[0] == verdicts[1]
    assert (
        "3 of 300" in call("drift", "show", path).out
        or "learned" in call("drift", "show", path).out
    )
    assert "No alarm stands" in call("drift", "ack", path).err
    # A standing alarm is in every line; the exit code speaks of verdicts.
    state = json.loads(path.read_text())
    alarm = {"chart": "brightness", "direction": "up", "statistic": 9.0, "limit": 8.0}
    state["alarms"] = [alarm | {"since": 1, "at": 7, "camera": "camera"}]
    path.write_text(json.dumps(state))
    answer = call("run", tiny.path, "--source", source, "--drift", path)
    assert answer.code == 0
    assert all(json.loads(r)["drift"][0]["chart"] == "brightness" for r in answer.out.splitlines())
    assert "brightness is higher" in call("drift", "show", path).out
    assert "Acknowledged: brightness" in call("drift", "ack", path).err
    answer = call("run", tiny.path, "--source", source, "--drift", path)
    assert all("drift" not in json.loads(line) for line in answer.out.splitlines())
    refused = call("drift", "ack", tmp_path / "none.json")
    assert (refused.code, "does not exist" in refused.sentence) == (2, True)
    refused = call("run", tiny.path, "--source", source, "--drift-reset")
    assert (refused.code, "need --drift" in refused.sentence) == (2, True)
    refused = call(
        "run", tiny.path, "--source", f"a={source}", "--source", f"b={source}", "--drift", path
    )
    assert (refused.code, "a state each" in refused.sentence) == (2, True)
