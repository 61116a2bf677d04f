"""Triton's repository in the words of Triton's own parser."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from google.protobuf import text_format
from pipeline_graphs import draft_of, write

from pyad_edge import Runtime
from pyad_edge.export.targets.export import export_engine
from pyad_edge.export.targets.settings import make_settings

model_config = pytest.importorskip("tritonclient.grpc.model_config_pb2")

SIZE = (24, 40)


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(draft_of("patchcore"), tmp_path_factory.mktemp("engine"))


def exported(engine: Path, repository: Path, **settings: Any) -> tuple[Path, Any]:
    """The model's folder and its configuration."""
    chosen = make_settings(target="triton", frame_size=SIZE, **settings)
    report = export_engine(engine, repository, settings=chosen, threads=1)
    text = (report.path / "config.pbtxt").read_text()
    return report.path, text_format.Parse(text, model_config.ModelConfig())


def shapes_of(config: Any) -> dict[str, tuple[list[int], list[int] | None]]:
    """Dims and reshape of every tensor."""
    return {
        tensor.name: (
            list(tensor.dims),
            list(tensor.reshape.shape) if tensor.HasField("reshape") else None,
        )
        for tensor in (*config.input, *config.output)
    }


def test_any_number_of_frames_is_batched_by_the_server(engine: Path, tmp_path: Path) -> None:
    folder, config = exported(engine, tmp_path / "models", batch=None, max_batch=5)
    assert folder == tmp_path / "models" / "part"
    assert (config.name, config.backend, config.max_batch_size) == ("part", "onnxruntime", 5)
    assert config.HasField("dynamic_batching")
    H, W = Runtime(engine).pipeline.input_size
    assert shapes_of(config) == {
        "frame": ([*SIZE, 3], None),
        "score": ([1], []),
        "anomaly_map": ([H, W], None),
        "verdict": ([1], []),
        "p_value": ([1], []),
    }
    kinds = {t.name: model_config.DataType.Name(t.data_type) for t in config.output}
    assert kinds["verdict"] == "TYPE_INT64"
    assert kinds["score"] == kinds["anomaly_map"] == "TYPE_FP32"
    (group,) = config.instance_group
    assert model_config.ModelInstanceGroup.Kind.Name(group.kind) == "KIND_CPU"


def test_a_fixed_batch_is_a_side_of_its_own(engine: Path, tmp_path: Path) -> None:
    folder, config = exported(engine, tmp_path, batch=2, device="cuda", name="line-3")
    assert folder.name == config.name == "line-3"
    assert config.max_batch_size == 0
    assert not config.HasField("dynamic_batching")
    shapes = shapes_of(config)
    assert shapes["frame"] == ([2, *SIZE, 3], None)
    assert shapes["score"] == ([2], None)
    (group,) = config.instance_group
    assert model_config.ModelInstanceGroup.Kind.Name(group.kind) == "KIND_GPU"


@pytest.mark.parametrize("batch", [None, 2])
def test_the_warm_up_is_a_golden_frame_that_the_model_scores(
    engine: Path, tmp_path: Path, batch: int | None
) -> None:
    folder, config = exported(engine, tmp_path, batch=batch)
    (warmup,) = config.model_warmup
    assert warmup.batch_size == 1
    given = warmup.inputs["frame"]
    assert model_config.DataType.Name(given.data_type) == "TYPE_UINT8"
    dims = list(given.dims) if batch is not None else [1, *given.dims]
    content = (folder / "warmup" / given.input_data_file).read_bytes()
    frames = np.frombuffer(content, np.uint8).reshape(dims)  # or it has not their number of bytes
    session = onnxruntime.InferenceSession(folder / "1" / "model.onnx")
    scores = session.run(["score"], {"frame": frames})[0]
    expected = Runtime(engine).infer(frames[0]).score
    np.testing.assert_allclose(scores, [expected] * (batch or 1), rtol=1e-5)


def test_the_parameters_say_which_engine_it_is(engine: Path, tmp_path: Path) -> None:
    _, config = exported(engine, tmp_path)
    runtime = Runtime(engine)
    said = {key: value.string_value for key, value in config.parameters.items()}
    assert said["pyad_edge_engine_sha256"] == runtime.engine.file_sha256
    assert float(said["pyad_edge_threshold"]) == runtime.threshold.value
    assert float(said["pyad_edge_map_threshold"]) == runtime.info["thresholds"]["map"]
    assert said["pyad_edge_threshold_policy"] == runtime.threshold.statement()
    assert said["pyad_edge_verdicts"] == "0 OK, 1 NG, 2 FAULT"
