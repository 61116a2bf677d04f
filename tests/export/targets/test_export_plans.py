"""Plans of the networks: what is built here, and what a device would build."""

from __future__ import annotations

import importlib.util
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, numpy_helper
from pipeline_graphs import draft_of, write

from pyad_edge.engine import read_engine
from pyad_edge.errors import BackendError
from pyad_edge.export.targets import plans
from pyad_edge.export.targets.plans import build_plans
from pyad_edge.export.targets.settings import make_settings
from pyad_edge.ops import cuda

PRECISIONS = ("fp32", "fp16", "bf16", "int8")


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(draft_of("patchcore"), tmp_path_factory.mktemp("engine"))


@pytest.mark.parametrize("precision", PRECISIONS)
def test_tensorrt_rtx_builds_ahead_of_time(engine: Path, precision: str) -> None:
    pytest.importorskip("tensorrt_rtx")
    settings = make_settings(target="tensorrt-rtx", precision=precision, batch=2)
    built = build_plans(read_engine(engine), settings, threads=1)
    assert set(built.files) == {"network.onnx", "network.plan"}
    assert len(built.files["network.plan"]) > 1000
    if cuda.device_count() == 0:
        assert "built, not run: no CUDA device" in str(built.not_run)
        assert (built.open is None) == (precision == "bf16")  # nothing here runs it


def test_members_of_an_ensemble_have_a_plan_each(tmp_path: Path) -> None:
    pytest.importorskip("tensorrt_rtx")
    engine = read_engine(write(draft_of("ensemble"), tmp_path))
    built = build_plans(engine, make_settings(target="tensorrt-rtx"), threads=1)
    stems = ("network0", "network1")
    assert set(built.files) == {f"{s}.{kind}" for s in stems for kind in ("onnx", "plan")}
    assert built.files["network0.plan"] != built.files["network1.plan"]


def test_int8_has_the_form_that_tensorrt_reads(engine: Path) -> None:
    settings = make_settings(target="tensorrt", precision="int8", build=False)
    built = build_plans(read_engine(engine), settings, threads=1)
    graph = onnx.load_from_string(built.files["network.onnx"]).graph
    kinds = Counter(node.op_type for node in graph.node)
    assert kinds["DequantizeLinear"] > kinds["QuantizeLinear"] > 0
    values = {tensor.name: tensor for tensor in graph.initializer}
    points = {n.input[2] for n in graph.node if n.op_type in ("QuantizeLinear", "DequantizeLinear")}
    assert points
    for name in points:
        assert values[name].data_type == TensorProto.INT8  # TensorRT reads no uint8
        assert not numpy_helper.to_array(values[name]).any()  # and no zero point but 0
    biases = [n.input[2] for n in graph.node if n.op_type == "Conv" and len(n.input) > 2]
    assert {values[name].data_type for name in biases} == {TensorProto.FLOAT}
    assert [output.name for output in graph.output] == ["layer2", "layer3"]


def test_the_line_for_trtexec_names_files_and_shapes(engine: Path) -> None:
    settings = make_settings(target="tensorrt", batch=3, build=False)
    built = build_plans(read_engine(engine), settings, threads=1)
    line = built.files["trtexec.sh"].decode().strip()
    assert line in built.notes
    assert line.split()[0] == "trtexec"
    assert {"--onnx=network.onnx", "--saveEngine=network.plan", "--noTF32"} <= set(line.split())
    assert "--shapes=image:3x3x32x32" in line.split()
    assert "network.plan" not in built.files


@pytest.mark.skipif(importlib.util.find_spec("tensorrt") is not None, reason="it is installed")
def test_without_tensorrt_it_says_what_is_missing(engine: Path) -> None:
    with pytest.raises(BackendError, match=r"needs the package tensorrt, .*--no-build.*trtexec "):
        build_plans(read_engine(engine), make_settings(target="tensorrt"), threads=1)


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_a_device_builds_the_plan_of_the_runtime(
    engine: Path, precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[dict[str, Any]] = []

    class Backend:
        def __init__(self, model: bytes, **settings: Any) -> None:
            opened.append({"model": model, **settings})

        def plan(self, batch: int) -> bytes:
            return f"plan for {batch}".encode()

    monkeypatch.setattr(plans, "why_unavailable", lambda: None)
    monkeypatch.setattr(plans, "require_package", lambda *names, **others: SimpleNamespace())
    monkeypatch.setattr(plans, "TensorRtBackend", Backend)
    read = read_engine(engine)
    settings = make_settings(target="tensorrt", precision=precision, batch=4)
    built = build_plans(read, settings, threads=1)
    assert built.files["network.plan"] == b"plan for 4"
    assert built.not_run is None
    assert built.open is not None
    (call,) = opened
    own = bytes(read.tensors["network/onnx"]) == call["model"]
    assert own == (precision == "fp32")
    assert call["precision"] == "fp32"  # an int8 network says its types itself
    # One key for the engine's own network and the runtime's; int8 is a network of its own.
    assert (call["cache_key"] == read.file_sha256) == (precision == "fp32")
    assert np.prod(call["input_size"]) == 32 * 32
