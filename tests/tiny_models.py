"""Tiny ONNX backbones for tests: built in milliseconds, no torch, seeded, real convolutions."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

OPSET = 17
IR_VERSION = 8


def tiny_backbone(
    channels: Sequence[int] = (8, 16), seed: int = 0, *, metadata: bool = True
) -> bytes:
    """A backbone with input `image` (N, 3, H, W) and outputs layer2 (/8), layer3 (/16), and so on.

    Every level is a strided 3x3 convolution with ReLU; like a ResNet, a level keeps ⌈size / 2⌉
    positions. `metadata=False` leaves out what `pyad-edge backbone export` writes about the file.
    """
    rng = np.random.default_rng(seed)
    nodes: list[onnx.NodeProto] = []
    initializers: list[onnx.TensorProto] = []
    digest = hashlib.sha256()

    def conv(source: str, out: str, c_in: int, c_out: int) -> None:
        weight = rng.normal(0, (2 / (9 * c_in)) ** 0.5, (c_out, c_in, 3, 3)).astype(np.float32)
        bias = rng.normal(0, 0.1, c_out).astype(np.float32)
        for name, array in ((f"{out}.weight", weight), (f"{out}.bias", bias)):
            digest.update(array.tobytes())
            initializers.append(numpy_helper.from_array(array, name))
        nodes.append(
            helper.make_node(
                "Conv",
                [source, f"{out}.weight", f"{out}.bias"],
                [f"{out}.conv"],
                kernel_shape=[3, 3],
                strides=[2, 2],
                pads=[1, 1, 1, 1],
            )
        )
        nodes.append(helper.make_node("Relu", [f"{out}.conv"], [out]))

    layers = [f"layer{level}" for level in range(2, 2 + len(channels))]
    conv("image", "stem", 3, 4)
    conv("stem", "layer1", 4, 8)
    source, width = "layer1", 8
    for layer, count in zip(layers, channels, strict=True):
        conv(source, layer, width, count)
        source, width = layer, count

    def value(name: str, count: int) -> onnx.ValueInfoProto:
        # Symbolic height and width per tensor: each level has its own grid.
        prefix = "" if name == "image" else f"{name}_"
        shape = ["N", count, f"{prefix}H", f"{prefix}W"]
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)

    model = helper.make_model(
        helper.make_graph(
            nodes,
            "tiny",
            [value("image", 3)],
            [value(layer, count) for layer, count in zip(layers, channels, strict=True)],
            initializers,
        ),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
    )
    if metadata:
        about = {
            "name": "tiny",
            "weights_sha256": digest.hexdigest(),
            "mean": [0.485, 0.456, 0.406],
            "std": [0.229, 0.224, 0.225],
            "color_order": "rgb",
            "layers": layers,
            "strides": [2 ** (level + 3) for level in range(len(layers))],
            "channels": list(channels),
        }
        helper.set_model_props(model, {"pyad_edge.backbone": json.dumps(about, sort_keys=True)})
    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString())


def three_levels() -> bytes:
    """A first layer at three sizes, up-sampled and added."""
    rng = np.random.default_rng(0)
    pool = np.eye(3, dtype=np.float32)[:, :, None, None] / 4 * np.ones((1, 1, 2, 2), np.float32)
    constants = {"pool": pool}
    nodes = [
        helper.make_node("Conv", ["image", "pool"], ["half"], strides=[2, 2]),
        helper.make_node("Conv", ["half", "pool"], ["quarter"], strides=[2, 2]),
    ]
    for n, source in enumerate(("image", "half", "quarter")):
        constants[f"w{n}"] = rng.normal(size=(1, 3, 1, 1)).astype(np.float32)
        constants[f"s{n}"] = np.array([1, 1, 2**n, 2**n], np.float32)
        nodes += [
            helper.make_node("Conv", [source, f"w{n}"], [f"c{n}"]),
            helper.make_node("Relu", [f"c{n}"], [f"r{n}"]),
            helper.make_node("Resize", [f"r{n}", "", f"s{n}"], [f"u{n}"], mode="linear"),
        ]
    nodes += [
        helper.make_node("Max", ["u0", "u1"], ["m"]),
        helper.make_node("Add", ["m", "u2"], ["out"]),
    ]
    graph = helper.make_graph(
        nodes,
        "levels",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 3, "H", "W"])],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, ["N", 1, "h", "w"])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    opset = [helper.make_opsetid("", OPSET)]
    model = helper.make_model(graph, opset_imports=opset, ir_version=IR_VERSION)
    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString())


def edit_model(model: bytes, **metadata: str) -> bytes:
    """The same network with other metadata entries (dots in names written as two underscores)."""
    proto = onnx.load_from_string(model)
    del proto.metadata_props[:]
    helper.set_model_props(proto, {key.replace("__", "."): v for key, v in metadata.items()})
    return bytes(proto.SerializeToString())
