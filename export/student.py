"""The student network `edge18`: its shape, its torch form for training and its ONNX form.

`edge18` answers like ImageNet ResNet-18 cut after layer3, with a third of the work: a half-width
residual net of 3x3 convolutions and, per level, a 1x1 head that speaks the teacher's channels.

    image (N, 3, H, W) ─ stem /2 ─ max pool /4 ─ block(32) ─ 2 blocks(96) /8 ─┬─ 2 blocks(160) /16
                                             layer2 (N, 128, ⌈H/8⌉, ⌈W/8⌉) ◄──┘      │
                                             layer3 (N, 256, ⌈H/16⌉, ⌈W/16⌉) ◄───────┘

The last block has a single convolution. Every strided layer keeps ⌈size / 2⌉ positions, as
ResNet-18 does.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import onnx
    import torch

Weights = dict[str, NDArray[np.float32]]

METADATA_KEY = "pyad_edge.backbone"
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)
LAYERS = ("layer2", "layer3")
STRIDES = (8, 16)
CHANNELS = (128, 256)
LICENSE_NOTE = (
    "Trained from scratch to answer like an ImageNet-1k ResNet-18 on 1,000 ImageNet photographs "
    "(research terms) and generated textures. Holds neither the pictures nor the teacher's weights."
)


@dataclass(frozen=True)
class Conv:
    """One convolution, batch norm folded: name, channels in and out, kernel side, stride."""

    name: str
    cin: int
    cout: int
    kernel: int
    stride: int


@dataclass(frozen=True)
class Block:
    """A residual block: relu(convs(x) + shortcut(x)); no shortcut convolution means identity."""

    convs: tuple[Conv, ...]
    shortcut: Conv | None = None


STEM = Conv("stem", 3, 32, 5, 2)
BLOCKS = (
    Block((Conv("layer1.0.conv1", 32, 32, 3, 1), Conv("layer1.0.conv2", 32, 32, 3, 1))),
    Block(
        (Conv("layer2.0.conv1", 32, 96, 3, 2), Conv("layer2.0.conv2", 96, 96, 3, 1)),
        Conv("layer2.0.shortcut", 32, 96, 1, 2),
    ),
    Block((Conv("layer2.1.conv1", 96, 96, 3, 1), Conv("layer2.1.conv2", 96, 96, 3, 1))),
    Block(
        (Conv("layer3.0.conv1", 96, 160, 3, 2), Conv("layer3.0.conv2", 160, 160, 3, 1)),
        Conv("layer3.0.shortcut", 96, 160, 1, 2),
    ),
    Block((Conv("layer3.1.conv1", 160, 160, 3, 1),)),
)
# The head of each level reads what the block with this index puts out.
HEADS = {2: Conv("layer2.head", 96, 128, 1, 1), 4: Conv("layer3.head", 160, 256, 1, 1)}


def torch_student() -> torch.nn.Module:
    """Builds the trainable form.

    Returns:
        A module whose forward maps (N, 3, H, W) float32 to two pre-activations, (N, 128, h, w) and
        (N, 256, h', w'). They are left before the last ReLU because the loss looks below zero; the
        feature is their ReLU.
    """
    import torch
    from torch import nn

    class Unit(nn.Sequential):  # type: ignore[misc]
        """A convolution without bias followed by batch norm."""

        def __init__(self, spec: Conv) -> None:
            padding = spec.kernel // 2
            super().__init__(
                nn.Conv2d(spec.cin, spec.cout, spec.kernel, spec.stride, padding, bias=False),
                nn.BatchNorm2d(spec.cout),
            )

    class Student(nn.Module):  # type: ignore[misc]
        """See the module's docstring."""

        def __init__(self) -> None:
            super().__init__()
            specs = [STEM]
            for block in BLOCKS:
                specs += [*block.convs, *([block.shortcut] if block.shortcut else [])]
            self.units = nn.ModuleDict({key(spec.name): Unit(spec) for spec in specs})
            self.heads = nn.ModuleDict(
                {key(s.name): nn.Conv2d(s.cin, s.cout, 1) for s in HEADS.values()}
            )

        def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            x = torch.relu(self.units[key(STEM.name)](image))
            x = nn.functional.max_pool2d(x, 3, 2, 1)
            outputs = []
            for index, block in enumerate(BLOCKS):
                skip = self.units[key(block.shortcut.name)](x) if block.shortcut else x
                for conv in block.convs[:-1]:
                    x = torch.relu(self.units[key(conv.name)](x))
                x = torch.relu(self.units[key(block.convs[-1].name)](x) + skip)
                if index in HEADS:
                    outputs.append(self.heads[key(HEADS[index].name)](x))
            return outputs[0], outputs[1]

    return Student()


def key(name: str) -> str:
    """Module names must not hold dots; ours follow ResNet-18 and do."""
    return name.replace(".", "_")


def fold(student: torch.nn.Module, scales: tuple[NDArray[np.float32], ...]) -> Weights:
    """Folds batch norm and the targets' scale into plain convolutions.

    The student is trained to give features divided by the teacher's deviation per channel; relu is
    positively homogeneous, so that deviation moves into the head's weights.

    Args:
        student: A module of `torch_student`.
        scales: Deviation per channel of layer2 and layer3: (128,) and (256,) float32.

    Returns:
        `<name>.weight` (O, I, k, k) and `<name>.bias` (O,), float32 holding float16 values: the
        rounding is far below the distillation error and lets the file compress to half its size.
    """
    state = {k: v.detach().double().cpu().numpy() for k, v in student.state_dict().items()}
    weights: Weights = {}
    specs = [STEM]
    for block in BLOCKS:
        specs += [*block.convs, *([block.shortcut] if block.shortcut else [])]
    for spec in specs:
        unit = f"units.{key(spec.name)}"
        gain = state[f"{unit}.1.weight"] / np.sqrt(state[f"{unit}.1.running_var"] + 1e-5)
        weights[f"{spec.name}.weight"] = state[f"{unit}.0.weight"] * gain[:, None, None, None]
        weights[f"{spec.name}.bias"] = (
            state[f"{unit}.1.bias"] - state[f"{unit}.1.running_mean"] * gain
        )
    for spec, scale in zip(HEADS.values(), scales, strict=True):
        head = f"heads.{key(spec.name)}"
        weights[f"{spec.name}.weight"] = state[f"{head}.weight"] * scale[:, None, None, None]
        weights[f"{spec.name}.bias"] = state[f"{head}.bias"] * scale
    return {k: v.astype(np.float16).astype(np.float32) for k, v in sorted(weights.items())}


def weights_sha256(weights: Weights) -> str:
    """Hash of the tensors' little-endian float32 bytes, in the order of their sorted names."""
    digest = hashlib.sha256()
    for name in sorted(weights):
        digest.update(np.ascontiguousarray(weights[name], "<f4").tobytes())
    return digest.hexdigest()


def metadata(weights: Weights) -> dict[str, Any]:
    """What the file says about itself under `METADATA_KEY`."""
    return {
        "name": "edge18",
        "weights_sha256": weights_sha256(weights),
        "mean": list(MEAN),
        "std": list(STD),
        "color_order": "rgb",
        "layers": list(LAYERS),
        "strides": list(STRIDES),
        "channels": list(CHANNELS),
        "license_note": LICENSE_NOTE,
    }


def onnx_student(weights: Weights) -> onnx.ModelProto:
    """Writes the network as ONNX: Conv, Relu, MaxPool and Add only, opset 17.

    Args:
        weights: Folded weights as given by `fold`.

    Returns:
        A checked model; input `image` (N, 3, H, W), outputs `layer2` and `layer3`, float32.
    """
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    nodes: list[onnx.NodeProto] = []

    def conv(spec: Conv, source: str) -> str:
        pad = spec.kernel // 2
        nodes.append(
            helper.make_node(
                "Conv", [source, f"{spec.name}.weight", f"{spec.name}.bias"], [spec.name],
                name=spec.name, kernel_shape=[spec.kernel] * 2, strides=[spec.stride] * 2,
                pads=[pad] * 4,
            )
        )  # fmt: skip
        return spec.name

    def relu(source: str, out: str | None = None) -> str:
        out = out or f"{source}.relu"
        nodes.append(helper.make_node("Relu", [source], [out], name=f"{source}.relu"))
        return out

    x = relu(conv(STEM, "image"))
    nodes.append(
        helper.make_node(
            "MaxPool", [x], ["pool"], name="pool", kernel_shape=[3, 3], strides=[2, 2],
            pads=[1] * 4,
        )
    )  # fmt: skip
    x = "pool"
    for index, block in enumerate(BLOCKS):
        skip = conv(block.shortcut, x) if block.shortcut else x
        for spec in block.convs[:-1]:
            x = relu(conv(spec, x))
        last = conv(block.convs[-1], x)
        nodes.append(helper.make_node("Add", [last, skip], [f"{last}.sum"], name=f"{last}.sum"))
        x = relu(f"{last}.sum")
        if index in HEADS:
            relu(conv(HEADS[index], x), HEADS[index].name.removesuffix(".head"))

    def value(name: str, channels: int, suffix: str) -> onnx.ValueInfoProto:
        dims = ["N", channels, f"H{suffix}", f"W{suffix}"]
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, dims)

    outputs = [value(n, c, f"_{s}") for n, c, s in zip(LAYERS, CHANNELS, STRIDES, strict=True)]
    tensors = [numpy_helper.from_array(weights[name], name) for name in sorted(weights)]
    graph = helper.make_graph(nodes, "edge18", [value("image", 3, "")], outputs, tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    model.producer_name = "pyad_edge"
    entry = model.metadata_props.add()
    entry.key, entry.value = METADATA_KEY, json.dumps(metadata(weights), sort_keys=True)
    onnx.checker.check_model(model, full_check=True)
    return model


def count_macs(model: onnx.ModelProto, *, height: int, width: int) -> int:
    """Multiply-accumulates of all convolutions for one (1, 3, height, width) picture."""
    import onnx

    fixed = onnx.ModelProto()
    fixed.CopyFrom(model)
    for dim, size in zip(
        fixed.graph.input[0].type.tensor_type.shape.dim, (1, 3, height, width), strict=True
    ):
        dim.Clear()
        dim.dim_value = size
    for output in fixed.graph.output:  # else the old symbols would stand against the new sizes
        output.type.tensor_type.ClearField("shape")
    inferred = onnx.shape_inference.infer_shapes(fixed, strict_mode=True).graph
    shapes = {
        v.name: [d.dim_value for d in v.type.tensor_type.shape.dim]
        for v in (*inferred.value_info, *inferred.output)
    }
    kernels = {t.name: list(t.dims) for t in inferred.initializer}
    return sum(
        int(np.prod(shapes[node.output[0]]) * np.prod(kernels[node.input[1]][1:]))
        for node in inferred.node
        if node.op_type == "Conv"
    )
