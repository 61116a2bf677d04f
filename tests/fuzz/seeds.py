"""Writes the seeds in ``corpus``: small files of every kind that the targets accept.

python tests/fuzz/seeds.py
"""

from __future__ import annotations

import struct
import sys
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from engine_factory import (
    Tensors,
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

from pyad_edge.engine_manifest import IndexErrors, IvfPqIndex, ManifestDraft, Tiling
from pyad_edge.heads.ivfpq_layout import IvfPqLayout
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


def tiled_engine() -> tuple[ManifestDraft, Tensors]:
    """The declared engine with the smallest frames, tiles and mask: small files are fuzzed fast."""
    draft, tensors = declared_engine()
    assert draft.input is not None
    tensors["golden/frames"] = tensors["golden/frames"][:, :8, :16]
    tensors["input/mask"] = tensors["input/mask"][60:72, 4:20]
    tiling = Tiling(size=(8, 8), overlap=(2, 2), align=(2, 2))
    spec = draft.input.model_copy(update={"tiling": tiling, "frame_size": (12, 16)})
    return draft.model_copy(update={"input": spec}), tensors


def indexed_engine() -> tuple[ManifestDraft, Tensors]:
    """The small engine with an index, laid out as faiss writes one; its codes mean nothing."""
    draft, tensors = small_engine()
    rows, dimensions = tensors["bank/features"].shape
    lists, books = 2, 16
    index = IvfPqLayout(M=rows, D=dimensions, nlist=lists, m=2, nbits=4)
    head, codes, ends = index._sections(struct.pack("<Q", 1))
    data = head + bytes(4 * lists * dimensions) + codes + bytes(4 * books * dimensions) + ends
    data += struct.pack("<QQ", 2, rows - 2)
    for ids in (range(2), range(2, rows)):
        data += bytes(index.code_size * len(ids)) + struct.pack(f"<{len(ids)}q", *ids)
    assert len(data) == index.size
    errors = IndexErrors(
        pictures=2,
        patches=32,
        recall_at_1=0.5,
        patch_mean=0.1,
        patch_max=0.2,
        image_mean=0.1,
        image_max=0.2,
        exact_searches=0,
    )
    settings = IvfPqIndex(
        type="faiss_ivfpq",
        faiss="1.9.0",
        nlist=lists,
        m=2,
        nbits=4,
        nprobe=1,
        candidates=4,
        errors=errors,
    )
    tensors["index/faiss"] = np.frombuffer(data, np.uint8)
    return draft.model_copy(update={"index": settings}), tensors


def engines() -> dict[str, bytes]:
    """An engine of each method and format."""
    made = {
        "patchcore": small_engine(),
        "declared": tiled_engine(),
        "indexed": indexed_engine(),
        "reconpatch": reconpatch_engine(),
        "ensemble": ensemble_engine(),
        "recontrast": recontrast_engine(),
        "grad": grad_engine(),
        "fod": fod_engine(),
        "refined": refined(*small_engine()),
        "refined_score": refined(*small_engine(), score="maximum"),
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
