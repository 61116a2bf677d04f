"""The early verdict on declared frames is that of the full search."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from declared import declared_engine, texture

from pyad_edge import BackendError, Runtime, Verdict
from pyad_edge.export.frame_settings import FrameSettings

SIZE = (160, 208)


@pytest.fixture(scope="module", params=["reweighted", "maximum"])
def scoring(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module", params=["letterbox", "tile", "mask"])
def runtime(
    request: pytest.FixtureRequest, scoring: str, tmp_path_factory: pytest.TempPathFactory
) -> Runtime:
    folder: Path = tmp_path_factory.mktemp("decide")
    mask = np.zeros(SIZE, np.uint8)
    mask[20:150, 10:120] = 1
    cv2.imwrite(str(folder / "roi.png"), mask * 255)
    frames = {
        "letterbox": FrameSettings(size_policy="letterbox"),
        "tile": FrameSettings(size_policy="tile", tile=(64, 64), overlap=(32, 32)),
        "mask": FrameSettings(
            size_policy="tile", tile=(64, 64), overlap=(32, 32), mask=folder / "roi.png"
        ),
    }[request.param]
    path = declared_engine(folder, frames, size=SIZE, scoring=scoring, coreset=0.1)
    return Runtime(path)


def test_verdicts_are_those_of_infer(runtime: Runtime) -> None:
    rng = np.random.default_rng(0)
    frames = [texture(SIZE, seed) for seed in range(100, 112)]
    for frame in frames[::2]:
        y, x = rng.integers(0, 120, 2)
        frame[y : y + 12, x : x + 12] = rng.integers(0, 256, 3)
    scores = [runtime.infer(frame).score for frame in frames]
    seen = set()
    for limit in (*np.quantile(scores, [0.0, 0.3, 0.7]), scores[3], max(scores) * 2):
        for review in (None, float(limit) * 0.9):
            runtime.set_threshold(value=float(limit), review=review)
            for frame, score in zip(frames, scores, strict=True):
                wanted = runtime.infer(frame).verdict
                found = runtime.decide(frame)
                assert found.verdict == wanted
                assert found.score is None or found.score == score
                assert (found.score is not None) or found.verdict is Verdict.OK
                assert 0 <= found.patches_searched <= found.patches
                seen.add((found.verdict, found.settled))
                exact = runtime.decide(frame, score=True)
                assert (exact.verdict, exact.score) == (wanted, score)
    assert {verdict for verdict, _ in seen} == {Verdict.OK, Verdict.REVIEW, Verdict.NG}
    assert (Verdict.OK, "early") in seen


def test_only_patches_that_count_are_counted(runtime: Runtime) -> None:
    frame = texture(SIZE, 5)
    counted = int((runtime.pipeline.score([frame]).patches.patch >= 0).sum())
    assert runtime.decide(frame).patches == counted
    whole = runtime.decide(frame, anomaly_map=True)
    assert whole.anomaly_map is not None
    assert whole.patches == whole.patches_searched == counted
    assert whole.anomaly_map.tobytes() == runtime.infer(frame).anomaly_map.tobytes()


def test_a_network_without_values_is_a_fault(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    frame = texture(SIZE, 5)
    with runtime.pipeline._workspaces.borrow(1) as workspace:
        session = workspace.session
    run = session.run

    def broken() -> None:
        run()
        session.outputs[0][...] = np.nan

    monkeypatch.setattr(session, "run", broken)
    for call in (runtime.infer, runtime.decide):
        with pytest.raises(BackendError, match=r"cannot be scored: .* counts as a fault"):
            call(frame)
