"""torch runs the engine's ONNX network: on the CPU, and as a CUDA graph on a device.

For machines that have torch anyway. TF32 is off: fp32 means float32. On a device, algorithms are
chosen without timing them and only deterministic ones, so that every session gives the same bits.
"""

from __future__ import annotations

import importlib
import importlib.util
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np

from pyad_edge.backends._common import (
    batch_shape,
    check_batch,
    check_precision,
    require_package,
    thread_count,
)
from pyad_edge.backends.base import Float32, Session
from pyad_edge.backends.device_session import DeviceSession
from pyad_edge.backends.torch_graph import Plan, load_network
from pyad_edge.errors import BackendError, ResourceError, SettingError

__all__ = ["TorchBackend", "examine"]

PRECISIONS = {"fp32": "float32", "fp16": "float16", "bf16": "bfloat16"}
DEVICES = ("cpu", "cuda")
WARM_UP = 3  # runs before a capture: libraries make their handles and workspaces then
_capturing = threading.Lock()  # of the process: cuDNN's flags and a capture are everybody's


class TorchBackend:
    """Runs a convolutional backbone with torch.

    Args:
        model: bytes of an ONNX file: one float32 input (N, 3, H, W), weights inside.
        outputs: names wanted, in the wanted order, each (N, C, h, w).
        input_size: (H, W) of sessions; what the file declares where not given.
        precision: ``fp32``, ``fp16`` or ``bf16``: of weights and activations. Input and outputs are
            float32.
        device: ``cpu`` or ``cuda`` (the current one; CUDA_VISIBLE_DEVICES chooses).
        threads: of one operator on the CPU. torch has one number for the whole process: giving it
            changes it for all of torch. Without meaning on a device.

    Raises:
        SettingError: if a setting is none of these.
        BackendError: if torch or onnx is missing, there is no such device, or the network is not
            one that this backend runs.
    """

    def __init__(
        self,
        model: bytes,
        *,
        outputs: tuple[str, ...],
        input_size: tuple[int, int] | None = None,
        precision: str | None = None,
        device: str | None = None,
        threads: int | None = None,
    ) -> None:
        precision, device = precision or "fp32", device or "cpu"
        if device not in DEVICES:
            raise SettingError(
                f"[torch] expected device as one of {', '.join(DEVICES)}, got {device!r}."
            )
        check_precision("torch", precision, tuple(PRECISIONS), where=f"torch on {device}")
        torch = self._torch = require_package("torch", extra="torch", op="torch")
        if device == "cuda" and not torch.cuda.is_available():
            raise BackendError(
                "[torch] device 'cuda' was asked for, and torch sees no CUDA device here "
                f"(torch {torch.__version__}). Use device 'cpu', or look at nvidia-smi."
            )
        if threads is not None:
            torch.set_num_threads(thread_count("torch", threads))
        self.device = device
        self._network = load_network(model, torch=torch)
        self._size = input_size
        self._outputs = self._checked(outputs)
        self._dtype = getattr(torch, PRECISIONS[precision])
        self._constants: dict[str, Any] = {}
        self._plans: dict[tuple[int, ...], Plan] = {}
        self._idle: dict[tuple[int, ...], list[Session]] = {}
        self._lock = threading.Lock()
        self._info = {
            "name": "torch",
            "version": str(torch.__version__),
            "provider": torch.cuda.get_device_name() if device == "cuda" else "cpu",
            "precision": precision,
            "threads": torch.get_num_threads() if device == "cpu" else 0,
            "device": device,
        }

    @property
    def output_names(self) -> tuple[str, ...]:
        """Names of the outputs that `run` gives, in its order."""
        return self._outputs

    @property
    def metadata(self) -> dict[str, Any]:
        """What the file says under `pyad_edge.backbone`; empty where it says nothing."""
        return dict(self._network.metadata)

    @property
    def info(self) -> dict[str, Any]:
        """`name`, `version`, `provider`, `precision`, `threads` and `device`."""
        return dict(self._info)

    def run(self, batch: Float32) -> list[Float32]:
        """Runs the network on (N, 3, H, W) float32 of any strides; see `Backend.run`."""
        check_batch("torch", batch, self._network.shape)
        with self._lock:
            idle = self._idle.setdefault(batch.shape, [])
            session = idle.pop() if idle else None
        session = session or self._session(batch.shape)
        session.input[:] = batch
        session.run()
        found = [output.copy() for output in session.outputs]
        with self._lock:
            idle.append(session)
        return found

    def session(self, batch: int) -> Session:
        """Plans a binding for batches of `batch` pictures; see `Backend.session`."""
        return self._session(self._shape(batch))

    def device_session(self, batch: int) -> DeviceSession:
        """The same with input and outputs on the device.

        Raises:
            SettingError: if the backend is on the CPU.
            BackendError: if the network does not take such a batch.
            ResourceError: if there is not enough memory for it.
        """
        if self.device != "cuda":
            raise SettingError("[torch] a backend with device='cpu' has no device arrays.")
        return _CudaSession(self, self._shape(batch))

    def _session(self, shape: tuple[int, ...]) -> Session:
        if self.device == "cuda":
            return _HostSession(_CudaSession(self, shape), self._torch)
        return _CpuSession(self, shape)

    def _shape(self, batch: int) -> tuple[int, int, int, int]:
        return batch_shape("torch", batch, self._size, self._network.shape)

    def _plan(self, shape: tuple[int, ...]) -> Plan:
        """The network's calls for a shape, made once; a trial run is part of making them."""
        with self._lock, self.errors(shape):
            if shape not in self._plans:
                example = self.typed(shape).zero_()
                self._plans[shape] = Plan(
                    self._network,
                    example,
                    self._outputs,
                    torch=self._torch,
                    constants=self._constants,
                )
            return self._plans[shape]

    def typed(self, shape: tuple[int, ...]) -> Any:
        """An input of the precision computed in, channels last, values undefined."""
        return self._torch.empty(
            shape,
            dtype=self._dtype,
            device=self.device,
            memory_format=self._torch.channels_last,
        )

    @contextmanager
    def errors(self, shape: tuple[int, ...]) -> Iterator[None]:
        """Inference mode, and torch's failures in our words."""
        try:
            with self._torch.inference_mode():
                yield
        except self._torch.OutOfMemoryError as error:
            raise ResourceError(
                f"[torch] not enough memory for a batch of shape {shape}. Use fewer pictures at "
                "once or a smaller size; look at nvidia-smi for other programs."
            ) from error
        except (RuntimeError, ValueError, IndexError, TypeError) as error:
            if isinstance(error, (BackendError, SettingError)):
                raise
            text = str(error).strip().splitlines() or [type(error).__name__]
            raise BackendError(
                f"[torch] the network failed on a batch of shape {shape}: {text[0][:300]}. "
                "Is the picture too small for this backbone?"
            ) from error

    def checked_outputs(self, found: list[Any], N: int) -> list[Any]:
        """Outputs of a trial run, each (N, C, h, w)."""
        for name, tensor in zip(self._outputs, found, strict=True):
            if tensor.ndim != 4 or len(tensor) != N:
                raise BackendError(
                    f"[torch] expected output {name!r} of shape ({N}, C, h, w), got "
                    f"{tuple(tensor.shape)}. Choose the name of a convolutional layer."
                )
        return found

    def _checked(self, names: tuple[str, ...]) -> tuple[str, ...]:
        offered = ", ".join(self._network.outputs)
        if not names:
            raise SettingError(
                "[torch] expected at least one output name, got none. The network offers "
                f"{offered}."
            )
        missing = [name for name in names if name not in self._network.outputs]
        if missing:
            raise BackendError(
                f"[torch] the network has no output {', '.join(map(repr, missing))}; it offers "
                f"{offered}. Choose among these with `--layers`."
            )
        return tuple(names)


class _CpuSession:
    """A session on the CPU; arrays of NumPy and torch share their memory."""

    def __init__(self, backend: TorchBackend, shape: tuple[int, ...]) -> None:
        torch = backend._torch
        self._backend, self._shape = backend, shape
        self._plan = backend._plan(shape)
        self._typed = backend.typed(shape)
        self.input = np.zeros(shape, np.float32)
        self._source = torch.from_numpy(self.input)
        with backend.errors(shape):
            found = backend.checked_outputs(self._plan(self._typed.zero_()), shape[0])
        self.outputs = tuple(np.empty(tuple(t.shape), np.float32) for t in found)
        self._targets = [torch.from_numpy(array) for array in self.outputs]

    def run(self) -> None:
        with self._backend.errors(self._shape):
            self._typed.copy_(self._source)
            for target, tensor in zip(self._targets, self._plan(self._typed), strict=True):
                target.copy_(tensor)


class _CudaSession:
    """A `DeviceSession`: the network's kernels on a stream of its own.

    Branches that look at different pictures run on further streams, forked from it and joined again
    by events, also inside a captured graph.
    """

    def __init__(self, backend: TorchBackend, shape: tuple[int, ...]) -> None:
        torch = self._torch = backend._torch
        self._backend, self._shape = backend, shape
        self._plan = backend._plan(shape)
        self._stream = torch.cuda.Stream()
        sides = range(1, self._plan.branches.count)
        self._streams = [self._stream, *(torch.cuda.Stream() for _ in sides)]
        self._typed = backend.typed(shape)
        self.input = torch.zeros(shape, dtype=torch.float32, device="cuda")
        with _capturing, backend.errors(shape), self._working():
            found = backend.checked_outputs(self._plan(self._typed.zero_()), shape[0])
        self.outputs = tuple(
            torch.empty(tuple(t.shape), dtype=torch.float32, device="cuda") for t in found
        )
        torch.cuda.synchronize()

    @property
    def stream(self) -> int:
        return int(self._stream.cuda_stream)

    def enqueue(self) -> None:
        with self._backend.errors(self._shape):
            self._typed.copy_(self.input)
            if len(self._streams) == 1:
                found = self._plan(self._typed)
            else:
                found = self._plan.run_on(self._typed, self._streams, torch=self._torch)
            for target, tensor in zip(self.outputs, found, strict=True):
                target.copy_(tensor)

    def capture(self, work: Callable[[], None]) -> Callable[[], None]:
        torch = self._torch
        graph = torch.cuda.CUDAGraph()
        with _capturing, self._backend.errors(self._shape), self._working():
            for _ in range(WARM_UP):
                work()
            self._stream.synchronize()
            with torch.cuda.graph(graph, stream=self._stream, capture_error_mode="thread_local"):
                work()

        def launch() -> None:
            with torch.cuda.stream(self._stream):
                graph.replay()

        return launch

    @contextmanager
    def _working(self) -> Iterator[None]:
        """On the session's stream, after what was enqueued before; float32 is float32."""
        torch = self._torch
        self._stream.wait_stream(torch.cuda.current_stream())
        flags = torch.backends.cudnn.flags(
            enabled=True, benchmark=False, deterministic=True, allow_tf32=False
        )
        with flags, torch.cuda.stream(self._stream):
            yield


class _HostSession:
    """Host arrays around a session on the device: copies and network in one graph."""

    def __init__(self, session: _CudaSession, torch: Any) -> None:
        self._session = session
        source = torch.empty(session.input.shape, dtype=torch.float32, pin_memory=True)
        targets = [
            torch.empty(tuple(t.shape), dtype=torch.float32, pin_memory=True)
            for t in session.outputs
        ]
        self.input: Float32 = source.numpy()
        self.outputs: tuple[Float32, ...] = tuple(t.numpy() for t in targets)

        def work() -> None:
            session.input.copy_(source, non_blocking=True)
            session.enqueue()
            for target, tensor in zip(targets, session.outputs, strict=True):
                target.copy_(tensor, non_blocking=True)

        self.input.fill(0.0)
        self._launch = session.capture(work)

    def run(self) -> None:
        with self._session._backend.errors(self._session._shape):
            self._launch()
            self._session._stream.synchronize()


def examine() -> dict[str, Any]:
    """Whether this backend can be used here, without loading torch where it is missing."""
    row: dict[str, Any] = {"name": "torch", "precisions": list(PRECISIONS), "devices": []}
    missing = [name for name in ("torch", "onnx") if importlib.util.find_spec(name) is None]
    if missing:
        why = f"{' and '.join(missing)} not installed: pip install 'pyad_edge[torch]'"
        return row | {"state": "missing", "version": None, "precisions": [], "why": why}
    try:
        found = version("torch")
        torch = importlib.import_module("torch")
    except (ImportError, OSError, PackageNotFoundError) as error:
        why = f"torch does not import: {error}"
        return row | {"state": "unavailable", "version": None, "precisions": [], "why": why}
    cuda = bool(torch.cuda.is_available())
    row["devices"] = ["cpu", "cuda"] if cuda else ["cpu"]
    return row | {
        "state": "ok",
        "version": found,
        "why": "" if cuda else "cuda: torch sees no CUDA device here",
    }
