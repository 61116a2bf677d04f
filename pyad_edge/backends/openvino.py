"""OpenVINO: Intel's own runtime; on processors with AVX512-BF16 or AMX its bf16 is the fastest."""

from __future__ import annotations

import hashlib
import platform
import threading
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyad_edge.backends._common import (
    batch_shape,
    check_batch,
    check_precision,
    installed_version,
    planned,
    run_error,
    thread_count,
)
from pyad_edge.backends.base import Float32
from pyad_edge.backends.int8 import int8_network
from pyad_edge.backends.openvino_core import load_openvino, openvino_core
from pyad_edge.backends.openvino_model import (
    convolutions,
    input_shape,
    let_nan_through,
    metadata_of,
    with_bf16_outputs,
)
from pyad_edge.bfloat16 import widened
from pyad_edge.errors import BackendError, SettingError

__all__ = ["OpenVinoBackend", "OpenVinoSession", "examine"]

# precision: (what OpenVINO calls it as a hint, as a capability)
_NAMES = {
    "fp32": ("f32", "FP32"),
    "bf16": ("bf16", "BF16"),
    "fp16": ("f16", "FP16"),
    "int8": ("f32", "INT8"),
}
# What convolutions must then run in; int8 leaves the first one in floating point.
_RUNS_IN = {"fp32": {"f32"}, "bf16": {"bf16"}, "fp16": {"f16"}, "int8": {"u8", "i8"}}
_MAX_PLANS = 8  # compiled forms kept, one a batch shape


class OpenVinoBackend:
    """Runs a convolutional backbone with OpenVINO.

    Results are bit-equal from run to run on one machine, with one number of threads. Asked for
    fp32 it computes in fp32 (OpenVINO by itself would take bf16 where the processor has it).
    """

    device = "cpu"  # where `run` and sessions take and give arrays: host memory, on any device

    def __init__(
        self,
        model: bytes,
        *,
        outputs: tuple[str, ...],
        input_size: tuple[int, int] | None = None,
        precision: str = "fp32",
        device: str = "cpu",
        threads: int | None = None,
        spinning: bool = True,
        cache_key: str | None = None,
        calibration: Float32 | None = None,
        coarse_outputs: bool = False,
    ) -> None:
        """Loads the network.

        Args:
            model: Bytes of an ONNX file: one float32 input (N, 3, H, W), weights inside.
            outputs: Names of the outputs wanted, in the wanted order, each (N, C, h, w).
            input_size: (H, W) of sessions; none: what the network declares.
            precision: fp32, bf16, fp16 or int8, where the device is fast in it.
            device: ``cpu``, ``gpu``, ``gpu.1`` (Intel's), ``npu``; it alone, never another.
            threads: For one picture on the CPU, 1 to 1024; all usable cores where not given.
            spinning: Whether the cores are this process's own: threads are then pinned to them.
                Off where processes share them; pinned, all would crowd on the first ones.
            cache_key: SHA-256 of the engine, under which an int8 network is kept.
            calibration: (n, 3, H, W) float32 of normal pictures, to quantise with where no int8
                network is kept yet.
            coarse_outputs: Whether sessions may give outputs as bf16 where the network computes in
                it, which is faster (see `Session.outputs`); for features, not for scores.

        Raises:
            SettingError: if a setting cannot be used, a precision the device lacks for one.
            BackendError: if OpenVINO or the device is missing, the bytes are no ONNX model, the
                input is not of that form, an output does not exist, or an operator would run in
                another precision.
        """
        self._ov = load_openvino()
        count = thread_count("openvino", threads)
        self._core = openvino_core()
        self._device = _device(self._core, device)
        self._precision = precision
        self._coarse = coarse_outputs and precision == "bf16" and self._device == "CPU"
        offered = _precisions(self._core, self._device)
        check_precision("openvino", precision, offered, where=_described(self._core, self._device))
        self._settings = _settings(self._device, precision, offered, threads=count, pinned=spinning)
        loaded = self._read(model)
        self._metadata = metadata_of(loaded)
        self._info: dict[str, Any] = {
            "name": "openvino",
            "version": str(self._ov.__version__).split("-")[0],
            "provider": str(self._core.get_property(self._device, "FULL_DEVICE_NAME")),
            "device": device,
            "precision": precision,
            "threads": count,
            "spinning": spinning,
        }
        if precision == "int8":
            made = int8_network(
                model,
                engine=cache_key or hashlib.sha256(model).hexdigest(),
                calibration=calibration,
            )
            loaded = self._read(made.content)
            self._info["calibration"] = made.about["calibration"]
            self._info["rest_in"] = self._settings["INFERENCE_PRECISION_HINT"]
        self._shape = input_shape(loaded)
        self._model = self._wanted(loaded, outputs)
        self._outputs = tuple(outputs)
        self._size = input_size
        self._lock = threading.Lock()
        self._plans: OrderedDict[tuple[int, ...], _Plan] = OrderedDict()
        if input_size is not None:
            shape = batch_shape("openvino", self._shape[0] or 1, input_size, self._shape)
            self._info["convolutions"] = dict(self._plan(shape).convolutions)

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
        """`name`, `version`, `provider`, `device`, `precision`, `threads`; opened with an input
        size also `convolutions`, how many run in which precision.
        """
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
        check_batch("openvino", batch, self._shape)
        plan = self._plan(batch.shape)
        session = plan.take()
        np.copyto(session.input, batch)
        session.run()
        found = [widened(array) if self._coarse else array.copy() for array in session.outputs]
        plan.give(session)  # not after a failure: its request may be in any state
        return found

    def session(self, batch: int) -> OpenVinoSession:
        """Plans a binding for batches of `batch` pictures; see `Session`.

        Raises:
            BackendError: if the network does not take such a batch.
            ResourceError: if there is not enough memory for it.
        """
        shape = batch_shape("openvino", batch, self._size, self._shape)
        return self._plan(shape).session()

    def _read(self, model: bytes) -> Any:
        try:
            return self._core.read_model(model)
        except Exception as error:  # OpenVINO raises RuntimeError, and what its parsers raise
            raise BackendError(
                f"[openvino] cannot load a network of {len(model)} bytes: {_last_line(error)}. It "
                "must be a complete ONNX file, weights inside, that OpenVINO knows the operators "
                "of; `pyad-edge backbone export` writes such a file."
            ) from error

    def _wanted(self, loaded: Any, names: tuple[str, ...]) -> Any:
        """The network up to the outputs wanted."""
        existing = {name: port for port in loaded.outputs for name in port.names}
        if not names:
            raise SettingError(
                f"[openvino] expected at least one output name, got none. The network offers "
                f"{', '.join(existing)}."
            )
        if missing := [name for name in names if name not in existing]:
            raise BackendError(
                f"[openvino] the network has no output {', '.join(map(repr, missing))}; it offers "
                f"{', '.join(existing)}. Choose among these with `--layers`."
            )
        if self._precision != "int8":  # 8 bits hold no NaN: what does not fit saturates
            let_nan_through(loaded)
        results = [existing[name].get_node() for name in names]
        return self._ov.Model(results, loaded.get_parameters(), "backbone")

    def _plan(self, shape: tuple[int, ...]) -> _Plan:
        with self._lock:
            plan = self._plans.get(shape)
            if plan is None:
                plan = self._plans[shape] = self._compile(shape)
                if len(self._plans) > _MAX_PLANS:
                    self._plans.popitem(last=False)
            self._plans.move_to_end(shape)
            return plan

    def _compile(self, shape: tuple[int, ...]) -> _Plan:
        try:
            model = self._model.clone()
            model.reshape(list(shape))
            if self._coarse:
                model = with_bf16_outputs(model)
            compiled = self._core.compile_model(model, self._device, self._settings)
            ran_in = convolutions(compiled)
        except Exception as error:
            raise run_error("openvino", shape, _last_line(error)) from error
        strange = set(ran_in) - _RUNS_IN[self._precision]
        if self._precision == "int8":
            strange = set() if set(ran_in) & _RUNS_IN["int8"] else strange
        if strange:
            raise BackendError(
                f"[openvino] asked for {self._precision}, but {self._device} would compute "
                f"convolutions in {', '.join(sorted(strange))}. Choose another precision."
            )
        for name, port in zip(self._outputs, compiled.outputs, strict=True):
            found = tuple(port.shape)
            if len(found) != 4 or found[0] != shape[0]:
                raise BackendError(
                    f"[openvino] expected output {name!r} of shape ({shape[0]}, C, h, w), got "
                    f"{found}. Choose the name of a convolutional layer."
                )
        return _Plan(self._ov, compiled, shape, ran_in, coarse=self._coarse)


class OpenVinoSession:
    """One thread's binding: the network reads `input` and writes `outputs` where they lie."""

    def __init__(
        self, ov: Any, compiled: Any, shape: tuple[int, ...], *, coarse: bool = False
    ) -> None:
        self.input = planned(shape)
        shapes = [tuple(port.shape) for port in compiled.outputs]
        arrays: list[NDArray[Any]] = [
            planned(own, np.uint16) if coarse else planned(own) for own in shapes
        ]
        self.outputs: tuple[NDArray[Any], ...] = tuple(
            array.transpose(0, 3, 1, 2) if coarse else array for array in arrays
        )
        self._request = compiled.create_infer_request()
        self._request.set_input_tensor(ov.Tensor(self.input, shared_memory=True))
        for n, array in enumerate(arrays):
            tensor = (
                ov.Tensor(array, ov.Shape(array.shape), ov.Type.bf16)  # memory is shared here, too
                if coarse
                else ov.Tensor(array, shared_memory=True)
            )
            self._request.set_output_tensor(n, tensor)

    def run(self) -> None:
        """Runs the network from `input` into `outputs`.

        Raises:
            BackendError: if the network fails.
            ResourceError: if there is not enough memory.
        """
        try:
            # `infer` would wrap every output anew: 0.5 ms more of 2.3 (ResNet-18, bf16, 224 px).
            self._request.start_async()
            self._request.wait()
        except Exception as error:
            raise run_error("openvino", self.input.shape, _last_line(error)) from error


class _Plan:
    """A network compiled for one shape, and sessions of it that `run` uses in turn."""

    def __init__(
        self,
        ov: Any,
        compiled: Any,
        shape: tuple[int, ...],
        convolutions: Mapping[str, int],
        *,
        coarse: bool,
    ) -> None:
        self.convolutions, self._coarse = convolutions, coarse
        self._ov, self._compiled, self._shape = ov, compiled, shape
        self._idle: list[OpenVinoSession] = []

    def session(self) -> OpenVinoSession:
        return OpenVinoSession(self._ov, self._compiled, self._shape, coarse=self._coarse)

    def take(self) -> OpenVinoSession:
        try:
            return self._idle.pop()
        except IndexError:
            return self.session()

    def give(self, session: OpenVinoSession) -> None:
        self._idle.append(session)


def examine() -> dict[str, Any]:
    """Whether it can run here, in what; see `pyad_edge.backends.registry.examine_backends`."""
    found: dict[str, Any] = {
        "name": "openvino",
        "version": installed_version("openvino"),
        "state": "missing",
        "devices": (),
        "precisions": (),
        "why": "for Intel's processors: pip install 'pyad_edge[openvino]'",
    }
    if found["version"] is None:
        return found
    try:
        core = openvino_core()
        devices = tuple(core.available_devices)
        offered = {name: None for device in devices for name in _precisions(core, device)}
    except Exception as error:  # a doctor reports, whatever is wrong
        return {**found, "state": "unavailable", "why": f"does not work: {_last_line(error)}"}
    why = "" if "bf16" in offered else "no bf16: " + _described(core, "CPU") + " is not fast in it"
    return {
        **found,
        "state": "ok",
        "devices": tuple(device.lower() for device in devices),
        "precisions": tuple(offered),
        "why": why,
    }


def _device(core: Any, device: str) -> str:
    existing = list(core.available_devices)
    name = device.upper()
    aliases = {"GPU": "GPU.0", "GPU.0": "GPU"}
    for candidate in (name, aliases.get(name)):
        if candidate in existing:
            return str(candidate)
    raise SettingError(
        f"[openvino] expected a device that is here ({', '.join(existing).lower()}), got "
        f"{device!r}. Choose one of these, or install the driver of the other."
    )


def _precisions(core: Any, device: str) -> tuple[str, ...]:
    """Precisions that a device has and is fast in."""
    capabilities = set(core.get_property(device, "OPTIMIZATION_CAPABILITIES"))
    if device == "CPU" and platform.machine() not in ("aarch64", "arm64"):
        # x86: offered, but slower than fp32 (ResNet-18, 224 px, a Xeon with AVX512-FP16 and AMX:
        # 12.1 ms against 7.1 ms, 2 threads), and bf16 is there for the purpose.
        capabilities.discard("FP16")
    return tuple(name for name, (_, capability) in _NAMES.items() if capability in capabilities)


def _settings(
    device: str, precision: str, offered: tuple[str, ...], *, threads: int, pinned: bool
) -> dict[str, Any]:
    hint = _NAMES[precision][0]
    if precision == "int8" and "bf16" in offered:
        hint = "bf16"  # what is left in floating point: the first convolution
    settings: dict[str, Any] = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": hint,
        "NUM_STREAMS": 1,
    }
    if device == "CPU":
        # ResNet-18 in bf16 at 256 px, then a search of ours, in a loop on 2 quiet cores: pinned,
        # 1.73 to 1.84 + 1.01 to 1.09 ms; unpinned the system sometimes puts threads of both on one
        # core, 1.73 to 2.66 + 1.03 to 1.32 ms. Medians of 150, three each in two processes.
        settings |= {"INFERENCE_NUM_THREADS": threads, "ENABLE_CPU_PINNING": pinned}
        settings |= {"CPU_DENORMALS_OPTIMIZATION": False}  # IEEE arithmetic, as everywhere
    return settings


def _described(core: Any, device: str) -> str:
    return f"{device.lower()} ({core.get_property(device, 'FULL_DEVICE_NAME')})"


def _last_line(error: Exception) -> str:
    """What OpenVINO says, without the places in its source that it said it at."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    said = [line for line in lines if not line.startswith("Exception from")]
    return (said or lines or [type(error).__name__])[-1].rstrip(". ")[:300]
