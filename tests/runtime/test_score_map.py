"""Engines whose network gives the score map: scores, maps, verdicts, faults, regions."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from format_4_engines import runnable
from numpy.typing import NDArray

from pyad_edge import BackendError, Runtime, SettingError
from pyad_edge.engine import Engine, read_engine
from pyad_edge.engine_manifest import InputSpec, ManifestDraft, Tiling
from pyad_edge.engine_manifest import ScoreMapHead as Settings
from pyad_edge.export.engine_writer import write_engine
from pyad_edge.heads.score_map import ScoreMapHead
from pyad_edge.opening import build_pipeline
from pyad_edge.pipeline import Pipeline
from pyad_edge.reference import anomaly_map
from pyad_edge.roi import patches_seen

HEAD = ScoreMapHead(Settings(type="score_map", levels=(34,), fusion="maximum"))


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return runnable("grad", tmp_path_factory.mktemp("grad"))


@pytest.fixture(scope="module")
def pipeline(path: Path) -> Pipeline:
    return build_pipeline(read_engine(path))


def frames(count: int = 4) -> list[NDArray[np.uint8]]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (41 + n, 40, 3), dtype=np.uint8) for n in range(count)]


def network_map(pipeline: Pipeline, frame: NDArray[np.uint8]) -> NDArray[np.float32]:
    """What the network gives, (h, w)."""
    x = np.empty((1, 3, *pipeline.input_size), np.float32)
    pipeline.write_input(frame, out=x)
    return pipeline.backend.run(x)[0][0, 0]


@pytest.mark.parametrize("shape", [(1, 1, 1), (2, 3, 5), (3, 7, 1), (1, 13, 11)])
def test_a_pictures_score_is_its_largest_patch_score(shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(1)
    given = rng.gamma(2.0, size=shape).astype(np.float32)
    counts = rng.random(shape[1:]) < 0.5
    counts[0, 0] = True
    image = np.full(shape[0], np.nan, np.float32)
    for where in (None, counts):
        output = given[:, None].copy()
        patches = HEAD.score([output], image=image, counts=where)
        for n in range(shape[0]):
            wanted = 0.0
            for y in range(shape[1]):
                for x in range(shape[2]):
                    counted = where is None or bool(where[y, x])
                    wanted = max(wanted, float(given[n, y, x]) if counted else 0.0)
                    assert patches[n, y, x] == (given[n, y, x] if counted else 0.0)
            assert image[n] == wanted


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, -0.25])
@pytest.mark.parametrize("place", [(0, 0, 0), (1, 2, 4)])
def test_what_is_no_score_is_refused_where_it_lies(
    value: float, place: tuple[int, int, int]
) -> None:
    output = np.ones((2, 1, 3, 5), np.float32)
    output[place[0], 0, place[1], place[2]] = value
    words = f"{value} in picture {place[0]} at row {place[1]}, column {place[2]}"
    counts = np.zeros((3, 5), bool)  # a network that fails is a fault, wherever it does
    for where in (None, counts):
        with pytest.raises(ValueError, match=words):
            HEAD.score([output], image=np.empty(2, np.float32), counts=where)
    with pytest.raises(ValueError, match=r"one map of patch scores.*got \(2, 3, 3, 5\)"):
        HEAD.score([np.ones((2, 3, 3, 5), np.float32)], image=np.empty(2, np.float32))


def test_scores_and_maps_are_those_of_the_reference(pipeline: Pipeline) -> None:
    for frame in frames():
        scores = pipeline.score([frame])
        grid = network_map(pipeline, frame)
        assert scores.image[0] == grid.max()
        assert grid.max() > 1.5 * grid.min()  # a map of one value would hide its place
        maps, maxima = anomaly_map.anomaly_map(
            grid[None], size=pipeline.input_size, sigma=pipeline.sigma
        )
        np.testing.assert_allclose(scores.maps, maps, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(scores.map_maxima, maxima, rtol=1e-5)
        assert scores.patches is None
        assert set(scores.timings) == {"preprocess", "backbone", "head", "map"}


def test_batches_and_threads_give_the_bits_of_single_frames(pipeline: Pipeline) -> None:
    alone = [pipeline.score([frame]) for frame in frames(8)]
    together = pipeline.score(frames(8))
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda frame: pipeline.score([frame]), frames(8) * 3))
    for n, one in enumerate(alone):
        assert together.image[n] == one.image[0]
        assert together.maps[n].tobytes() == one.maps[0].tobytes()
        assert together.map_maxima[n] == one.map_maxima[0]
        for other in found[n::8]:
            assert other.image[0] == one.image[0]
            assert other.maps.tobytes() == one.maps.tobytes()


def test_decide_gives_the_verdict_of_the_score_without_a_map(path: Path) -> None:
    runtime = Runtime(path)
    for frame in frames():
        score = runtime.infer(frame).score
        below = float(np.nextafter(np.float32(score), np.float32(0)))
        for value, review, verdict in ((score, None, "OK"), (below, None, "NG")):
            runtime.set_threshold(value=value, review=review)
            decision = runtime.decide(frame)
            assert (decision.verdict, decision.score) == (verdict, score)
            assert decision.verdict == runtime.infer(frame).verdict
            assert decision.patches == decision.patches_searched == 16
            assert (decision.settled, decision.anomaly_map) == ("search", None)
            assert set(decision.timings) == {"preprocess", "backbone", "head", "total"}
        runtime.set_threshold(value=score * 2, review=below)
        assert runtime.decide(frame).verdict == "REVIEW"
        shown = runtime.decide(frame, anomaly_map=True)
        assert shown.anomaly_map is not None
        assert shown.anomaly_map.tobytes() == runtime.infer(frame).anomaly_map.tobytes()


def declared(path: Path, out: Path, policy: str, mask: NDArray[np.uint8] | None) -> Path:
    """The same engine with an input of its own."""
    engine: Engine = read_engine(path)
    tiling = Tiling(size=(32, 32), overlap=(8, 8), align=(8, 8)) if policy == "tile" else None
    spec: dict[str, Any] = {
        "pixel_format": "RGB8",
        "window": None,
        "size_policy": policy,
        "frame_size": (80, 96),
        "padding": 128 if policy == "letterbox" else None,
        "tiling": tiling,
        "mask": mask is not None,
    }
    fields = {name: getattr(engine.manifest, name) for name in ManifestDraft.model_fields}
    preprocessing = engine.manifest.preprocessing.model_copy(
        update={"resize": (32, 32), "crop": None}
    )
    draft = ManifestDraft(**fields | {"input": InputSpec(**spec), "preprocessing": preprocessing})
    tensors = dict(engine.tensors)
    if mask is not None:
        tensors["input/mask"] = mask
    golden = np.random.default_rng(3).integers(0, 256, (1, 80, 96, 3), np.uint8)
    tensors |= {"golden/frames": golden, "golden/scores": np.ones(1, np.float32)}
    write_engine(out, manifest=draft, tensors=tensors)
    if policy != "tile":
        found = build_pipeline(read_engine(out)).own.score([golden[0]]).image
        write_engine(out, manifest=draft, tensors={**tensors, "golden/scores": found})
    return out


def test_a_region_of_interest_leaves_patches_out(path: Path, tmp_path: Path) -> None:
    mask = np.zeros((80, 96), np.uint8)
    mask[:, 50:] = 255
    runtime = Runtime(declared(path, tmp_path / "masked.pyad", "resize", mask))
    counts = patches_seen(mask, frame_size=(80, 96), box=(0, 0, 96, 80), grid=(4, 4))
    assert 0 < counts.sum() < 16
    changed = 0
    for seed in range(6):
        frame = np.random.default_rng(seed).integers(0, 256, (80, 96, 3), dtype=np.uint8)
        result = runtime.infer(frame)
        grid = network_map(runtime.pipeline, frame)
        assert result.score == grid[counts].max()
        changed += bool(grid[counts].max() < grid.max())
        inside = np.repeat(np.repeat(counts, 8, 0), 8, 1)
        assert (result.anomaly_map[~inside] == 0.0).all()
        assert result.anomaly_map[inside].min() > 0.0
        assert runtime.pipeline.score([frame]).map_maxima[0] == result.anomaly_map.max()
        decision = runtime.decide(frame)
        assert (decision.score, decision.patches) == (result.score, counts.sum())
    assert changed  # what was left out would have counted


def test_letterboxed_frames(path: Path, tmp_path: Path) -> None:
    runtime = Runtime(declared(path, tmp_path / "boxed.pyad", "letterbox", None))
    frame = np.random.default_rng(1).integers(0, 256, (80, 96, 3), dtype=np.uint8)
    result = runtime.infer(frame)
    assert result.score == network_map(runtime.pipeline, frame).max()
    assert (result.anomaly_map[0] == 0.0).all()  # a row of padding
    twice = runtime.infer_batch([frame, frame[::-1].copy()])
    assert twice[0].score == result.score


def test_tiles_are_refused_with_the_way_out(path: Path, tmp_path: Path) -> None:
    engine = declared(path, tmp_path / "tiled.pyad", "tile", None)
    with pytest.raises(SettingError, match=r"score maps take no tiled frames.*letterbox"):
        Runtime(engine)


@pytest.mark.parametrize("value", [np.nan, np.inf, -1.0])
def test_a_network_that_fails_is_a_fault(
    path: Path, tmp_path: Path, value: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    mask = np.full((80, 96), 255, np.uint8)
    for engine in (path, declared(path, tmp_path / "e.pyad", "resize", mask)):
        runtime = Runtime(engine)
        frame = np.zeros((80, 96, 3), np.uint8)
        runtime.infer(frame)
        with runtime.pipeline._workspaces.borrow(1) as workspace:
            session = workspace.session
        run = type(session).run

        def spoiled(self: Any, run: Any = run) -> None:
            run(self)
            self.outputs[0][0, 0, 2, 1] = value

        with monkeypatch.context() as patch:
            patch.setattr(type(session), "run", spoiled)
            for call in (runtime.infer, runtime.decide):
                with pytest.raises(BackendError, match=r"row 2, column 1.*counts as a fault"):
                    call(frame)
        runtime.infer(frame)
