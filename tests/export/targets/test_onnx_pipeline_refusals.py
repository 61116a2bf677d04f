"""What has no form in a graph is refused with a sentence that names it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper
from pipeline_graphs import draft_of, graph_of, patchcore, random_frames, with_network, write
from pipeline_inputs import declared

from pyad_edge.engine import read_engine
from pyad_edge.errors import BackendError, SettingError
from pyad_edge.export.engine_writer import write_engine
from pyad_edge.export.targets.onnx_pipeline import PipelineSettings
from pyad_edge.export.targets.onnx_pipeline.network import InnerNetwork
from pyad_edge.export.targets.onnx_pipeline.refinement import check_batch

STORED = Path(__file__).parents[2] / "engines"


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"frame_size": (41, 7)}, "8 <= frame_size's width <= 16384, got 7"),
        ({"frame_size": (41.0, 53)}, "frame_size's height as a whole number, got 41.0"),
        ({"frame_size": (41,)}, "frame_size as (height, width), got (41,)"),
        ({"batch": 0}, "1 <= batch <= 256, got 0"),
        ({"chunk_rows": 8}, "16 <= chunk_rows <= 1048576, got 8"),
        ({"opset": 16}, "17 <= opset <= 21, got 16"),
    ],
)
def test_settings_that_cannot_be_used(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(SettingError) as refusal:
        PipelineSettings(**settings)
    assert words in str(refusal.value)


def test_tiles(tmp_path: Path) -> None:
    path = STORED / "v3_patchcore.pyad"
    assert read_engine(path).manifest.input.size_policy == "tile"  # type: ignore[union-attr]
    with pytest.raises(SettingError, match=r"cuts its frames into tiles.*resize or letterbox"):
        graph_of(path)


def test_an_approximate_index() -> None:
    with pytest.raises(SettingError, match=r"approximate index \(IVF-PQ\).*exact_search"):
        graph_of(STORED / "v2_patchcore.pyad")


@pytest.mark.parametrize(
    ("name", "what"), [("BayerRG8", "Bayer mosaics"), ("Mono32f", "floating-point frames")]
)
def test_formats_that_no_operator_converts(name: str, what: str, tmp_path: Path) -> None:
    draft, tensors = declared(patchcore(), "Mono8", "resize")
    assert draft.input is not None
    window = (0.0, 200.0) if name == "Mono32f" else None
    spec = draft.input.model_copy(update={"pixel_format": name, "window": window})
    dtype = np.float32 if name == "Mono32f" else np.uint8
    tensors["golden/frames"] = tensors["golden/frames"].astype(dtype)
    path = write((draft.model_copy(update={"input": spec}), tensors), tmp_path)
    with pytest.raises(SettingError, match=f"takes {name} frames; {what} have no form"):
        graph_of(path)


def test_another_size_than_the_one_that_is_accepted(tmp_path: Path) -> None:
    path = write(declared(patchcore(), "RGB8", "error"), tmp_path)
    graph_of(path)
    with pytest.raises(SettingError, match=r"frames of \(44, 61\).*got frame_size=\(44, 60\)"):
        graph_of(path, frame_size=(44, 60))


def test_frames_too_square_for_a_long_crop(tmp_path: Path) -> None:
    draft, tensors = patchcore()
    changes = {"resize": 33, "crop": (32, 40)}
    preprocessing = draft.preprocessing.model_copy(update=changes)
    size = draft.network.model_copy(update={"input_size": (32, 40), "grid": (4, 5)})
    tensors["golden/frames"] = random_frames(2, (20, 60))
    wide = draft.model_copy(update={"preprocessing": preprocessing, "network": size})
    path = tmp_path / "part.pyad"
    write_engine(path, manifest=wide, tensors=tensors)
    graph_of(path)
    with pytest.raises(SettingError, match=r"frames of \(40, 40\): .*expected crop"):
        graph_of(path, frame_size=(40, 40))


def with_control_flow(model: Any) -> None:
    graph = model.graph
    graph.initializer.append(numpy_helper.from_array(np.array(True), "always"))
    value = helper.make_tensor_value_info("same", TensorProto.FLOAT, None)
    branch = helper.make_graph(
        [helper.make_node("Identity", ["image"], ["same"])], "branch", [], [value]
    )
    for node in graph.node:
        for n, name in enumerate(node.input):
            if name == "image":
                node.input[n] = "kept"
    nodes = [helper.make_node("If", ["always"], ["kept"], then_branch=branch, else_branch=branch)]
    rest = list(graph.node)
    del graph.node[:]
    graph.node.extend([*nodes, *rest])


def read(change: Any) -> bytes:
    _, tensors = with_network(patchcore(), change)
    return bytes(tensors["network/onnx"])


def test_control_flow_and_foreign_operators() -> None:
    with pytest.raises(BackendError, match=r"the network of this engine has If: .* no control"):
        InnerNetwork.read(read(with_control_flow), "the network")

    def foreign(model: Any) -> None:
        model.graph.node[0].domain = "com.microsoft"
        model.opset_import.append(helper.make_opsetid("com.microsoft", 1))

    with pytest.raises(BackendError, match=r"has Conv: .* of the domain ai\.onnx"):
        InnerNetwork.read(read(foreign), "the network")

    def another_input(model: Any) -> None:
        value = helper.make_tensor_value_info("more", TensorProto.FLOAT, [1])
        model.graph.input.append(value)

    with pytest.raises(BackendError, match=r"one input .* got the inputs \['image', 'more'\]"):
        InnerNetwork.read(read(another_input), "the network")
    with pytest.raises(BackendError, match=r"the network of this engine, 4 bytes, is no ONNX"):
        InnerNetwork.read(b"ONNX", "the network")


def test_operator_sets_that_are_too_new(tmp_path: Path) -> None:
    def newer(model: Any) -> None:
        model.opset_import[0].version = 22

    path = write(with_network(patchcore(), newer), tmp_path)
    with pytest.raises(BackendError, match=r"is of opset 22, graphs are written in 17 to 21"):
        graph_of(path)


def test_a_network_of_one_picture_takes_no_other_batch(tmp_path: Path) -> None:
    def single(model: Any) -> None:
        model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1

    path = write(with_network(patchcore(), single), tmp_path)
    graph_of(path, batch=1)
    for batch in (None, 3):
        with pytest.raises(BackendError, match=rf"takes 1 pictures at a time, got batch={batch}"):
            graph_of(path, batch=batch)


def test_a_refinement_that_draws_one_map_alone() -> None:
    def frozen(model: Any) -> None:
        graph = model.graph
        (last,) = (node for node in graph.node if "map" in node.output)
        last.output[0] = "raw"
        shape = np.array([1, 1, 32, 32], np.int64)
        graph.initializer.append(numpy_helper.from_array(shape, "shape"))
        graph.node.append(helper.make_node("Reshape", ["raw", "shape"], ["map"]))

    _, tensors = with_network(draft_of("refined"), frozen, "refinement/onnx")
    network = InnerNetwork.read(bytes(tensors["refinement/onnx"]), "the refinement")
    check_batch(network, 1, (4, 32, 32))
    for batch in (None, 2):
        with pytest.raises(BackendError, match="draws one map at a time"):
            check_batch(network, batch, (4, 32, 32))
