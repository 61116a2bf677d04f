"""Engines with a refinement: what it gives, beside NumPy; faults; what it leaves alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from format_4_engines import runnable
from onnx import TensorProto, helper, numpy_helper

from pyad_edge import BackendError, Runtime, SettingError
from pyad_edge.engine import read_engine
from pyad_edge.engine_manifest import Refinement
from pyad_edge.opening import build_pipeline
from pyad_edge.pipeline import Pipeline
from pyad_edge.refined_pipeline import RefinedPipeline


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return runnable("refined", tmp_path_factory.mktemp("refined"))


@pytest.fixture(scope="module")
def inner(path: Path) -> Pipeline:
    pipeline = build_pipeline(read_engine(path))
    assert isinstance(pipeline, RefinedPipeline)
    return pipeline.inner


def frames(count: int = 3, seed: int = 0) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.integers(0, 256, (40, 44, 3), dtype=np.uint8) for _ in range(count)]


def network(bias: float = 0.0, *, gain: float = 1.0, out: str = "map") -> bytes:
    """sigmoid(gain * x + bias) of one channel."""
    values = {"w": np.full((1, 1, 1, 1), gain), "b": np.full(1, bias)}
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["input", "w", "b"], ["logit"]),
            helper.make_node("Sigmoid", ["logit"], [out]),
        ],
        "refinement",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, 1, "H", "W"])],
        [helper.make_tensor_value_info(out, TensorProto.FLOAT, [1, 1, "H", "W"])],
        [numpy_helper.from_array(v.astype(np.float32), name) for name, v in values.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    return bytes(model.SerializeToString())


def settings(**changes: object) -> Refinement:
    values = {
        "onnx_sha256": "0" * 64, "scale": 2.0, "offset": 1.0, "picture": False,
        "score": "maximum", "sigma": 0.0,
    }  # fmt: skip
    return Refinement.model_validate(values | changes)


def test_map_and_score_are_those_of_the_equation(inner: Pipeline) -> None:
    pipeline = RefinedPipeline(inner, network(-0.5), settings())
    plain = inner.score(frames())
    before = plain.maps.copy()
    scores = pipeline.score(frames())
    wanted = 1 / (1 + np.exp(-((before.astype(np.float64) - 1.0) / 2.0 - 0.5)))
    np.testing.assert_allclose(scores.maps, wanted, rtol=1e-5)
    np.testing.assert_array_equal(scores.map_maxima, scores.maps.max(axis=(1, 2)))
    np.testing.assert_array_equal(scores.image, scores.map_maxima)
    assert scores.timings["refinement"] > 0


@pytest.mark.parametrize("name", ["patchcore", "recontrast", "grad"])
def test_keep_leaves_the_score_and_its_decision(inner: Pipeline, name: str, tmp_path: Path) -> None:
    if name != "patchcore":  # of ReContrast the score is the map's maximum, in the same memory
        inner = build_pipeline(read_engine(runnable(name, tmp_path)))
    pipeline = RefinedPipeline(inner, network(), settings(score="keep"))
    plain = inner.score(frames()).image.copy()
    scores = pipeline.score(frames())
    np.testing.assert_array_equal(scores.image, plain)
    assert scores.map_maxima.max() <= 1.0
    limit = float(np.sort(plain)[1])
    for frame, score in zip(frames(), plain, strict=True):
        decision, timings = pipeline.decide(frame, limit=limit, score=True)
        assert decision.score == pytest.approx(float(score), rel=1e-6)
        assert "refinement" not in timings


def test_decide_by_the_refined_maximum(inner: Pipeline) -> None:
    pipeline = RefinedPipeline(inner, network(), settings())
    for frame in frames():
        value = float(pipeline.score([frame]).image[0])
        decision, _ = pipeline.decide(frame, limit=value - 1e-6)
        assert decision.verdict.value == "NG"
        assert pipeline.decide(frame, limit=value)[0].verdict.value == "OK"


def test_smoothing_is_the_kernel_gaussian(inner: Pipeline) -> None:
    from pyad_edge.ops import anomaly_map

    sharp = RefinedPipeline(inner, network(), settings()).score(frames(1))
    smooth = RefinedPipeline(inner, network(), settings(sigma=2.0)).score(frames(1))
    wanted, maxima = anomaly_map(sharp.maps, size=inner.input_size, sigma=2.0)
    np.testing.assert_allclose(smooth.maps, wanted, rtol=1e-6)
    np.testing.assert_allclose(smooth.map_maxima, maxima, rtol=1e-6)


def test_the_picture_arrives_as_the_network_sees_it(path: Path) -> None:
    engine = read_engine(path)
    pipeline = build_pipeline(engine)
    assert isinstance(pipeline, RefinedPipeline)
    (frame,) = frames(1)
    seen = np.empty((1, 3, *pipeline.input_size), np.float32)
    pipeline.write_input(frame, out=seen)
    refinement = engine.manifest.refinement
    assert refinement is not None
    plain = pipeline.inner.score([frame]).maps[0].copy()
    channel = (plain - refinement.offset) / refinement.scale
    stacked = np.concatenate([channel[None, None], seen], axis=1).astype(np.float64)
    model = onnx.load_from_string(bytes(engine.tensors["refinement/onnx"]))
    weight = numpy_helper.to_array(model.graph.initializer[0])[0].astype(np.float64)
    padded = np.pad(stacked[0], ((0, 0), (1, 1), (1, 1)))
    H, W = pipeline.input_size
    logit = sum(
        weight[c, i, j] * padded[c, i : i + H, j : j + W]
        for c in range(4) for i in range(3) for j in range(3)
    )  # fmt: skip
    got = pipeline.score([frame]).maps[0]
    np.testing.assert_allclose(got, 1 / (1 + np.exp(-logit)), rtol=1e-4, atol=1e-6)


def test_a_runtime_takes_it_in_every_way(path: Path) -> None:
    runtime = Runtime(path)
    one = [runtime.infer(frame) for frame in frames()]
    batch = runtime.infer_batch(frames())
    for a, b in zip(one, batch, strict=True):
        assert a.score == pytest.approx(b.score, rel=1e-5)
        assert a.score == float(a.anomaly_map.max())
        assert runtime.decide(frames()[0]).verdict is not None


def test_faults_are_told(inner: Pipeline) -> None:
    broken = RefinedPipeline(inner, network(float("nan")), settings())
    with pytest.raises(BackendError, match="outside"):
        broken.score(frames(1))
    with pytest.raises(BackendError, match="output 'map'"):
        RefinedPipeline(inner, network(out="logits"), settings())
    with pytest.raises(BackendError):
        RefinedPipeline(inner, network(), settings(picture=True))  # takes 1 channel, not 4
    with pytest.raises(BackendError, match="cannot load"):
        RefinedPipeline(inner, b"no network", settings())


def test_tiles_are_refused(inner: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    info = inner.input_info | {"size_policy": "tile"}
    monkeypatch.setattr(type(inner), "input_info", property(lambda self: info))
    with pytest.raises(SettingError, match="cannot be cut into tiles"):
        RefinedPipeline(inner, network(), settings())


def test_outside_the_region_of_interest_stays_zero(
    inner: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = inner.input_info | {"regions_of_interest": 1}
    monkeypatch.setattr(type(inner), "input_info", property(lambda self: info))
    plain = inner.score

    def masked(*arguments: object, **named: object) -> object:
        scores = plain(*arguments, **named)  # type: ignore[arg-type]
        scores.maps[:, :10] = 0.0
        return scores

    monkeypatch.setattr(inner, "score", masked)
    scores = RefinedPipeline(inner, network(3.0), settings()).score(frames(1))
    assert not scores.maps[:, :10].any()
    assert (scores.maps[:, 10:] > 0).all()
