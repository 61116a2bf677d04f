"""A frame that cannot be judged is never OK, nor is any against a broken threshold."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import helper, numpy_helper
from pipeline_graphs import (
    ENGINES,
    assert_agree,
    draft_of,
    graph_of,
    patchcore,
    random_frames,
    with_network,
    write,
)
from pipeline_inputs import SIZE, declared

from pyad_edge import Runtime
from pyad_edge.errors import BackendError, DataError
from pyad_edge.export.targets.onnx_pipeline.decision import FAULT, NG, OK, float32_limit

WHITE = np.full((41, 53, 3), 255, np.uint8)


def breaking(kind: str) -> Callable[[Any], None]:
    """Make a network's input NaN, or infinite, where its mean is above 2: of white frames alone."""

    def change(model: Any) -> None:
        graph = model.graph
        constants = {"limit": 2.0, "steep": 200.0}
        for name, value in constants.items():
            graph.initializer.append(numpy_helper.from_array(np.array(value, np.float32), name))
        for node in graph.node:
            for n, name in enumerate(node.input):
                if name == "image":
                    node.input[n] = "broken"
        nodes = [
            helper.make_node("ReduceMean", ["image"], ["level"], axes=[1, 2, 3], keepdims=1),
            helper.make_node("Sub", ["limit", "level"], ["below"]),
        ]
        if kind == "nan":
            nodes.append(helper.make_node("Sqrt", ["below"], ["added"]))
        else:
            nodes += [
                helper.make_node("Neg", ["below"], ["above"]),
                helper.make_node("Mul", ["above", "steep"], ["power"]),
                helper.make_node("Exp", ["power"], ["added"]),
            ]
        nodes.append(helper.make_node("Add", ["image", "added"], ["broken"]))
        kept = list(graph.node)
        del graph.node[:]
        graph.node.extend([*nodes, *kept])

    return change


def assert_fault(path: Path, bad: np.ndarray, **settings: Any) -> None:
    """Of three frames the second is one that the runtime refuses; the others are judged."""
    runtime = Runtime(path)
    frames = random_frames(3, bad.shape[:2], channels=bad.shape[2:], dtype=bad.dtype)
    frames[1] = bad
    with pytest.raises((BackendError, DataError)):
        runtime.infer(bad)
    found = graph_of(path, batch=3, **settings).run(frames)
    assert found["verdict"][1] == FAULT
    assert np.isnan(found["score"][1])
    assert np.isnan(found["p_value"][1])
    rest = {name: values[[0, 2]] for name, values in found.items()}
    assert_agree(runtime, rest, frames[[0, 2]])


@pytest.mark.parametrize(
    ("name", "kind"),
    [(name, "nan") for name in ENGINES if name != "ensemble"]
    + [("patchcore", "inf"), ("recontrast", "inf"), ("fod", "inf")],
)
def test_a_network_that_fails_makes_a_fault(name: str, kind: str, tmp_path: Path) -> None:
    path = write(with_network(draft_of(name), breaking(kind)), tmp_path)
    assert_fault(path, WHITE, frame_size=(41, 53))


def test_one_member_that_fails_makes_a_fault(tmp_path: Path) -> None:
    path = write(with_network(draft_of("ensemble"), breaking("nan")), tmp_path)
    assert_fault(path, WHITE, frame_size=(41, 53))


def shifting(output: str, source: str, by: float) -> Callable[[Any], None]:
    """Add to an output where a picture is bright everywhere: ``by`` times its darkest value."""

    def change(model: Any) -> None:
        graph = model.graph
        (last,) = (node for node in graph.node if output in node.output)
        last.output[0] = "raw"
        graph.initializer.append(numpy_helper.from_array(np.array(by, np.float32), "by"))
        graph.node.extend(
            [
                helper.make_node("ReduceMin", [source], ["dark"], axes=[1, 2, 3], keepdims=1),
                helper.make_node("Relu", ["dark"], ["bright"]),
                helper.make_node("Mul", ["bright", "by"], ["shift"]),
                helper.make_node("Add", ["raw", "shift"], [output]),
            ]
        )

    return change


def test_score_maps_below_zero_are_faults(tmp_path: Path) -> None:
    engine = with_network(draft_of("grad"), shifting("score_map", "image", -100.0))
    assert_fault(write(engine, tmp_path), WHITE, frame_size=(41, 53))


def test_refined_maps_beyond_one_are_faults(tmp_path: Path) -> None:
    engine = with_network(draft_of("refined"), shifting("map", "input", 100.0), "refinement/onnx")
    assert_fault(write(engine, tmp_path), WHITE, frame_size=(41, 53))


def test_values_beyond_the_formats_bits_are_faults(tmp_path: Path) -> None:
    path = write(declared(patchcore(), "Mono12", "resize"), tmp_path)
    frame = random_frames(1, SIZE, channels=(), dtype=np.uint16, levels=4096)[0]
    frame[7, 11] = 4096
    assert_fault(path, frame)


@pytest.mark.parametrize("threshold", [np.nan, np.inf, -np.inf])
def test_a_threshold_that_is_not_finite_judges_nothing(threshold: float, tmp_path: Path) -> None:
    path = write(patchcore(), tmp_path)
    found = graph_of(path, frame_size=(41, 53), batch=2).run(
        random_frames(2), threshold=np.array(threshold, np.float32)
    )
    assert found["verdict"].tolist() == [FAULT, FAULT]
    assert np.isfinite(found["score"]).all()


def test_a_score_at_the_threshold_is_ok_and_just_above_it_is_not(tmp_path: Path) -> None:
    path = write(patchcore(), tmp_path)
    graph, frames = graph_of(path, frame_size=(41, 53)), random_frames(1)
    score = graph.run(frames)["score"][0]
    below = np.nextafter(score, np.float32(0))
    assert graph.run(frames, threshold=np.array(score))["verdict"].tolist() == [OK]
    assert graph.run(frames, threshold=np.array(below))["verdict"].tolist() == [NG]


@pytest.mark.parametrize("value", [0.1, 1.0, -0.3, 7.123456789, 1e-40, 3e38])
def test_the_default_threshold_parts_float32_scores_as_its_float64_value_does(
    value: float,
) -> None:
    limit = float32_limit(value)
    above = np.nextafter(limit, np.float32(np.inf))
    assert float(limit) <= value < float(above)
