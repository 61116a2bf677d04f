"""Engines of format 4 that run: tiny networks, random banks, scores from their own pipelines."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from engine_factory import (
    Tensors,
    ensemble_engine,
    fod_engine,
    grad_engine,
    reconpatch_engine,
    recontrast_engine,
    refined,
    small_engine,
)
from onnx import TensorProto, helper, numpy_helper
from tiny_models import IR_VERSION, OPSET, tiny_backbone

from pyad_edge.engine import read_engine
from pyad_edge.engine_manifest import ManifestDraft
from pyad_edge.export.engine_writer import write_engine
from pyad_edge.opening import build_pipeline

__all__ = ["NAMES", "calibrated", "made", "runnable"]

NAMES = ("reconpatch", "ensemble", "recontrast", "refined", "grad", "fod")


def runnable(name: str, folder: Path, *, seed: int = 4) -> Path:
    """Write one of ``NAMES`` as ``v4_NAME.pyad``, calibrated on seven random pictures."""
    return calibrated(*made(name, seed), folder / f"v4_{name}.pyad", seed=seed)


def calibrated(draft: ManifestDraft, tensors: Tensors, path: Path, *, seed: int = 4) -> Path:
    """Write an engine whose network runs, with the scores of seven random pictures."""
    write_engine(path, manifest=draft, tensors=tensors)
    pipeline = build_pipeline(read_engine(path))
    rng = np.random.default_rng(seed)
    frames = tensors["golden/frames"]
    kind = (frames.shape[3],) if frames.ndim == 4 else ()
    levels = 256 if frames.dtype == np.uint8 else int(frames.max()) + 1
    size = draft.input.frame_size if draft.input is not None else None
    shape = (*(size or (40, 44)), *kind)
    pictures = [rng.integers(0, levels, shape).astype(frames.dtype) for _ in range(7)]
    scores = [pipeline.score([picture]) for picture in pictures]
    golden = [pipeline.own.score([frame]) for frame in tensors["golden/frames"]]
    tensors |= {
        "calibration/scores": np.sort([float(s.image[0]) for s in scores]).astype(np.float32),
        "calibration/map_maxima": np.sort([float(s.maps.max()) for s in scores]).astype(np.float32),
        "golden/scores": np.array([float(s.image[0]) for s in golden], np.float32),
    }
    return write_engine(path, manifest=draft, tensors=tensors)


def made(name: str, seed: int) -> tuple[ManifestDraft, Tensors]:
    """One of ``NAMES`` before it is calibrated."""
    if name == "reconpatch":
        return reconpatch_engine(seed=seed, onnx=tiny_backbone((8, 8), seed))
    if name == "ensemble":
        networks = (tiny_backbone((8, 16), seed), tiny_backbone((8, 12), seed + 1))
        return ensemble_engine(seed=seed, onnx=networks, grid=(4, 4))
    if name == "recontrast":
        return recontrast_engine(seed=seed, onnx=_encoder_decoder(seed))
    if name == "grad":
        return grad_engine(seed=seed, onnx=_scores(seed))
    if name == "fod":
        return fod_engine(seed=seed, onnx=_correlations(seed))
    made = small_engine(seed=seed, onnx=tiny_backbone((8, 16), seed))
    return refined(*made, score="maximum", onnx=_refinement(seed))


def _encoder_decoder(seed: int) -> bytes:
    """The tiny backbone and a 1x1 convolution of each level, as ``decoder2`` and ``decoder3``."""
    model = onnx.load_from_string(tiny_backbone((8, 16), seed))
    rng = np.random.default_rng(seed)
    for level, count in ((2, 8), (3, 16)):
        weight = rng.normal(0, count**-0.5, (count, count, 1, 1)).astype(np.float32)
        model.graph.initializer.append(numpy_helper.from_array(weight, f"decoder{level}.weight"))
        model.graph.node.append(
            helper.make_node(
                "Conv", [f"layer{level}", f"decoder{level}.weight"], [f"decoder{level}"]
            )
        )
        shape = ["N", count, f"decoder{level}_H", f"decoder{level}_W"]
        model.graph.output.append(
            helper.make_tensor_value_info(f"decoder{level}", TensorProto.FLOAT, shape)
        )
    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString())


def _scores(seed: int) -> bytes:
    """One level of the tiny backbone, a 1x1 convolution to one channel, and a softplus."""
    model = onnx.load_from_string(tiny_backbone((8,), seed))
    weight = np.random.default_rng(seed).normal(0, 1, (1, 8, 1, 1)).astype(np.float32)
    model.graph.initializer.append(numpy_helper.from_array(weight, "last.weight"))
    model.graph.node.append(helper.make_node("Conv", ["layer2", "last.weight"], ["logits"]))
    model.graph.node.append(helper.make_node("Softplus", ["logits"], ["score_map"]))
    shape = ["N", 1, "score_map_H", "score_map_W"]
    value = helper.make_tensor_value_info("score_map", TensorProto.FLOAT, shape)
    model.graph.output.append(value)
    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString())


def _correlations(seed: int) -> bytes:
    """Of each level of the tiny backbone: squares of one channel, two heads of three, spreads."""
    model = onnx.load_from_string(tiny_backbone((8, 16), seed))
    rng, graph = np.random.default_rng(seed), model.graph
    del graph.output[:]

    def constant(name: str, values: Any) -> str:
        graph.initializer.append(numpy_helper.from_array(np.array(values), name))
        return name

    def node(kind: str, inputs: list[str], output: str, **attributes: Any) -> str:
        graph.node.append(helper.make_node(kind, inputs, [output], **attributes))
        return output

    for k, (level, count, L) in enumerate((("layer2", 8, 16), ("layer3", 16, 4))):

        def channels(name: str, outputs: int, level: str = level, count: int = count) -> str:
            weight = rng.normal(0, count**-0.5, (outputs, count, 1, 1)).astype(np.float32)
            inputs = [level, constant(f"{name}.weight", weight)]
            return node("Conv", inputs, f"{name}.values")

        raw = channels(f"errors_{k}", 1)
        node("Mul", [raw, raw], f"errors_{k}")
        shape = constant(f"queries_{k}.shape", [-1, 2, 3, L])
        split = node("Reshape", [channels(f"queries_{k}", 6), shape], f"queries_{k}.split")
        node("Transpose", [split], f"queries_{k}", perm=[0, 1, 3, 2])
        share = node("Sigmoid", [channels(f"sigmas_{k}", 4)], f"sigmas_{k}.share")
        spread = node("Add", [share, constant(f"sigmas_{k}.least", np.float32(0.1))], f"s{k}")
        node("Reshape", [spread, constant(f"sigmas_{k}.shape", [-1, 2, 2, L])], f"sigmas_{k}")
        for name in ("errors", "queries", "sigmas"):
            sides = [f"{name}_{k}_{axis}" for axis in "CHW"]
            graph.output.append(
                helper.make_tensor_value_info(f"{name}_{k}", TensorProto.FLOAT, ["N", *sides])
            )
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def _refinement(seed: int) -> bytes:
    """One 3x3 convolution of map and picture, and a sigmoid."""
    weight = np.random.default_rng(seed).normal(0, 0.1, (1, 4, 3, 3)).astype(np.float32)
    nodes = [
        helper.make_node("Conv", ["input", "weight"], ["logit"], pads=[1, 1, 1, 1]),
        helper.make_node("Sigmoid", ["logit"], ["map"]),
    ]
    graph = helper.make_graph(
        nodes,
        "refinement",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, 4, "H", "W"])],
        [helper.make_tensor_value_info("map", TensorProto.FLOAT, [1, 1, "H", "W"])],
        [numpy_helper.from_array(weight, "weight")],
    )
    opset = [helper.make_opsetid("", OPSET)]
    model = helper.make_model(graph, opset_imports=opset, ir_version=IR_VERSION)
    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString())
