"""Every engine as one graph: ONNX Runtime against the engine's own runtime."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import onnx
import pytest
from pipeline_graphs import (
    ENGINES,
    OPERATORS,
    assert_agree,
    draft_of,
    graph_of,
    opened,
    patchcore,
    random_frames,
    write,
)

from pyad_edge import Runtime
from pyad_edge.engine import Engine, read_engine
from pyad_edge.export.targets.onnx_pipeline import PipelineSettings, build_pipeline

STORED = Path(__file__).parents[2] / "engines"


@pytest.fixture(scope="module", params=list(ENGINES))
def engine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(draft_of(request.param), tmp_path_factory.mktemp("engine"))


def test_scores_maps_and_verdicts_are_those_of_the_runtime(engine: Path) -> None:
    frames = random_frames(5)
    plain = Runtime(engine)
    scores = sorted(plain.infer(frame).score for frame in frames)
    runtime = Runtime(engine, threshold=(scores[2] + scores[3]) / 2)  # both verdicts occur
    limit = np.array(runtime.threshold.value, np.float32)
    single = graph_of(engine, frame_size=(41, 53), chunk_rows=16)
    several = graph_of(engine, frame_size=(41, 53), batch=None, chunk_rows=32)
    assert single.model.graph.input[0].type.tensor_type.shape.dim[0].dim_value == 1
    for frame in frames:
        assert_agree(runtime, single.run(frame[None], threshold=limit), [frame])
    for count in (1, 3, 5):
        assert_agree(runtime, several.run(frames[:count], threshold=limit), frames[:count])
    verdicts = several.run(frames, threshold=limit)["verdict"]
    assert set(verdicts.tolist()) == {0, 1}
    assert verdicts.dtype == np.int64


def test_the_default_threshold_is_the_engines(engine: Path) -> None:
    frames = random_frames(4, (36, 47), seed=3)
    assert_agree(
        Runtime(engine), graph_of(engine, frame_size=(36, 47), batch=4).run(frames), frames
    )


def test_only_standard_operators_and_no_data_elsewhere(engine: Path) -> None:
    model = graph_of(engine, frame_size=(41, 53)).model
    onnx.checker.check_model(model, full_check=True)
    assert [entry.domain for entry in model.opset_import] == [""]
    assert {node.domain for node in model.graph.node} == {""}
    own = {node.op_type for node in model.graph.node if "network" not in node.name}
    assert own <= OPERATORS
    kinds = {a.type for node in model.graph.node for a in node.attribute}
    assert not kinds & {onnx.AttributeProto.GRAPH, onnx.AttributeProto.GRAPHS}
    assert not any(t.external_data for t in model.graph.initializer)
    read = {name for node in model.graph.node for name in node.input}
    assert {t.name for t in model.graph.initializer} <= read


def test_the_graph_says_what_it_was_made_of(tmp_path: Path) -> None:
    path = write(draft_of("recontrast"), tmp_path)
    made, runtime = read_engine(path), Runtime(path)
    about = {p.key: p.value for p in graph_of(path, frame_size=(41, 53)).model.metadata_props}
    assert about["pyad_edge.engine_sha256"] == made.file_sha256
    assert about["pyad_edge.method"] == "recontrast"
    assert about["pyad_edge.format_version"] == "4"
    assert float(about["pyad_edge.threshold"]) == runtime.threshold.value
    assert about["pyad_edge.threshold_policy"] == runtime.threshold.statement()


@pytest.mark.parametrize("name", ["ensemble", "fod"])
def test_the_same_engine_gives_the_same_bytes(name: str, tmp_path: Path) -> None:
    path = write(draft_of(name), tmp_path)
    settings = PipelineSettings(frame_size=(41, 53), batch=None)
    first, second = (
        build_pipeline(read_engine(path), settings=settings).SerializeToString() for _ in range(2)
    )
    assert first == second


@pytest.mark.parametrize("opset", [18, 19, 21])
@pytest.mark.parametrize("name", ["patchcore", "fod", "refined"])
def test_newer_opsets_give_the_same_scores(name: str, opset: int, tmp_path: Path) -> None:
    path, frames = write(draft_of(name), tmp_path), random_frames(2)
    graph = graph_of(path, frame_size=(41, 53), batch=2, opset=opset)
    assert graph.model.opset_import[0].version == opset
    assert_agree(Runtime(path), graph.run(frames), frames)


@pytest.mark.parametrize("name", [path.name for path in sorted(STORED.glob("v4_*.pyad"))])
def test_stored_engines_score_their_golden_frames(name: str) -> None:
    engine = read_engine(STORED / name)
    graph = graph_of(STORED / name, batch=None)
    found = graph.run(np.asarray(engine.tensors["golden/frames"]))["score"]
    expected = engine.tensors["golden/scores"]
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=2e-6)


def test_an_approximate_index_can_be_left_out_for_exact_search() -> None:
    pytest.importorskip("faiss")
    engine = read_engine(STORED / "v2_patchcore.pyad")
    frames = np.asarray(engine.tensors["golden/frames"])
    model = build_pipeline(engine, settings=PipelineSettings(batch=None, exact_search=True))
    exact = dataclasses.replace(
        engine, manifest=engine.manifest.model_copy(update={"index": None, "format_version": 1})
    )
    assert_agree(_unchecked(exact), opened(model).run(frames), list(frames))


def _unchecked(engine: Engine) -> Runtime:
    """A runtime of an engine whose golden scores are of another search."""
    manifest = engine.manifest
    golden = manifest.golden.model_copy(update={"tolerance": 0.9})
    return Runtime(
        dataclasses.replace(engine, manifest=manifest.model_copy(update={"golden": golden}))
    )


def test_frames_have_the_golden_frames_size_unless_another_is_said(tmp_path: Path) -> None:
    path = write(patchcore(), tmp_path)
    shape = graph_of(path).model.graph.input[0].type.tensor_type.shape.dim
    golden = read_engine(path).tensors["golden/frames"].shape
    assert tuple(d.dim_value for d in shape) == (1, *golden[1:])
