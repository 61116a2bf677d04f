"""ONNX Runtime's objects: a session set up for a camera loop, a binding to planned memory."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from pyad_edge.backends._common import planned, run_error
from pyad_edge.backends.base import Float32
from pyad_edge.errors import BackendError, SettingError

__all__ = ["OnnxRuntimeSession", "first_line", "open_session", "split_device"]

# device: execution provider, the package whose onnxruntime has it
PROVIDERS = {
    "cpu": ("CPUExecutionProvider", "onnxruntime"),
    "cuda": ("CUDAExecutionProvider", "onnxruntime-gpu"),
    "tensorrt": ("TensorrtExecutionProvider", "onnxruntime-gpu"),
}
_SEVERITY_FATAL = 4


def split_device(device: str) -> tuple[str, int]:
    """``cuda:1`` as ("cuda", 1); the index is 0 where none is given.

    Raises:
        SettingError: if onnxruntime is not used on such a device here.
    """
    name, _, index = device.partition(":")
    if name not in PROVIDERS or (index and (name == "cpu" or not index.isdecimal())):
        raise SettingError(
            f"[onnxruntime] expected device cpu, cuda, cuda:1 and so on, or tensorrt, got "
            f"{device!r}. Choose one of these."
        )
    return name, int(index or 0)


def open_session(
    model: bytes,
    *,
    threads: int,
    spinning: bool = True,
    device: str = "cpu",
    precision: str = "fp32",
) -> Any:
    """An ONNX Runtime session set up for a camera loop.

    Args:
        model: Bytes of an ONNX file with its weights inside.
        threads: Threads that share one operator on the CPU.
        spinning: Whether threads of the CPU wait busily for the next operator of a run.
        device: ``cpu``, ``cuda``, ``cuda:1``, ``tensorrt``.
        precision: On ``tensorrt``: fp32, bf16 or fp16. Elsewhere the model's own.

    Returns:
        An `onnxruntime.InferenceSession`. It writes nothing to stderr: what it has to say arrives
        as an exception. It runs where it was asked to, every node of it.

    Raises:
        BackendError: if onnxruntime is missing or lacks the device, or the model cannot be loaded.
        SettingError: if `device` is none of these.
    """
    try:
        import onnxruntime as ort
    except ImportError as error:
        raise BackendError(
            f"[onnxruntime] cannot run the network because onnxruntime does not import ({error}). "
            "Install it with `pip install onnxruntime`."
        ) from error
    ort.disable_telemetry_events()  # on Windows, or where the program had imported it before
    kind, index = split_device(device)
    provider, package = PROVIDERS[kind]
    if provider not in ort.get_available_providers():
        raise BackendError(
            f"[onnxruntime] device {device!r} needs the {provider}, but this onnxruntime "
            f"{ort.__version__} was built with {', '.join(ort.get_available_providers())}. "
            f"Exchange it: `pip uninstall onnxruntime`, then `pip install {package}`."
        )
    options = _options(ort, threads=threads, spinning=spinning)
    if kind != "cpu":
        # A node that the device lacks would run on the CPU in silence, and slowly.
        options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    try:
        session = ort.InferenceSession(
            model,
            options,
            providers=[(provider, _provider_options(kind, index, precision))],
            enable_fallback=0,
        )
    except Exception as error:  # onnxruntime's own exception classes share no public base
        if kind == "cpu":
            raise BackendError(
                f"[onnxruntime] cannot load a network of {len(model)} bytes: "
                f"{first_line(error)}. It must be a complete ONNX file, weights inside, that "
                f"onnxruntime {ort.__version__} knows the operators of; `pyad-edge backbone "
                "export` writes such a file."
            ) from error
        raise BackendError(
            f"[onnxruntime] cannot run the whole network on device {device!r}: "
            f"{first_line(error)}. Look at `nvidia-smi`, or use the device cpu."
        ) from error
    if session.get_providers()[0] != provider:  # its libraries did not load; onnxruntime goes on
        raise BackendError(
            f"[onnxruntime] device {device!r} does not work here: {provider} was dropped for "
            f"{session.get_providers()[0]}, as happens where the driver, CUDA, cuDNN or TensorRT "
            f"libraries of its version are missing. Install what {package} {ort.__version__} "
            "needs, or use the device cpu."
        )
    return session


def _options(ort: Any, *, threads: int, spinning: bool) -> Any:
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
    # cores, none is better (32 against 48 ms once): `spinning=False`.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    options.add_session_config_entry("session.intra_op.allow_spinning", "1" if spinning else "0")
    # IEEE arithmetic: tiny activations are not flushed to zero, whatever the processor's default.
    options.add_session_config_entry("session.set_denormal_as_zero", "0")
    return options


def _provider_options(kind: str, index: int, precision: str) -> dict[str, str]:
    if kind == "cuda":
        # Without this fp32 would be TF32 (10 bits of fraction) from Ampere on.
        return {"device_id": str(index), "use_tf32": "0", "cudnn_conv_algo_search": "EXHAUSTIVE"}
    if kind == "tensorrt":
        chosen = {"device_id": str(index)}
        return chosen if precision == "fp32" else {**chosen, f"trt_{precision}_enable": "True"}
    return {}


class OnnxRuntimeSession:
    """One thread's binding: the network reads `input` and writes `outputs` where they lie.

    On a device the arrays stay in host memory and onnxruntime copies them.
    """

    def __init__(
        self, session: Any, *, name: str, shape: tuple[int, ...], outputs: tuple[str, ...]
    ) -> None:
        self._run = session.run_with_iobinding
        self.input = planned(shape)
        first = session.io_binding()
        first.bind_input(name, "cpu", 0, np.float32, list(shape), self.input.ctypes.data)
        for output in outputs:
            first.bind_output(output, "cpu")
        self._binding = first
        self.run()  # which sizes the outputs have shows only when it ran
        shapes = [tuple(found.shape()) for found in first.get_outputs()]
        for output, found in zip(outputs, shapes, strict=True):
            check_output(output, found, shape[0])
        self.outputs: tuple[Float32, ...] = tuple(planned(found) for found in shapes)
        self._binding = session.io_binding()
        self._binding.bind_input(name, "cpu", 0, np.float32, list(shape), self.input.ctypes.data)
        for output, array in zip(outputs, self.outputs, strict=True):
            self._binding.bind_output(
                output, "cpu", 0, np.float32, list(array.shape), array.ctypes.data
            )

    def run(self) -> None:
        """Runs the network from `input` into `outputs`.

        Raises:
            BackendError: if the network fails.
            ResourceError: if there is not enough memory.
        """
        try:
            self._run(self._binding)
        except Exception as error:
            raise run_error("onnxruntime", self.input.shape, first_line(error)) from error


def check_output(name: str, shape: tuple[int, ...], n: int) -> None:
    """Raises:
    BackendError: if an output is not (N, C, h, w).
    """
    if len(shape) != 4 or shape[0] != n:
        raise BackendError(
            f"[onnxruntime] expected output {name!r} of shape ({n}, C, h, w), got {shape}. Choose "
            "the name of a convolutional layer."
        )


def first_line(error: Exception) -> str:
    """What onnxruntime says, without its prefix."""
    text = re.sub(r"^\[ONNXRuntimeError\] : \d+ : \w+ : ", "", str(error).strip())
    return text.splitlines()[0].rstrip(". ")[:300] if text else type(error).__name__
