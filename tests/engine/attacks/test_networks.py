"""Engines whose every hash is right and whose network is hostile: no native parser is called."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from command_line import call
from engine.attacks.spies import Spies, native_parsers
from engine_factory import engine_bytes, ensemble_engine, refined, small_engine
from onnx import helper
from onnx_gate.one_node import network_of
from tiny_models import tiny_backbone

from pyad_edge import BackendError, EngineError, Runtime, read_engine
from pyad_edge.opening import build_pipeline

node = helper.make_node


@pytest.fixture
def spies(monkeypatch: pytest.MonkeyPatch) -> Spies:
    return native_parsers(monkeypatch)


def hostile() -> Iterator[tuple[str, bytes, str]]:
    good = tiny_backbone()

    def changed(**fields: Any) -> bytes:
        model = onnx.load_from_string(good)
        for name, value in fields.items():
            setattr(model.graph.initializer[0], name, value)
        return bytes(model.SerializeToString())

    yield "no ONNX at all", b"ONNX", "it is no ONNX file|longer than|wire type|cut off|field"
    yield "cut off", good[:-400], "longer than what is left"
    yield "external data", changed(data_location=1), "keeps weights in another file"
    yield "NaN weights", changed(raw_data=np.full(108, np.nan, np.float32).tobytes()), "NaN or inf"
    inner = helper.make_graph([node("Identity", ["image"], ["b"])], "inner", [], [])
    model = onnx.load_from_string(good)
    model.graph.node.append(node("If", ["image"], ["z"], then_branch=inner, else_branch=inner))
    yield "control flow", bytes(model.SerializeToString()), "has a graph inside a node"
    model = onnx.load_from_string(good)
    model.graph.node.append(node("Fused", ["image"], ["z"], domain="com.microsoft"))
    yield "custom domain", bytes(model.SerializeToString()), "foreign domain 'com.microsoft'"
    model = onnx.load_from_string(good)
    model.graph.node.append(node("RandomNormalLike", ["image"], ["z"]))
    yield "random numbers", bytes(model.SerializeToString()), "is not in the list|not in the list"
    bomb = network_of(
        [node("Expand", ["x", "s"], ["layer2"]), node("Relu", ["layer2"], ["layer3"])],
        ["layer2", "layer3"],
        {"s": np.array([2**30, 3, 32, 32])},
    )
    yield "a bomb of 200 bytes", bytes(bomb.SerializeToString()), "makes a value of shape"
    yield "other outputs", tiny_backbone((8,)), "has no output 'layer3'"
    two = onnx.load_from_string(good)
    two.graph.input.append(helper.make_tensor_value_info("more", 1, [1]))
    yield "two inputs", bytes(two.SerializeToString()), "takes 2 inputs instead of one"


CASES = list(hostile())


@pytest.mark.parametrize(("what", "network", "why"), CASES, ids=[case[0] for case in CASES])
@pytest.mark.parametrize("backend", ["onnxruntime", "openvino", "torch", "tensorrt"])
def test_no_backend_sees_a_hostile_network(
    tmp_path: Path, spies: Spies, what: str, network: bytes, why: str, backend: str
) -> None:
    path = tmp_path / "part.pyad"
    path.write_bytes(engine_bytes(*small_engine(onnx=network)))
    with pytest.raises(EngineError, match=rf"'network/onnx' is refused: .*({why})"):
        Runtime(path, backend=backend)
    assert spies.calls == []


def test_members_and_refinements_are_judged_as_well(tmp_path: Path, spies: Spies) -> None:
    good, evil = tiny_backbone(), CASES[2][1]
    path = tmp_path / "part.pyad"
    path.write_bytes(engine_bytes(*ensemble_engine(onnx=(good, evil))))
    with pytest.raises(EngineError, match="'members/1/network/onnx' is refused: it keeps weights"):
        Runtime(path)
    path.write_bytes(engine_bytes(*refined(*small_engine(onnx=good), onnx=evil)))
    with pytest.raises(EngineError, match=r"'refinement/onnx' is refused"):
        build_pipeline(read_engine(path))
    assert spies.calls == []


def test_commands_refuse_it_in_a_sentence(tmp_path: Path, spies: Spies) -> None:
    path = tmp_path / "part.pyad"
    path.write_bytes(engine_bytes(*small_engine(onnx=CASES[5][1])))
    for command in (("verify", path), ("run", path, "--source", tmp_path), ("bench", path)):
        answer = call(*command)
        assert answer.code == 4
        assert "foreign domain" in answer.sentence.replace("\n", " ")
    assert spies.calls == []


def test_the_spies_see_what_a_good_engine_calls(tmp_path: Path, spies: Spies) -> None:
    with pytest.raises(BackendError, match="InferenceSession was called"):
        Runtime(Path(__file__).resolve().parents[2] / "engines" / "v4_grad.pyad")
    assert spies.calls == ["onnxruntime.InferenceSession"]
