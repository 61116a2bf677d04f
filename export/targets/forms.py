"""Two forms of one engine that can be compared: what takes frames and gives scores."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from pyad_edge.backends._common import thread_count
from pyad_edge.backends.onnxruntime_session import first_line, open_session
from pyad_edge.backends.openvino_core import load_openvino, openvino_core
from pyad_edge.errors import BackendError
from pyad_edge.pipeline import Pipeline
from pyad_edge.result import Verdict
from pyad_edge.runtime import Runtime

__all__ = [
    "OPENVINO_SETTINGS",
    "EngineForm",
    "Form",
    "Found",
    "NetworkForm",
    "OnnxForm",
    "OpenVinoForm",
    "sizes_of",
]

Frames = NDArray[np.uint8]

# What stands for fp32 in OpenVINO: by itself it takes bf16 where the processor has it.
OPENVINO_SETTINGS = {"INFERENCE_PRECISION_HINT": "f32"}
_VERDICTS = (Verdict.OK, Verdict.NG, Verdict.FAULT)  # as the graph numbers them


@dataclass(frozen=True, eq=False)
class Found:
    """What a form says of n frames.

    Attributes:
        scores: (n,) float64.
        maps: (n, H', W') float32.
        verdicts: n of them.
    """

    scores: NDArray[np.float64]
    maps: NDArray[np.float32]
    verdicts: tuple[Verdict, ...]


class Form(Protocol):
    """Something that inspects frames."""

    @property
    def about(self) -> dict[str, Any]:
        """What runs it, as plain data."""
        ...

    def inspect(self, frames: Frames) -> Found:
        """Inspect (N, H, W, 3) uint8 frames in the engine's order of colours, in one run.

        Raises:
            BackendError: if it fails.
        """
        ...


def sizes_of(batch: int | None) -> Iterator[int]:
    """How many frames each run takes: ``batch``; where any number will do, 1, 2, 3 in turn."""
    while True:
        yield from (1, 2, 3) if batch is None else (batch,)


class EngineForm:
    """The engine itself, frame by frame."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        backend = runtime.info["backend"]
        self.about = {
            "name": "pyad_edge",
            "backend": backend["name"],
            "version": backend["version"],
        }

    def inspect(self, frames: Frames) -> Found:
        """See :class:`Form`."""
        found = [self._runtime.infer(frame) for frame in frames]
        return Found(
            np.array([result.score for result in found]),
            np.stack([result.anomaly_map for result in found]),
            tuple(result.verdict for result in found),
        )


class NetworkForm:
    """The engine's pipeline around a network that another backend runs.

    Args:
        pipeline: with that backend.
        threshold: scores above it are NG.
    """

    def __init__(self, pipeline: Pipeline, threshold: float) -> None:
        self._pipeline, self._threshold = pipeline, threshold
        self.about = dict(pipeline.backend.info)

    def inspect(self, frames: Frames) -> Found:
        """See :class:`Form`."""
        found = self._pipeline.score(list(frames))
        scores = found.image.astype(np.float64)
        verdicts = tuple(Verdict.of(float(score), self._threshold, None) for score in scores)
        return Found(scores, found.maps, verdicts)


class OnnxForm:
    """The whole pipeline's graph in ONNX Runtime, its threshold left at the default."""

    def __init__(self, model: bytes, *, threads: int | None = None) -> None:
        import onnxruntime as ort

        self._session = open_session(model, threads=thread_count("export", threads))
        self.about = {"name": "onnxruntime", "version": str(ort.__version__)}

    def inspect(self, frames: Frames) -> Found:
        """See :class:`Form`."""
        try:
            scores, maps, verdicts = self._session.run(
                ["score", "anomaly_map", "verdict"], {"frame": frames}
            )
        except Exception as error:  # onnxruntime's own exception classes share no public base
            raise _failed("onnxruntime", frames, first_line(error)) from error
        return _found(scores, maps, verdicts)


class OpenVinoForm:
    """The whole pipeline's IR in OpenVINO on the CPU."""

    def __init__(self, description: bytes, weights: bytes, *, threads: int | None = None) -> None:
        ov = load_openvino()
        core = openvino_core()
        settings = {
            **OPENVINO_SETTINGS,
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": thread_count("export", threads),
            "ENABLE_CPU_PINNING": False,
        }
        self._compiled = core.compile_model(core.read_model(description, weights), "CPU", settings)
        self.about = {"name": "openvino", "version": str(ov.__version__).split("-")[0]}

    def inspect(self, frames: Frames) -> Found:
        """See :class:`Form`."""
        try:
            found = self._compiled({"frame": frames})
        except Exception as error:
            raise _failed("openvino", frames, str(error).strip().splitlines()[-1]) from error
        return _found(*(found[name] for name in ("score", "anomaly_map", "verdict")))


def _found(scores: Any, maps: Any, verdicts: Any) -> Found:
    return Found(
        np.asarray(scores, np.float64),
        np.array(maps, np.float32),
        tuple(_VERDICTS[int(number)] for number in verdicts),
    )


def _failed(runtime: str, frames: Frames, what: str) -> BackendError:
    return BackendError(
        f"[export] {runtime} cannot run the export on frames of shape {frames.shape}: {what}. "
        "Choose another --to, or report it with the engine's method."
    )
