"""Small engines of every head and variant, their ONNX graphs, and both side by side."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import onnx
import onnxruntime
from engine_factory import Tensors, small_engine
from format_4_engines import calibrated, made
from numpy.typing import NDArray
from onnx import TensorProto, helper
from tiny_models import tiny_backbone

from pyad_edge import Runtime
from pyad_edge.engine import read_engine
from pyad_edge.engine_manifest import Aggregation, CorrelationLevel, ManifestDraft
from pyad_edge.export.targets.onnx_pipeline import PipelineSettings, build_pipeline

__all__ = [
    "ENGINES",
    "OPERATORS",
    "Graph",
    "assert_agree",
    "draft_of",
    "graph_of",
    "opened",
    "patchcore",
    "random_frames",
    "raw_score",
    "with_network",
    "write",
]

Made = tuple[ManifestDraft, Tensors]

# What graphs are made of, beside the operators of an engine's own network.
OPERATORS = frozenset(
    {
        "Abs", "Add", "And", "ArgMax", "ArgMin", "Cast", "Concat", "Conv", "Div", "Exp", "Gather",
        "GatherElements", "GatherND", "Gemm", "Greater", "GreaterOrEqual", "Identity", "Less",
        "LessOrEqual", "Log", "MatMul", "Max", "Mul", "Neg", "Pad", "ReduceMax", "ReduceMin",
        "ReduceSum", "Reshape", "Slice", "Softmax", "Sqrt", "Sub", "Tanh", "Transpose",
        "Unsqueeze", "Where",
    }
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Graph:
    """A graph in ONNX Runtime.

    Attributes:
        model: the graph.
        session: that runs it.
    """

    model: Any
    session: Any

    def run(self, frames: NDArray[Any], **inputs: Any) -> dict[str, NDArray[Any]]:
        """Outputs by their names."""
        names = [output.name for output in self.session.get_outputs()]
        found = self.session.run(names, {"frame": frames, **inputs})
        return dict(zip(names, found, strict=True))


def patchcore(
    *,
    seed: int = 4,
    rows: int = 70,
    variant: str = "official",
    dims: tuple[int, int] = (8, 8),
    scoring: str = "reweighted",
    channels: tuple[int, ...] = (8, 16),
    **changes: Any,
) -> Made:
    """A memory bank behind the tiny backbone; ``dims`` are pre_dim and target_dim."""
    names = tuple(f"layer{level}" for level in range(2, 2 + len(channels)))
    draft, tensors = small_engine(seed=seed, rows=rows, onnx=tiny_backbone(channels, seed))
    official = variant == "official"
    pre, target = dims if official else (None, None)
    aggregation = Aggregation(variant=variant, pre_dim=pre, target_dim=target)
    D = dims[1] if official else sum(channels)
    rng = np.random.default_rng(seed)
    tensors["bank/features"] = np.abs(rng.standard_normal((rows, D), dtype=np.float32))
    changes |= {
        "head": draft.memory_bank.model_copy(
            update={"aggregation": aggregation, "scoring": scoring}
        ),
        "backbone": draft.backbone.model_copy(update={"outputs": names}),
    }
    return draft.model_copy(update=changes), tensors


def with_network(engine: Made, change: Callable[[Any], None], name: str = "network/onnx") -> Made:
    """The same engine after a change of one of its networks' ONNX graphs, in place."""
    draft, tensors = engine
    model = onnx.load_from_string(bytes(tensors[name]))
    change(model)
    content = model.SerializeToString()
    field = "refinement" if name.startswith("refinement") else "backbone"
    digest = hashlib.sha256(content).hexdigest()
    part = getattr(draft, field).model_copy(update={"onnx_sha256": digest})
    changed = {**tensors, name: np.frombuffer(content, np.uint8)}
    return draft.model_copy(update={field: part}), changed


def _changed_head(name: str, **changes: Any) -> Made:
    draft, tensors = made(name, 4)
    return draft.model_copy(update={"head": draft.head.model_copy(update=changes)}), tensors


def _refined(**changes: Any) -> Made:
    draft, tensors = made("refined", 4)
    assert draft.refinement is not None
    refinement = draft.refinement.model_copy(update=changes)
    return draft.model_copy(update={"refinement": refinement}), tensors


def _fod(score: str) -> Made:
    """One score of FOD alone, of errors, or of divergences with the picture's own keys."""
    draft, tensors = made("fod", 4)
    kept = {name: t for name, t in tensors.items() if not name.startswith("reference/")}
    levels, outputs = [], []
    for k, grid in enumerate(((4, 4), (2, 2))):
        first = len(outputs)
        if score == "rec":
            outputs.append(f"errors_{k}")
            own = {"errors": first, "queries": None, "sigmas": None, "keys": None}
        else:
            outputs += [f"queries_{k}", f"sigmas_{k}", f"keys_{k}"]
            own = {"errors": None, "queries": first, "sigmas": first + 1, "keys": first + 2}
        levels.append(CorrelationLevel(grid=grid, **own))  # type: ignore[arg-type]
    head = draft.head.model_copy(update={"score": score, "levels": tuple(levels)})
    backbone = draft.backbone.model_copy(update={"outputs": tuple(outputs)})
    engine = draft.model_copy(update={"head": head, "backbone": backbone}), kept

    def add_keys(model: Any) -> None:
        for k in range(2):
            model.graph.node.append(helper.make_node("Neg", [f"queries_{k}"], [f"keys_{k}"]))
            shape = ["N", 2, f"keys_{k}_L", 3]
            value = helper.make_tensor_value_info(f"keys_{k}", TensorProto.FLOAT, shape)
            model.graph.output.append(value)

    return with_network(engine, add_keys)


ENGINES: Mapping[str, Callable[[], Made]] = MappingProxyType(
    {
        "patchcore": patchcore,
        "patchcore maximum": lambda: patchcore(scoring="maximum"),
        "patchcore average": lambda: patchcore(variant="average"),
        "patchcore odd dims": lambda: patchcore(channels=(8, 12, 7), dims=(7, 10)),
        "reconpatch": lambda: made("reconpatch", 4),
        "ensemble": lambda: made("ensemble", 4),
        "recontrast": lambda: made("recontrast", 4),
        "recontrast mean": lambda: _changed_head("recontrast", score="mean", align_corners=False),
        "grad": lambda: made("grad", 4),
        "fod": lambda: made("fod", 4),
        "fod rec": lambda: _fod("rec"),
        "fod div": lambda: _fod("div"),
        "refined": lambda: made("refined", 4),
        "refined keep": lambda: _refined(score="keep", sigma=2.0),
    }
)


def draft_of(name: str) -> Made:
    """One of ``ENGINES``, not yet calibrated."""
    return ENGINES[name]()


def write(engine: Made, folder: Path) -> Path:
    """Calibrate and write an engine."""
    return calibrated(*engine, folder / "part.pyad")


def graph_of(path: Path, **settings: Any) -> Graph:
    """The graph of an engine file in ONNX Runtime."""
    model = build_pipeline(read_engine(path), settings=PipelineSettings(**settings))
    return opened(model)


def opened(model: Any) -> Graph:
    """A graph in ONNX Runtime, on one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3  # else it says that the threshold may be overridden
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return Graph(model, session)


def random_frames(
    count: int,
    size: tuple[int, int] = (41, 53),
    *,
    seed: int = 0,
    channels: tuple[int, ...] = (3,),
    dtype: Any = np.uint8,
    levels: int = 256,
) -> NDArray[Any]:
    """Noise of growing contrast."""
    values = np.random.default_rng(seed).random((count, *size, *channels))
    contrast = np.linspace(1.0, 0.3, count).reshape(-1, *[1] * (values.ndim - 1))
    return np.asarray(values * contrast * (levels - 1), dtype)


def assert_agree(
    runtime: Runtime, found: Mapping[str, NDArray[Any]], frames: Sequence[NDArray[Any]]
) -> None:
    """The graph's outputs against the runtime's results."""
    assert len(found["score"]) == len(frames)
    for n, frame in enumerate(frames):
        result = runtime.infer(frame)
        scale = max(abs(result.score), raw_score(runtime))
        assert abs(float(found["score"][n]) - result.score) <= 1e-5 * scale
        assert found["anomaly_map"][n].shape == result.anomaly_map.shape
        reach = float(np.abs(result.anomaly_map).max())
        np.testing.assert_allclose(
            found["anomaly_map"][n], result.anomaly_map, rtol=0, atol=1e-5 * reach
        )
        assert ("OK", "NG", "FAULT")[int(found["verdict"][n])] == result.verdict.value
        assert float(found["p_value"][n]) == np.float32(result.p_value)


def raw_score(runtime: Runtime) -> float:
    """What an ensemble's scores are measured against: the distance from raw scores of zero."""
    fusion = runtime.engine.manifest.fusion
    if fusion is None:
        return 0.0
    return float(np.mean(np.abs(fusion.median) / (fusion.beta * np.asarray(fusion.mad))))
