"""Graphs outside of pyad_edge: the example's ten lines, and OpenVINO."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pipeline_graphs import (
    assert_agree,
    draft_of,
    graph_of,
    random_frames,
    raw_score,
    write,
)
from tiny_engine import TinyEngine

from pyad_edge import Runtime
from pyad_edge.backends.openvino_core import openvino_core
from pyad_edge.images import read_image

EXAMPLE = Path(__file__).parents[3] / "examples" / "onnx" / "score.py"
# Whoever imports pyad_edge, onnx or torch fails, as on a machine that lacks them.
WALL = """
import runpy, sys
class Wall:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("pyad_edge", "onnx", "torch"):
            raise ImportError(f"the wall: {name}")
sys.meta_path.insert(0, Wall())
script, sys.argv = sys.argv[1], sys.argv[1:]
runpy.run_path(script, run_name="__main__")
"""


def run_example(graph: Path, pictures: Sequence[Path]) -> list[list[str]]:
    """What the example prints of the pictures: name, score, verdict and p-value of each."""
    command = [sys.executable, "-W", "error", "-c", WALL, EXAMPLE, graph, *pictures]
    done = subprocess.run(
        list(map(str, command)), capture_output=True, text=True, check=False, cwd="/"
    )
    assert done.returncode == 0, done.stderr
    lines = [line.split("\t") for line in done.stdout.splitlines()]
    assert [line[0] for line in lines] == list(map(str, pictures))
    return lines


def test_ten_lines_without_pyad_edge_give_its_scores(tiny: TinyEngine, tmp_path: Path) -> None:
    pictures = sorted((tiny.data / "test").rglob("*.png"))[:6]
    frames = [read_image(path) for path in pictures]
    path = tmp_path / "part.onnx"
    graph = graph_of(tiny.path, frame_size=frames[0].shape[:2])
    path.write_bytes(graph.model.SerializeToString())
    runtime = Runtime(tiny.path)
    for (_, *found), frame in zip(run_example(path, pictures), frames, strict=True):
        result = runtime.infer(frame)
        assert float(found[0]) == pytest.approx(result.score, rel=1e-5)
        assert found[1] == result.verdict.value
        assert float(found[2]) == pytest.approx(result.p_value, rel=1e-6)
    assert len(EXAMPLE.read_text().splitlines()) <= 14


HEADS = ("patchcore", "ensemble", "recontrast", "grad", "fod", "refined")


@pytest.mark.parametrize("name", [*HEADS, "reconpatch"])
def test_ten_lines_give_the_scores_of_every_head(name: str, tmp_path: Path) -> None:
    path, file = write(draft_of(name), tmp_path), tmp_path / "part.onnx"
    file.write_bytes(graph_of(path, frame_size=(41, 53)).model.SerializeToString())
    frames = random_frames(3)
    pictures = [tmp_path / f"{n}.png" for n in range(len(frames))]
    for picture, frame in zip(pictures, frames, strict=True):
        Image.fromarray(frame).save(picture)
    runtime = Runtime(path)
    for (_, *found), frame in zip(run_example(file, pictures), frames, strict=True):
        result = runtime.infer(frame)
        scale = max(abs(result.score), raw_score(runtime))
        assert abs(float(found[0]) - result.score) <= 1e-5 * scale
        assert found[1] == result.verdict.value
        assert float(found[2]) == pytest.approx(result.p_value, rel=1e-6)


@pytest.mark.parametrize("name", HEADS)
def test_openvino_takes_graphs_of_every_head(name: str, tmp_path: Path) -> None:
    pytest.importorskip("openvino")
    path = write(draft_of(name), tmp_path)
    model = graph_of(path, frame_size=(41, 53), batch=None, chunk_rows=32).model
    settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1}
    core = openvino_core()
    compiled = core.compile_model(core.read_model(model.SerializeToString()), "CPU", settings)
    frames = random_frames(2)
    found = compiled({"frame": frames})
    names = [output.any_name for output in compiled.outputs]
    assert_agree(Runtime(path), {name: np.array(found[name]) for name in names}, frames)


@pytest.mark.parametrize("name", HEADS)
def test_tensorrt_for_rtx_parses_graphs_of_every_head(name: str, tmp_path: Path) -> None:
    trt = pytest.importorskip("tensorrt_rtx")
    model = graph_of(write(draft_of(name), tmp_path), frame_size=(41, 53), chunk_rows=32).model
    logger = trt.Logger(trt.Logger.ERROR)
    typed = 1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
    network = trt.Builder(logger).create_network(typed)
    parser = trt.OnnxParser(network, logger)
    assert parser.parse(model.SerializeToString()), parser.get_error(0).desc()
    outputs = [network.get_output(n).name for n in range(network.num_outputs)]
    assert outputs == ["score", "anomaly_map", "verdict", "p_value"]
