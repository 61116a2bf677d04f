"""The opened engine: the same scores everywhere, sound verdicts, clear refusals."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from tiny_engine import TinyEngine, write_engine

from pyad_edge import (
    BackendError,
    DataError,
    EngineError,
    Result,
    Runtime,
    SettingError,
    read_image,
)
from pyad_edge.backends.onnxruntime_session import OnnxRuntimeSession
from pyad_edge.calibration import threshold_for
from pyad_edge.engine import read_engine
from pyad_edge.engine_manifest import ManifestDraft
from pyad_edge.export import engine_writer

Frame = NDArray[np.uint8]
OTHER_PROCESS = """
import json, sys
import pyad_edge
runtime = pyad_edge.Runtime(sys.argv[1])
print(json.dumps({p: runtime.infer(pyad_edge.read_image(p)).score for p in sys.argv[2:]}))
"""


@pytest.fixture(scope="module")
def runtime(tiny: TinyEngine) -> Runtime:
    return Runtime(tiny.path)


@pytest.fixture(scope="module")
def frames(tiny: TinyEngine) -> list[Frame]:
    return [read_image(path) for path in tiny.scores]


def same(one: Sequence[Result], other: Sequence[Result]) -> None:
    """Everything but the timings is bit-equal."""
    for a, b in zip(one, other, strict=True):
        assert a.anomaly_map.tobytes() == b.anomaly_map.tobytes()
        assert a.mask.tobytes() == b.mask.tobytes()
        plain_a, plain_b = a.to_dict(), b.to_dict()
        del plain_a["timings_ms"], plain_b["timings_ms"]
        assert plain_a == plain_b


def test_scores_are_bit_equal_before_saving_after_opening_and_elsewhere(
    tiny: TinyEngine, runtime: Runtime
) -> None:
    opened = {path: runtime.infer(read_image(path)).score for path in tiny.scores}
    assert opened == tiny.scores
    command = [sys.executable, "-c", OTHER_PROCESS, str(tiny.path), *tiny.scores]
    elsewhere = subprocess.run(command, capture_output=True, text=True, check=True, cwd="/")
    assert json.loads(elsewhere.stdout) == tiny.scores
    assert elsewhere.stderr == ""
    assert len(set(tiny.scores.values())) == len(tiny.scores), "the scores tell nothing apart"


def test_single_and_batched_frames_agree(runtime: Runtime, frames: list[Frame]) -> None:
    single = [runtime.infer(frame) for frame in frames]
    batched = runtime.infer_batch(frames)
    for a, b in zip(single, batched, strict=True):
        assert b.score == pytest.approx(a.score, rel=1e-5)
        np.testing.assert_allclose(b.anomaly_map, a.anomaly_map, rtol=1e-4, atol=1e-5)
        assert (a.is_anomalous, a.p_value, a.nearest.picture) == (
            b.is_anomalous,
            b.p_value,
            b.nearest.picture,
        )
    assert runtime.infer_batch([]) == []


def test_eight_threads_on_one_runtime_agree(runtime: Runtime, frames: list[Frame]) -> None:
    alone = [runtime.infer(frame) for frame in frames]
    with ThreadPoolExecutor(8) as pool:
        for together in pool.map(lambda _: [runtime.infer(f) for f in frames], range(16)):
            same(alone, together)


def test_thresholds_change_without_refitting(tiny: TinyEngine, frames: list[Frame]) -> None:
    runtime = Runtime(tiny.path)
    normal = runtime.engine.tensors["calibration/scores"]
    n = len(normal)
    assert runtime.threshold.normal_pictures == n
    assert f"{n} normal pictures" in runtime.threshold.statement()
    before = runtime.infer(frames[0])

    strict = runtime.set_threshold(false_reject=0.5)
    assert strict.value == float(normal[n - (n + 1) // 2])
    assert runtime.threshold is strict
    low = runtime.infer(frames[0])
    assert low.score == before.score
    assert low.threshold == strict.value < before.threshold
    assert low.map_threshold < before.map_threshold
    assert low.p_value == (1 + int((normal >= low.score).sum())) / (n + 1)

    runtime.set_threshold(value=before.score)
    assert not runtime.infer(frames[0]).is_anomalous, "a score at the threshold is not above it"
    runtime.set_threshold(value=float(np.nextafter(before.score, 0.0)))
    assert runtime.infer(frames[0]).is_anomalous
    assert "set by hand" in runtime.threshold.statement()
    assert Runtime(tiny.path, false_reject=0.5).threshold == strict
    assert Runtime(tiny.path, threshold=1.5).threshold.value == 1.5


@pytest.mark.parametrize(
    "wrong",
    [
        {"false_reject": 0.1, "threshold": 1.0},
        {"false_reject": 0.0},
        {"false_reject": float("nan")},
        {"threshold": float("inf")},
        {"color_order": "gbr"},
        {"backend": "tensorflow"},
        {"threads": 0},
        {"threads": 1025},
        {"threads": 20000},
        {"threads": True},
        {"threads": "2"},
        {"threads": 2.0},
        {"false_reject": "x"},
        {"false_reject": True},
        {"threshold": "x"},
    ],
)
def test_arguments_that_cannot_be_used_are_refused(
    tiny: TinyEngine, wrong: dict[str, object]
) -> None:
    with pytest.raises(SettingError, match=r"\[.+\] .+\.$"):
        Runtime(tiny.path, **wrong)  # type: ignore[arg-type]


def test_golden_drift_refuses_to_open(tiny: TinyEngine, tmp_path: Path) -> None:
    engine = read_engine(tiny.path)
    fields = {name: getattr(engine.manifest, name) for name in ManifestDraft.model_fields}
    scores = engine.tensors["golden/scores"]
    for shift, opens in ((1 + 5e-4, True), (1 + 2e-3, False), (1 - 2e-3, False)):
        altered = dict(engine.tensors) | {"golden/scores": scores * np.float32([1, shift])}
        path = engine_writer.write_engine(
            tmp_path / "drift.pyad", manifest=ManifestDraft(**fields), tensors=altered
        )
        if opens:
            assert 4e-4 < Runtime(path).info["golden_drift"] < 6e-4
            continue
        with pytest.raises(EngineError, match=r"golden picture 1 scores .* but .* \(drift "):
            Runtime(path)


@pytest.mark.parametrize(
    ("frame", "sentence"),
    [
        (np.zeros((64, 64, 3), np.float32), "got float32.*astype"),
        (np.zeros((64, 64), np.uint16), "got uint16"),
        (np.zeros((64, 64, 4), np.uint8), r"got shape \(64, 64, 4\)\. Drop the alpha"),
        (np.zeros((64, 64, 2), np.uint8), r"got shape \(64, 64, 2\)"),
        (np.zeros((64, 64, 1, 1), np.uint8), r"got shape \(64, 64, 1, 1\)"),
        (np.zeros(64, np.uint8), r"got shape \(64,\)"),
        (np.uint8(3), "got uint8. Read files"),
        (np.zeros((0, 64, 3), np.uint8), "got 64 x 0"),
        (np.zeros((7, 64), np.uint8), "got 64 x 7"),
        (np.broadcast_to(np.uint8(0), (8, 16385)), "got 16385 x 8"),
        ("part.png", "got str. Read files with pyad_edge.read_image"),
        (None, "got NoneType"),
    ],
)
def test_what_is_no_frame_is_refused(runtime: Runtime, frame: Frame, sentence: str) -> None:
    with pytest.raises(DataError, match=sentence):
        runtime.infer(frame)
    with pytest.raises(DataError, match=sentence):
        runtime.infer_batch([np.zeros((64, 64), np.uint8), frame])


def test_colour_orders_and_layouts_of_one_picture_agree(
    tiny: TinyEngine, runtime: Runtime, frames: list[Frame]
) -> None:
    frame = frames[1]
    bgr = Runtime(tiny.path, color_order="bgr")
    expected = runtime.infer(frame)
    same([expected], [bgr.infer(np.ascontiguousarray(frame[..., ::-1]))])
    same([expected], [bgr.infer(frame[..., ::-1])])
    assert runtime.infer(frame[..., ::-1]).score != expected.score
    wide = np.zeros((frame.shape[0], 2 * frame.shape[1], 3), np.uint8)
    wide[:, ::2] = frame
    same([expected], [runtime.infer(wide[:, ::2])])
    mono = frame[..., 1]
    same([runtime.infer(mono)], [runtime.infer(np.repeat(mono[..., np.newaxis], 3, axis=2))])
    same([runtime.infer(mono)], [runtime.infer(np.ascontiguousarray(mono))])
    same([runtime.infer(mono)], [runtime.infer(mono[..., np.newaxis])])


def test_nearest_points_to_a_training_pictures_own_patch(tiny: TinyEngine, tmp_path: Path) -> None:
    whole = write_engine(
        tmp_path / "whole.pyad", tiny.data, tiny.backbone, coreset=1.0, scoring="maximum"
    )
    runtime = Runtime(whole.path)
    picture = runtime.infer(read_image(tiny.data / whole.model.pictures[2]))
    assert (picture.score, picture.nearest.distance) == (0.0, 0.0)
    # Paint over one corner: the patches far from it are still their own neighbours.
    frame = read_image(tiny.data / whole.model.pictures[2])
    frame[:30, :30] = 255 - frame[:30, :30]
    spoilt = runtime.infer(frame)
    assert spoilt.score > 0
    assert spoilt.nearest.distance == pytest.approx(spoilt.score**0.5, rel=1e-6)
    assert spoilt.nearest.picture in whole.model.pictures
    assert max(spoilt.peak) < 60


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e30])
def test_features_that_cannot_be_scored_are_faults_and_never_ok(
    tiny: TinyEngine, frames: list[Frame], monkeypatch: pytest.MonkeyPatch, value: float
) -> None:
    runtime = Runtime(tiny.path)
    run = OnnxRuntimeSession.run

    def broken(session: OnnxRuntimeSession) -> None:
        run(session)
        session.outputs[1][0, 3, 1, 1] = value

    monkeypatch.setattr(OnnxRuntimeSession, "run", broken)
    with pytest.raises(BackendError, match="fault"):
        runtime.infer(frames[0])


def test_verdict_and_regions_are_two_measurements(tiny: TinyEngine, frames: list[Frame]) -> None:
    runtime = Runtime(tiny.path, threshold=0.0)
    score = runtime.infer(frames[0]).score
    maxima = runtime.engine.tensors["calibration/map_maxima"]
    # Every calibration picture is above 0: the map's rate is then the cap, a half.
    low = runtime.infer(frames[0])
    assert low.is_anomalous
    assert low.map_threshold == threshold_for(maxima, 0.5).value
    assert low.to_dict()["map_threshold"] == low.map_threshold
    # None is above a huge one: the rate is 1 / (n + 1), and a frame that passes may have regions.
    runtime.set_threshold(value=score + 1e6)
    high = runtime.infer(frames[0])
    assert not high.is_anomalous
    assert high.map_threshold == threshold_for(maxima, 1 / (len(maxima) + 1)).value
    for result in (low, high):
        assert bool(result.regions) == bool((result.anomaly_map > result.map_threshold).any())


def test_info_says_what_runs_where(tiny: TinyEngine) -> None:
    info = Runtime(tiny.path, threads=1, color_order="bgr").info
    assert json.loads(json.dumps(info)) == info
    assert info["engine"] == str(tiny.path)
    assert (info["method"], info["backbone"], info["color_order"]) == ("patchcore", "tiny", "bgr")
    assert (info["backend"]["name"], info["backend"]["threads"]) == ("onnxruntime", 1)
    assert info["golden_drift"] == 0.0
