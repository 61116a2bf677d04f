"""TensorRT's native API: a plan built on the device, kept between starts, never shipped."""

from __future__ import annotations

import hashlib
import threading
from typing import Any, ClassVar

from pyad_edge.backends._common import (
    Shape,
    batch_shape,
    check_batch,
    check_precision,
    installed_version,
    require_package,
)
from pyad_edge.backends.base import Float32, Session
from pyad_edge.backends.cache import cache_key as key_of
from pyad_edge.backends.cache import cached
from pyad_edge.backends.device_session import DeviceSession
from pyad_edge.backends.onnxruntime import OnnxRuntimeBackend
from pyad_edge.backends.tensorrt_plan import build_plan, collector
from pyad_edge.backends.tensorrt_session import HostSession, PlanSession
from pyad_edge.backends.typed_onnx import lowered
from pyad_edge.errors import BackendError, SettingError
from pyad_edge.ops.cuda.device import require_device, why_unavailable

__all__ = ["PRECISIONS", "TensorRtBackend", "examine", "examined"]

PRECISIONS = ("fp32", "fp16", "bf16")


class TensorRtBackend:
    """Runs a convolutional backbone with TensorRT.

    A plan fits one GPU model, TensorRT version, batch and size; it is built when such a session is
    first planned (minutes on small devices) and kept in the cache.

    int8 is not offered: the networks that `pyad-edge prepare` makes have unsigned activations,
    which TensorRT does not read.

    Args:
        model: bytes of an ONNX file: one float32 input (N, 3, H, W), weights inside.
        outputs: names wanted, in the wanted order, each (N, C, h, w).
        input_size: (H, W) of sessions; what the file declares where not given.
        precision: ``fp32`` (TF32 off), ``fp16`` or ``bf16``.
        device: ``cuda`` (the current one; CUDA_VISIBLE_DEVICES chooses).
        cache_key: SHA-256 of the engine; that of ``model`` where not given.
        calibration: refused: nothing here is calibrated.

    Raises:
        SettingError: if a setting is none of these.
        BackendError: if there is no device or package, or the network cannot be built.
    """

    name: ClassVar[str] = "tensorrt"
    package: ClassVar[str] = "tensorrt"
    keeps_timings: ClassVar[bool] = True
    device: ClassVar[str] = "cuda"

    def __init__(
        self,
        model: bytes,
        *,
        outputs: tuple[str, ...],
        input_size: tuple[int, int] | None = None,
        precision: str | None = None,
        device: str | None = None,
        cache_key: str | None = None,
        calibration: Float32 | None = None,
    ) -> None:
        self._precision = precision or "fp32"
        check_precision(self.name, self._precision, PRECISIONS, where=f"{self.name} on cuda")
        if device not in (None, "cuda"):
            raise SettingError(f"[{self.name}] expected device 'cuda', got {device!r}.")
        if calibration is not None:
            raise SettingError(
                f"[{self.name}] calibration pictures are for int8, which this backend does not "
                "offer. Leave them out, or use onnxruntime or openvino."
            )
        # Refuses what is no backbone, and knows its metadata.
        read = OnnxRuntimeBackend(model, outputs=outputs, input_size=input_size, threads=1)
        self._outputs, self._metadata = read.output_names, read.metadata
        self._shape: Shape = read.input_shape
        self._size = input_size
        if reason := why_unavailable():
            raise BackendError(
                f"[{self.name}] needs a CUDA device and pyad_edge built with CUDA. {reason} Use "
                "the backend onnxruntime or openvino here."
            )
        module = require_device()
        self._trt = require_package(self.package, extra=self.name, op=self.name)
        capability, processors = module.device_traits()
        self._hardware: dict[str, Any] = {
            "gpu": str(module.device_name()),
            "compute_capability": f"{capability // 10}.{capability % 10}",
            "multiprocessors": int(processors),
        }
        self._engine_hash = cache_key or hashlib.sha256(model).hexdigest()
        self._model = lowered(model, self._precision)
        # How a network is lowered may change from version to version.
        self._network_hash = hashlib.sha256(self._model).hexdigest()
        self._logger = collector(self._trt)
        self._runtime = self._trt.Runtime(self._logger)
        self._engines: dict[tuple[int, ...], Any] = {}
        self._idle: dict[tuple[int, ...], list[HostSession]] = {}
        self._lock = threading.Lock()
        if input_size is not None or None not in self._shape[2:]:
            self._engine(batch_shape(self.name, 1, input_size, self._shape))

    @property
    def output_names(self) -> tuple[str, ...]:
        """Names of the outputs that `run` gives, in its order."""
        return self._outputs

    @property
    def metadata(self) -> dict[str, Any]:
        """What the file says under `pyad_edge.backbone`; empty where it says nothing."""
        return dict(self._metadata)

    @property
    def info(self) -> dict[str, Any]:
        """`name`, `version`, `provider`, `precision`, `threads` and `device`."""
        return {
            "name": self.name,
            "version": str(self._trt.__version__),
            "provider": self._hardware["gpu"],
            "precision": self._precision,
            "threads": 0,
            "device": "cuda",
        }

    def run(self, batch: Float32) -> list[Float32]:
        """Runs the network on (N, 3, H, W) float32 of any strides; see `Backend.run`."""
        check_batch(self.name, batch, self._shape)
        with self._lock:
            idle = self._idle.setdefault(batch.shape, [])
            session = idle.pop() if idle else None
        session = session or HostSession(self._session(batch.shape))
        session.input[:] = batch
        session.run()
        found = [output.copy() for output in session.outputs]
        with self._lock:
            idle.append(session)
        return found

    def session(self, batch: int) -> Session:
        """Plans a binding for batches of `batch` pictures; see `Backend.session`."""
        return HostSession(self._session(batch_shape(self.name, batch, self._size, self._shape)))

    def device_session(self, batch: int) -> DeviceSession:
        """The same with input and outputs on the device."""
        return self._session(batch_shape(self.name, batch, self._size, self._shape))

    def _session(self, shape: tuple[int, ...]) -> PlanSession:
        engine = self._engine(shape)
        names = [engine.get_tensor_name(n) for n in range(engine.num_io_tensors)]
        (source,) = (name for name in names if name not in self._outputs)
        return PlanSession(
            engine,
            op=self.name,
            source=source,
            outputs=self._outputs,
            shape=shape,
        )

    def plan(self, batch: int) -> bytes:
        """The serialized plan of sessions for `batch` pictures, built where none is kept.

        Raises:
            BackendError: if the network does not take such a batch or cannot be built for it.
            ResourceError: if what was built cannot be kept.
        """
        return self._plan(batch_shape(self.name, batch, self._size, self._shape))

    def _plan(self, shape: tuple[int, int, int, int]) -> bytes:
        return cached(
            self._key("plan", engine=self._engine_hash, shape=list(shape)),
            lambda: build_plan(
                self._trt,
                self._model,
                op=self.name,
                outputs=self._outputs,
                shape=shape,
                timing_key=self._key("timings") if self.keeps_timings else None,
            ),
            kind="plan",
            about={"backend": self.name, "precision": self._precision, **self._hardware},
        )

    def _engine(self, shape: Any) -> Any:
        """The deserialized plan for a shape, built where none is kept."""
        with self._lock:
            if shape not in self._engines:
                engine = self._runtime.deserialize_cuda_engine(self._plan(shape))
                if engine is None:
                    raise BackendError(
                        f"[{self.name}] the device does not take its plan: "
                        f"{(self._logger.errors or ['no reason given'])[-1]}. Delete the cache "
                        "folder of pyad_edge and open the engine again."
                    )
                self._engines[shape] = engine
            return self._engines[shape]

    def _key(self, kind: str, **parts: Any) -> str:
        """Of everything that a plan depends on: another driver or GPU builds another one."""
        if kind == "plan":
            parts |= {"precision": self._precision, "outputs": list(self._outputs), "tf32": False}
            parts["network"] = self._network_hash
        version = str(self._trt.__version__)
        return key_of(kind=kind, backend=self.name, version=version, **self._hardware, **parts)


def examined(name: str, package: str, *distributions: str) -> dict[str, Any]:
    """Whether a backend of this kind can be used here; imports nothing of NVIDIA's."""
    row: dict[str, Any] = {"name": name, "precisions": [], "devices": []}
    version = installed_version(package, *distributions)
    row["version"] = version
    if version is None:
        why = f"{package} is not installed: pip install 'pyad_edge[{name}]'"
        return row | {"state": "missing", "why": why}
    if reason := why_unavailable():
        return row | {"state": "unavailable", "why": reason}
    return row | {"state": "ok", "precisions": list(PRECISIONS), "devices": ["cuda"], "why": ""}


def examine() -> dict[str, Any]:
    """Whether TensorRT can be used here."""
    return examined("tensorrt", "tensorrt", "tensorrt", "tensorrt-cu13", "tensorrt-cu12")
