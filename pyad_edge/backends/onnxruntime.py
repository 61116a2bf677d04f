"""ONNX Runtime on the CPU: the backend that is there everywhere."""

from __future__ import annotations

import json
import os
import re
from typing import Any

import numpy as np

from pyad_edge.backends.base import Float32
from pyad_edge.errors import BackendError, ResourceError, SettingError
from pyad_edge.ops._checks import whole_number
from pyad_edge.ops.threads import MAX_THREADS

__all__ = ["METADATA_KEY", "OnnxRuntimeBackend", "open_session", "usable_cores"]

METADATA_KEY = "pyad_edge.backbone"
PROVIDER = "CPUExecutionProvider"
_SEVERITY_FATAL = 4
_FLOAT = "tensor(float)"


def usable_cores() -> int:
    """Cores that this process may run on (an affinity mask or `taskset` counts)."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def open_session(model: bytes, *, threads: int) -> Any:
    """An ONNX Runtime session set up for a camera loop on the CPU.

    Args:
        model: Bytes of an ONNX file with its weights inside.
        threads: Threads that share one operator.

    Returns:
        An `onnxruntime.InferenceSession`. It writes nothing to stderr: what it has to say arrives
        as an exception.

    Raises:
        BackendError: if onnxruntime is missing or the model cannot be loaded.
    """
    try:
        import onnxruntime as ort
    except ImportError as error:
        raise BackendError(
            f"[onnxruntime] cannot run the network because onnxruntime does not import ({error}). "
            "Install it with `pip install onnxruntime`."
        ) from error
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.log_severity_level = _SEVERITY_FATAL
    # Threads spin between two operators, but not after a run: pre-processing, search and map need
    # the cores then. ResNet-18 to layer3 at 224 px and a search after it, 2 quiet cores, one frame
    # every 0 / 5 / 20 / 50 ms after the last, medians of 60 interleaved runs: 9.5 / 9.0 / 12.0 /
    # 20.4 ms; without any spinning 9.9 / 9.2 / 16.7 / 18.3 ms. Where other processes want the same
    # cores, none is better (32 against 48 ms once), but a line's box has its cores to itself.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    # IEEE arithmetic: tiny activations are not flushed to zero, whatever the processor's default.
    options.add_session_config_entry("session.set_denormal_as_zero", "0")
    try:
        return ort.InferenceSession(model, options, providers=[PROVIDER])
    except Exception as error:  # onnxruntime's own exception classes share no public base
        raise BackendError(
            f"[onnxruntime] cannot load a network of {len(model)} bytes: {_first_line(error)}. "
            f"It must be a complete ONNX file, weights inside, that onnxruntime {ort.__version__} "
            "knows the operators of; `pyad-edge backbone export` writes such a file."
        ) from error


class OnnxRuntimeBackend:
    """Runs a convolutional backbone with ONNX Runtime on the CPU.

    Results are bit-equal from run to run on one machine. A picture run alone and the same picture
    inside a batch, or other thread counts, may differ in the last bits (up to 1e-5 relative).
    """

    def __init__(self, model: bytes, *, outputs: tuple[str, ...], threads: int | None = None):
        """Loads the network.

        Args:
            model: Bytes of an ONNX file: one float32 input (N, 3, H, W), weights inside.
            outputs: Names of the outputs wanted, in the wanted order, each (N, C, h, w) float32.
            threads: Threads for one operator, 1 to 1024; all usable cores where not given.

        Raises:
            SettingError: if `threads` is no whole number from 1 to 1024 or `outputs` is empty.
            BackendError: if onnxruntime is missing, the bytes are no ONNX model, the input is not
                of that form, or an output does not exist.
        """
        count = min(usable_cores(), MAX_THREADS) if threads is None else _thread_count(threads)
        self._session = open_session(model, threads=count)
        self._input, self._shape = self._check_input()
        self._outputs = self._check_outputs(outputs)
        self._metadata = _read_metadata(self._session)
        import onnxruntime as ort

        self._info: dict[str, Any] = {
            "name": "onnxruntime",
            "version": str(ort.__version__),
            "provider": str(self._session.get_providers()[0]),
            "threads": count,
        }

    @property
    def output_names(self) -> tuple[str, ...]:
        """Names of the outputs that `run` gives, in its order."""
        return self._outputs

    @property
    def input_shape(self) -> tuple[int | None, int | None, int | None, int | None]:
        """(N, 3, H, W) as the network declares it; None where any size will do."""
        return self._shape

    @property
    def metadata(self) -> dict[str, Any]:
        """What the file says under `pyad_edge.backbone`; empty where it says nothing."""
        return dict(self._metadata)

    @property
    def info(self) -> dict[str, Any]:
        """`name`, `version`, `provider` and `threads`."""
        return dict(self._info)

    def run(self, batch: Float32) -> list[Float32]:
        """Runs the network; may be called from several threads at once.

        Args:
            batch: (N, 3, H, W) float32, N at least 1, any strides.

        Returns:
            One C-contiguous float32 array (N, C, h, w) per name in `output_names`.

        Raises:
            BackendError: if the batch does not fit the network or the network fails.
            ResourceError: if there is not enough memory for a batch of that size.
        """
        self._check_batch(batch)
        try:
            found = self._session.run(
                list(self._outputs), {self._input: np.ascontiguousarray(batch)}
            )
        except Exception as error:
            text = _first_line(error)
            if "alloc" in text.lower():
                raise ResourceError(
                    f"[onnxruntime] not enough memory for a batch of shape {batch.shape}: {text}. "
                    "Use fewer pictures at once or a smaller size."
                ) from error
            raise BackendError(
                f"[onnxruntime] the network failed on a batch of shape {batch.shape}: {text}. "
                "Is the picture too small for this backbone?"
            ) from error
        for name, array in zip(self._outputs, found, strict=True):
            if array.ndim != 4 or len(array) != len(batch):
                raise BackendError(
                    f"[onnxruntime] expected output {name!r} of shape ({len(batch)}, C, h, w), got "
                    f"{array.shape}. Choose the name of a convolutional layer."
                )
        return [np.ascontiguousarray(array) for array in found]

    def _check_batch(self, batch: Float32) -> None:
        wanted = tuple(size if size else "NCHW"[axis] for axis, size in enumerate(self._shape))
        if batch.dtype != np.float32:
            raise BackendError(
                f"[onnxruntime] expected a batch of float32, got {batch.dtype}. Pass pictures "
                "through `pyad_edge.ops.preprocess` first."
            )
        fits = batch.ndim == 4 and all(
            got > 0 and size in (None, got)
            for size, got in zip(self._shape, batch.shape, strict=True)
        )
        if not fits:
            raise BackendError(
                f"[onnxruntime] expected a batch of shape ({', '.join(map(str, wanted))}), got "
                f"{batch.shape}. Was the engine exported with another size or backbone?"
            )

    def _check_input(self) -> tuple[str, tuple[int | None, int | None, int | None, int | None]]:
        inputs = self._session.get_inputs()
        found = ", ".join(f"{i.name} {i.shape} {i.type}" for i in inputs)
        one = len(inputs) == 1 and inputs[0].type == _FLOAT and len(inputs[0].shape) == 4
        if one:
            n, c, h, w = (s if isinstance(s, int) else None for s in inputs[0].shape)
            if c in (3, None):
                return str(inputs[0].name), (n, 3, h, w)
        raise BackendError(
            "[onnxruntime] expected a network with one float32 input of shape (N, 3, H, W), got "
            f"{found or 'none'}. Export the backbone for RGB pictures in float32."
        )

    def _check_outputs(self, names: tuple[str, ...]) -> tuple[str, ...]:
        existing = {str(o.name): o for o in self._session.get_outputs()}
        missing = [name for name in names if name not in existing]
        if not names:
            raise SettingError(
                f"[onnxruntime] expected at least one output name, got none. The network offers "
                f"{', '.join(existing)}."
            )
        if missing:
            raise BackendError(
                f"[onnxruntime] the network has no output {', '.join(map(repr, missing))}; it "
                f"offers {', '.join(existing)}. Choose among these with `--layers`."
            )
        for name in names:
            if existing[name].type != _FLOAT:
                raise BackendError(
                    f"[onnxruntime] expected output {name!r} as tensor(float), got "
                    f"{existing[name].type}. Export the backbone in float32."
                )
        return tuple(names)


def _thread_count(threads: Any) -> int:
    try:
        return whole_number("onnxruntime", "threads", threads, 1, MAX_THREADS)
    except (TypeError, ValueError) as error:
        raise SettingError(f"{error} Leave the setting out to use all cores.") from error


def _read_metadata(session: Any) -> dict[str, Any]:
    text = session.get_modelmeta().custom_metadata_map.get(METADATA_KEY)
    if text is None:
        return {}
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise BackendError(
            f"[onnxruntime] the model's entry {METADATA_KEY!r} is not a JSON object: "
            f"{str(text)[:80]!r}. Write the file again with `pyad-edge backbone export`."
        )
    return found


def _first_line(error: Exception) -> str:
    text = re.sub(r"^\[ONNXRuntimeError\] : \d+ : \w+ : ", "", str(error).strip())
    return text.splitlines()[0].rstrip(". ")[:300] if text else type(error).__name__
