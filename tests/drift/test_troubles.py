"""What a monitor cannot do is told: in the line, the status, the summary and the exit code."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from command_line import call
from tiny_engine import TinyEngine

from pyad_edge import Runtime
from pyad_edge.console import EXIT_UNWATCHED
from pyad_edge.drift import DriftMonitor, monitor
from pyad_edge.drift.state import read_state
from pyad_edge.images import read_image
from pyad_edge.result import Verdict
from pyad_edge.run_health import RunHealth
from pyad_edge.streaming import Inspection


@pytest.fixture(scope="module")
def runtime(tiny: TinyEngine) -> Runtime:
    return Runtime(tiny.path, false_reject=0.2)


@pytest.fixture
def picture(tiny: TinyEngine) -> np.ndarray:
    return read_image(next((tiny.data / "train/good").iterdir()))


def inspection(image: np.ndarray, index: int = 0) -> Inspection:
    return Inspection("camera", index, 0, "f", 0.0, Verdict.OK, image=image)


def test_frames_of_another_kind_are_refused_and_counted(
    runtime: Runtime, picture: np.ndarray
) -> None:
    watch, rng = DriftMonitor(runtime, learn=100, shape=20), np.random.default_rng(0)

    def noisy() -> np.ndarray:
        return np.clip(picture + rng.normal(0, 3, picture.shape), 0, 255).astype(np.uint8)

    for n in range(60):
        watch.observe(inspection(noisy(), n))
    assert (watch.trouble, watch.failures, watch.failure) == (None, 0, None)
    before = watch.statement()
    watch.observe(inspection(noisy()[..., 1], 60))  # while learning
    assert watch.trouble is not None
    assert "learned colour frames, and this one is mono" in watch.trouble
    assert "--drift-reset" in watch.trouble
    assert watch.statement() == before
    for n in range(60):
        watch.observe(inspection(noisy(), 61 + n))
    assert watch.armed
    assert watch.trouble is None
    watch.observe(inspection(noisy()[..., 1], 121))  # and after it
    assert (watch.failures, watch.failure) == (2, watch.trouble)


def test_scores_that_come_and_go_cost_no_frame(runtime: Runtime, picture: np.ndarray) -> None:
    """Mode decide scores frames near the threshold only: it has no chart of scores."""
    watch = DriftMonitor(runtime, learn=100, shape=20)
    scored = runtime.infer(picture)
    for n in range(120):
        one = inspection(picture, n)
        watch.observe(
            Inspection("camera", n, 0, "f", 0.0, Verdict.OK, result=scored, image=picture)
            if n % 3 == 0
            else one
        )
    assert watch.failures == 0
    assert watch.armed
    assert set(watch.limits()) & {"score", "score_ks"} == set()
    assert {"light_up", "light_down", "brightness"} < set(watch.limits())


def test_what_was_learned_is_kept_at_the_end(
    tiny: TinyEngine, runtime: Runtime, tmp_path: Path
) -> None:
    path = tmp_path / "s.json"
    source = str(tiny.data / "test/good")
    for _ in range(2):  # restarts go on where the last one stopped
        with runtime.stream(source, drift=DriftMonitor(runtime, state=path)) as stream:
            learned = sum(one.verdict is not Verdict.NG for one in stream)
    state = read_state(path)
    assert state is not None
    assert state.shape_seen == 2 * learned > 0


def test_a_monitor_that_fails_is_in_line_summary_and_exit_code(
    tiny: TinyEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tiny.data / "test/good"
    plain = call("run", tiny.path, "--source", source)

    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("no picture of that kind")

    monkeypatch.setattr(monitor, "measure_frame", broken)
    answer = call("run", tiny.path, "--source", source, "--drift", tmp_path / "s.json")
    lines = [json.loads(line) for line in answer.out.splitlines()]
    verdicts = [json.loads(line)["verdict"] for line in plain.out.splitlines()]
    assert [line["verdict"] for line in lines] == verdicts
    assert all("no picture of that kind" in line["drift_error"] for line in lines)
    assert f"the drift monitor failed {len(lines)} times" in answer.err
    assert (plain.code, answer.code) == (0, EXIT_UNWATCHED)


def test_a_disk_that_is_full_is_told(
    tiny: TinyEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = iter([True])

    def full(*_: object) -> None:
        if not next(written, False):
            raise OSError(28, "No space left on device")

    monkeypatch.setattr("pyad_edge.drift.state.write_private", full)
    source = tiny.data / "test/good"
    answer = call("run", tiny.path, "--source", source, "--drift", tmp_path / "s.json")
    assert answer.code == EXIT_UNWATCHED
    assert "could not be written" in answer.err
    assert "drift_error" not in answer.out  # every frame was learned; the file was not written


def test_the_watchdogs_sentence_counts_them() -> None:
    class Open:
        def status(self) -> dict[str, object]:
            return {}

    health = RunHealth()
    health.opened(Open())  # type: ignore[arg-type]
    health.add({"verdict": "OK"})
    assert "drift" not in health.status()
    health.add({"verdict": "OK", "drift_error": "why"})
    assert health.status().endswith("drift monitor failed for 1")
