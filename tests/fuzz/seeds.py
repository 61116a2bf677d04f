"""Writes the seeds in ``corpus``: small files of every kind that the targets accept.

python tests/fuzz/seeds.py
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from engine_factory import (
    declared_engine,
    engine_bytes,
    ensemble_engine,
    fod_engine,
    grad_engine,
    reconpatch_engine,
    recontrast_engine,
    refined,
    small_engine,
)
from tiny_models import tiny_backbone

from pyad_edge.trust.statement import Statement, signature_bytes

CORPUS = Path(__file__).parent / "corpus"


def network(*nodes: onnx.NodeProto, output: str = "y", **weights: np.ndarray) -> bytes:
    """A model with the input ``x`` (1, 3, H, W) and one output."""
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        list(nodes),
        "g",
        [value("x", TensorProto.FLOAT, ["N", 3, "H", "W"])],
        [value(output, TensorProto.FLOAT, None)],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(model.SerializeToString(deterministic=True))


def networks() -> dict[str, bytes]:
    """A model of each family of operators."""
    node = helper.make_node
    whole = np.array
    kernel = np.zeros((2, 3, 3, 3), np.float32)
    return {
        "relu": network(node("Relu", ["x"], ["y"])),
        "conv": network(node("Conv", ["x", "w"], ["y"], pads=[1] * 4, strides=[2, 2]), w=kernel),
        "transposed": network(
            node("ConvTranspose", ["x", "w"], ["y"], strides=[2, 2], output_padding=[1, 1]),
            w=np.zeros((3, 2, 3, 3), np.float32),
        ),
        "pool": network(node("MaxPool", ["x"], ["y"], kernel_shape=[3, 3], ceil_mode=1)),
        "reshape": network(
            node("Shape", ["x"], ["s"]),
            node("Gather", ["s", "i"], ["n"]),
            node("Mul", ["n", "n"], ["m"]),
            node("Unsqueeze", ["m", "a"], ["u"]),
            node("Concat", ["u", "r"], ["c"], axis=0),
            node("Reshape", ["x", "c"], ["y"]),
            i=whole(2),
            a=whole([0]),
            r=whole([-1]),
        ),
        "resize": network(
            node("Constant", [], ["e"], value_floats=[1.0, 1.0, 2.0, 2.0]),
            node("Resize", ["x", "", "e"], ["y"], mode="linear"),
        ),
        "slices": network(
            node("Slice", ["x", "a", "b", "c"], ["s"]),
            node("Split", ["s"], ["p", "q"], axis=2),
            node("Pad", ["p", "d"], ["r"]),
            node("Transpose", ["r"], ["y"], perm=[0, 2, 3, 1]),
            a=whole([0]),
            b=whole([16]),
            c=whole([2]),
            d=whole([0, 0, 1, 1, 0, 0, 1, 1]),
        ),
        "reduce": network(
            node("ReduceMean", ["x"], ["m"], axes=[2, 3]),
            node("ConstantOfShape", ["s"], ["o"]),
            node("Expand", ["m", "t"], ["e"]),
            node("Where", ["z", "e", "o"], ["y"]),
            s=whole([2, 3, 4, 5]),
            t=whole([2, 3, 4, 5]),
            z=whole(True),
        ),
        "matrix": network(
            node("AveragePool", ["x"], ["p"], kernel_shape=[4, 4], strides=[4, 4]),
            node("Flatten", ["p"], ["f"]),
            node("Gemm", ["f", "w"], ["g"], transB=1),
            node("Softmax", ["g"], ["y"]),
            w=np.zeros((1, 192), np.float32),
        ),
    }


def engines() -> dict[str, bytes]:
    """An engine of each method and format."""
    made = {
        "patchcore": small_engine(),
        "declared": declared_engine(),
        "reconpatch": reconpatch_engine(),
        "ensemble": ensemble_engine(),
        "recontrast": recontrast_engine(),
        "grad": grad_engine(),
        "fod": fod_engine(),
        "refined": refined(*small_engine()),
        "network": small_engine(onnx=tiny_backbone((2, 2))),
    }
    return {name: engine_bytes(*parts) for name, parts in made.items()}


def write(folder: str, files: dict[str, bytes]) -> None:
    (CORPUS / folder).mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (CORPUS / folder / name).write_bytes(content)


if __name__ == "__main__":
    statement = Statement(engine_bytes=7, engine_sha256="0" * 64, product="bolt-m6", version=3)
    write("onnx", networks())
    write("engine", engines())
    write(
        "signature",
        {"one": signature_bytes(statement, key_id="1" * 64, signature=bytes(range(64)))},
    )
    begin = b'{"format":"pyad_edge versions","format_version":1,"highest":'
    write("versions", {"none": begin + b"{}}\n", "two": begin + b'{"bolt-m6":3,"nut":9}}\n'})
