"""Frames of every format, size policy and region of interest, as the runtime takes them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper
from pipeline_graphs import (
    assert_agree,
    draft_of,
    graph_of,
    opened,
    patchcore,
    random_frames,
    write,
)
from pipeline_inputs import SIZE, declared

from pyad_edge import Runtime
from pyad_edge.engine_manifest import Preprocessing
from pyad_edge.export.targets.onnx_pipeline.graph import GraphBuilder
from pyad_edge.export.targets.onnx_pipeline.preprocess import network_input
from pyad_edge.ops import preprocess
from pyad_edge.pixel_formats import PIXEL_FORMATS


@pytest.mark.parametrize(
    ("name", "policy"),
    [
        ("RGB8", "resize"),
        ("BGR8", "letterbox"),
        ("BGRa8", "resize"),
        ("Mono8", "letterbox"),
        ("Mono12", "error"),
        ("RGBa16", "letterbox"),
        ("BGR10", "resize"),
    ],
)
def test_formats_and_policies(name: str, policy: str, tmp_path: Path) -> None:
    path = write(declared(patchcore(), name, policy), tmp_path)
    pixels = PIXEL_FORMATS[name]
    channels = () if pixels.channels == 1 else (pixels.channels,)
    frames = random_frames(
        3, SIZE, channels=channels, dtype=pixels.dtype, levels=1 << pixels.bits, seed=1
    )
    graph = graph_of(path, batch=None)
    kind = graph.model.graph.input[0].type.tensor_type
    assert [d.dim_value for d in kind.shape.dim[1:]] == [*SIZE, *channels]
    assert kind.elem_type == helper.np_dtype_to_tensor_dtype(np.dtype(pixels.dtype))
    assert_agree(Runtime(path), graph.run(frames), frames)


@pytest.mark.parametrize("policy", ["resize", "letterbox"])
@pytest.mark.parametrize(
    "name",
    ["patchcore", "patchcore maximum", "ensemble", "recontrast", "recontrast mean", "grad", "fod",
     "refined", "refined keep"],
)  # fmt: skip
def test_what_a_region_of_interest_leaves_out_does_not_count(
    name: str, policy: str, tmp_path: Path
) -> None:
    path = write(declared(draft_of(name), "RGB8", policy, mask=True), tmp_path)
    frames = random_frames(3, SIZE, seed=2)
    assert_agree(Runtime(path), graph_of(path, batch=3).run(frames), frames)


@pytest.mark.parametrize("order", ["rgb", "bgr"])
def test_engines_without_an_input_take_frames_in_their_own_order(
    order: str, tmp_path: Path
) -> None:
    draft, tensors = patchcore()
    preprocessing = draft.preprocessing.model_copy(update={"color_order": order, "resize": 33})
    path = write((draft.model_copy(update={"preprocessing": preprocessing}), tensors), tmp_path)
    frames = random_frames(3, (47, 36))
    frames[..., 0] //= 3  # or else the order would show little
    assert_agree(Runtime(path), graph_of(path, frame_size=(47, 36), batch=3).run(frames), frames)


@pytest.mark.parametrize(
    ("size", "resize", "crop"),
    [
        ((41, 53), (37, 29), None),
        ((97, 131), 36, (32, 31)),
        ((31, 27), (64, 80), (61, 50)),
        ((700, 900), (300, 320), None),  # large enough that its bands are cut into blocks
        ((33, 32), (33, 32), None),
    ],
)
def test_network_inputs_are_the_kernels(
    size: tuple[int, int], resize: Any, crop: tuple[int, int] | None
) -> None:
    settings = Preprocessing(
        resize=resize,
        crop=crop,
        mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
        color_order="rgb",
    )
    graph = GraphBuilder(17)
    planes = graph.op("Transpose", graph.op("Cast", "frame", to=1), perm=[0, 3, 1, 2])
    name = network_input(graph, planes, settings, frame_size=size, plan=None, padding=0)
    frames = random_frames(2, size)
    wanted = preprocess(frames, resize=resize, crop=crop, mean=settings.mean, std=settings.std)
    model = helper.make_model(
        helper.make_graph(
            graph.nodes,
            "input",
            [helper.make_tensor_value_info("frame", TensorProto.UINT8, [2, *size, 3])],
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, wanted.shape)],
            graph.constants,
        ),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )
    np.testing.assert_allclose(opened(model).run(frames)[name], wanted, rtol=0, atol=5e-6)
