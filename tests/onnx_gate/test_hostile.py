"""Networks that somebody made on purpose: refused before any native parser is called."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx_gate.one_node import model_of, network_of
from tiny_models import tiny_backbone

from pyad_edge.onnx_gate.check import check_network
from pyad_edge.onnx_gate.errors import GateError
from pyad_edge.onnx_gate.limits import MAX_FIELDS, MAX_NODES

node = helper.make_node


def refused(model: bytes | onnx.ModelProto, why: str) -> None:
    data = model if isinstance(model, bytes) else bytes(model.SerializeToString())
    with pytest.raises(GateError, match=why):
        check_network(data, input_shape=(1, 3, 32, 32))


def changed(change: Callable[[onnx.ModelProto], object]) -> onnx.ModelProto:
    model = onnx.load_from_string(tiny_backbone())
    change(model)
    return model


def test_the_network_itself_passes() -> None:
    found = check_network(tiny_backbone(), input_shape=(1, 3, 32, 48), outputs=("layer2", "layer3"))
    assert found.outputs == {"layer2": (1, 8, 4, 6), "layer3": (1, 16, 2, 3)}
    assert found.operators == {"Conv": 4, "Relu": 4}
    # Stem 4x16x24 of 3x3x3, then 8x8x12 of 4, 8x4x6 of 8, 16x2x3 of 8 channels.
    assert found.work == 9 * (1536 * 3 + 768 * 4 + 192 * 8 + 96 * 8)
    assert found.total == 2 * (1536 + 768 + 192 + 96)
    assert found.largest == 1536


def test_another_output_than_the_engine_names() -> None:
    with pytest.raises(GateError, match="no output 'layer9'; it offers layer2, layer3"):
        check_network(tiny_backbone(), input_shape=(1, 3, 32, 32), outputs=("layer9",))


def _external(model: onnx.ModelProto) -> None:
    tensor = model.graph.initializer[0]
    tensor.data_location = TensorProto.EXTERNAL
    tensor.ClearField("raw_data")
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", "../../../etc/passwd"


def _location_alone(model: onnx.ModelProto) -> None:
    model.graph.initializer[0].data_location = TensorProto.EXTERNAL


def test_weights_in_another_file() -> None:
    refused(changed(_external), "keeps weights in another file")
    refused(changed(_location_alone), "keeps weights in another file")


def test_graphs_inside_nodes() -> None:
    inner = helper.make_graph([node("Identity", ["x"], ["b"])], "inner", [], [])
    yes = numpy_helper.from_array(np.array(True), "yes")
    branch = node("If", ["yes"], ["y"], then_branch=inner, else_branch=inner)
    model = network_of([branch], ["y"])
    model.graph.initializer.append(yes)
    refused(model, "has a graph inside a node")
    for op, inputs in (("Loop", ["", "yes", "x"]), ("Scan", ["x"])):
        model = network_of([node(op, inputs, ["y"], body=inner, num_scan_inputs=1)], ["y"])
        model.graph.initializer.append(yes)
        refused(model, "has a graph inside a node")
    many = node("Relu", ["x"], ["y"])
    many.attribute.add(name="bodies", type=onnx.AttributeProto.GRAPHS).graphs.append(inner)
    refused(network_of([many], ["y"]), "has a graph inside a node")
    refused(network_of([node("If", ["x"], ["y"])], ["y"]), "If.* not in the list")


def test_functions_and_foreign_domains() -> None:
    function = helper.make_function(
        "own", "f", ["a"], ["b"], [node("Relu", ["a"], ["b"])], [helper.make_opsetid("", 17)]
    )
    refused(changed(lambda m: m.functions.append(function)), "defines functions of its own")
    refused(
        network_of([node("Relu", ["x"], ["y"], domain="com.microsoft")], ["y"]),
        "foreign domain 'com.microsoft'",
    )
    refused(
        changed(lambda m: m.opset_import.append(helper.make_opsetid("evil", 1))), "foreign domain"
    )
    refused(changed(lambda m: m.opset_import.append(helper.make_opsetid("ai.onnx", 17))), "2 vers")
    refused(changed(lambda m: m.ClearField("opset_import")), "names 0 versions")
    refused(changed(lambda m: setattr(m.opset_import[0], "version", 99)), "version 99")


@pytest.mark.parametrize(
    "op",
    ["RandomNormal", "RandomUniformLike", "Multinomial", "StringNormalizer", "NonZero", "LSTM"],
)
def test_operators_that_are_not_in_the_list(op: str) -> None:
    refused(model_of(op), rf"node 0 \({op}\) is an operator that is not in the list")


def test_other_things_that_a_file_may_carry() -> None:
    sparse = onnx.SparseTensorProto()
    refused(changed(lambda m: m.graph.sparse_initializer.append(sparse)), "sparse weights")
    refused(changed(lambda m: m.training_info.add()), "instructions for training")
    refused(changed(lambda m: m.graph.quantization_annotation.add()), "annotations of quantisation")
    refused(changed(lambda m: m.graph.node[0].attribute[0].ClearField("type")), "not what its type")
    text = helper.make_tensor("t", TensorProto.STRING, [1], [b"a"])
    refused(changed(lambda m: m.graph.initializer.append(text)), "texts for weights")
    refused(changed(lambda m: setattr(m.graph.node[0], "overload", "o")), "calls a function")


def test_names_that_clash_or_lead_nowhere() -> None:
    refused(network_of([node("Relu", ["z"], ["y"])], ["y"]), "takes 'z', which nothing before")
    refused(network_of([node("Relu", ["y"], ["y"])], ["y"]), "takes 'y', which nothing before")
    two = [node("Relu", ["x"], ["y"]), node("Relu", ["x"], ["y"])]
    refused(network_of(two, ["y"]), "makes 'y', which there is already")
    refused(network_of([node("Relu", ["x"], ["x"])], ["x"]), "makes 'x', which there is already")
    refused(network_of([node("Relu", ["x"], ["y"])], ["z"]), "output 'z' is made by nothing")
    cycle = [node("Relu", ["b"], ["a"]), node("Relu", ["a"], ["b"])]
    refused(network_of(cycle, ["b"]), "takes 'b', which nothing before")
    refused(changed(lambda m: m.graph.initializer.append(m.graph.initializer[0])), "two of its")
    refused(changed(lambda m: m.graph.input.append(m.graph.input[0])), "two of its inputs")
    again = node("Relu", ["x"], ["y"], alpha=1.0)
    again.attribute.append(again.attribute[0])
    refused(network_of([again], ["y"]), "has the attribute 'alpha' twice")


def _tensor(**fields: Any) -> onnx.ModelProto:
    def change(model: onnx.ModelProto) -> None:
        tensor = model.graph.initializer[0]
        for name, value in fields.items():
            if isinstance(value, list):
                tensor.ClearField(name)
                getattr(tensor, name).extend(value)
            else:
                setattr(tensor, name, value)

    return changed(change)


def test_weights_that_are_not_what_their_shape_says() -> None:
    refused(_tensor(dims=[4, 3, 3, 4]), "needs 144 numbers, but has 108")
    refused(_tensor(dims=[4, 3, 3, 2]), "needs 72 numbers, but has 108")
    refused(_tensor(dims=[-4, -3, 3, 3]), "impossible shape")
    refused(_tensor(dims=[2**40, 2**40]), "takes more than")
    refused(_tensor(dims=[1] * 9), "impossible shape")
    refused(_tensor(data_type=99), "data type 99")
    refused(_tensor(float_data=[1.0]), "numbers in raw_data and float_data")
    refused(_tensor(raw_data=bytes(431)), "needs 108 numbers")
    for value in (np.nan, np.inf, -np.inf):
        raw = np.zeros(108, np.float32)
        raw[-1] = value
        refused(_tensor(raw_data=raw.tobytes()), "holds NaN or infinity")
    half = np.full(108, np.inf, np.float16)
    refused(_tensor(raw_data=half.tobytes(), data_type=10), "holds NaN or infinity")
    brain = np.full(108, 0x7FC0, np.uint16)
    refused(_tensor(raw_data=brain.tobytes(), data_type=16), "holds NaN or infinity")
    small = helper.make_tensor("w9", TensorProto.INT32, [2], [1, 2])
    small.data_type = TensorProto.UINT8
    small.int32_data[1] = 256
    refused(changed(lambda m: m.graph.initializer.append(small)), "beyond its type uint8")


@pytest.mark.parametrize(
    ("nodes", "weights", "why"),
    [
        (
            [node("Expand", ["x", "s"], ["y"])],
            {"s": np.array([2**31, 3, 32, 32])},
            "makes a value of shape",
        ),
        (
            [node("ConstantOfShape", ["s"], ["c"]), node("Shape", ["c"], ["y"])],
            {"s": np.array([2**16, 2**16])},
            "makes a value of shape",
        ),
        ([node("Tile", ["x", "s"], ["y"])], {"s": np.array([1, 2**20, 2**20, 1])}, "of shape"),
        (
            [node("Resize", ["x", "", "s"], ["y"])],
            {"s": np.array([1, 1, 1e5, 1e5], np.float32)},
            "makes a value of shape",
        ),
        (
            [node("Pad", ["x", "s"], ["y"])],
            {"s": np.array([0, 0, 2**40, 0, 0, 0, 0, 0])},
            "makes a value of shape",
        ),
        (
            [node("Range", ["a", "b", "c"], ["y"])],
            {"a": np.array(0), "b": np.array(2**62), "c": np.array(1)},
            "makes a value of shape",
        ),
        (
            [node("Reshape", ["x", "s"], ["r"]), node("Transpose", ["r"], ["t"]),
             node("Mul", ["r", "t"], ["m"]), node("Reshape", ["m", "s"], ["q"]),
             node("Transpose", ["q"], ["u"]), node("Mul", ["q", "u"], ["y"])],
            {"s": np.array([-1, 1])},
            "makes a value of shape",
        ),
        (
            [node("Conv", ["x", "w"], ["y"], pads=[2**20] * 4)],
            {"w": np.zeros((1, 3, 1, 1), np.float32)},
            "makes a value of shape",
        ),
        (
            [node("MaxPool", ["x"], ["y"], kernel_shape=[12000, 12000], pads=[12000] * 4)],
            {},
            "multiplications",
        ),
        (
            [node("ReduceMax", ["x"], ["m"], keepdims=0), node("Cast", ["m"], ["i"], to=7),
             node("Reshape", ["i", "one"], ["s"]), node("ConstantOfShape", ["s"], ["y"])],
            {"one": np.array([1])},
            "depends on the picture",
        ),
    ],
)  # fmt: skip
def test_small_files_that_would_need_much_memory_or_time(
    nodes: list[onnx.NodeProto], weights: dict[str, Any], why: str
) -> None:
    model = network_of(nodes, ["y"], weights)
    assert len(model.SerializeToString()) < 600
    refused(model, why)


def test_values_that_only_together_need_much_memory() -> None:
    nodes = [node("Expand", ["x", "s"], ["v0"])]
    nodes += [node("Relu", [f"v{n}"], [f"v{n + 1}"]) for n in range(40)]
    weights = {"s": np.array([2**17, 3, 32, 32])}  # 2^28.6 numbers each
    refused(network_of(nodes, ["v40"], weights), "needs more than 8,589,934,592 numbers")


def test_too_many_of_anything() -> None:
    nodes = [node("Relu", ["x"], [f"y{n}"]) for n in range(MAX_NODES + 1)]
    refused(network_of(nodes, ["y0"]), "20,001 nodes; at most 20,000")
    refused(b"\x10\x00" * 2, "has 'producer_name' of another type")
    refused(network_of([node("Sum", ["x"] * 65, ["y"])], ["y"]), "65 inputs")
    refused(network_of([node("Relu", ["x"], ["y" * 1025])], ["y"]), "1,025 bytes of 'output'")


def test_reading_ends_after_so_many_fields() -> None:
    one = bytes([14 << 3 | 2, 0])  # an empty entry of the metadata
    refused(one * (MAX_FIELDS + 1), f"more than {MAX_FIELDS:,} fields")


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "no ONNX file"),
        (b"\x3a", "cut off inside a number"),
        (b"\x3a\x05\x00", "longer than what is left"),
        (b"\x3a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "longer than what is left"),
        (b"\x08" + b"\xff" * 10 + b"\x01", "longer than 64 bits"),
        (b"\x08" + b"\xff" * 9 + b"\x02", "longer than it needs to be"),
        (b"\x08\x80\x00", "longer than it needs to be"),
        (b"\x0b\x0c", "wire type 3"),
        (b"\x00\x00", "impossible number"),
        (b"\xff\xff\xff\xff\xff\x7f\x00", "impossible number"),
        (b"\x08\x08\x08\x08", "'ir_version' twice"),
        (b"\x3a\x00\x3a\x00", "'graph' twice"),
        (b"\x1a\x02\xff\xfe", "no UTF-8"),
        (b"\x9a\x06\x00", "field 99 that is not known"),
        (b"\x08\x08\x3a\x09\x2a\x07\x10\x81\x80\x80\x80\x10\x00", "value 4294967297|impossible"),
    ],
)
def test_bytes_that_are_no_message(data: bytes, why: str) -> None:
    refused(data, why)


def test_every_truncation_and_flip_ends_in_words() -> None:
    """Nothing but GateError comes out; what passes is another network, which SHA-256 catches."""
    data = tiny_backbone((2,))
    damaged = [data[:length] for length in range(len(data))]
    for place in range(0, len(data), 3):
        for mask in (0x01, 0x80):
            damaged.append(data[:place] + bytes([data[place] ^ mask]) + data[place + 1 :])
    refusals = 0
    for each in damaged:
        with contextlib.suppress(GateError):
            check_network(each, input_shape=(1, 3, 32, 32))
            continue
        refusals += 1
    assert len(data) < refusals < len(damaged)
