"""ONNX Runtime: the backend that is there everywhere; on the CPU, CUDA or TensorRT as asked."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np

from pyad_edge.backends._common import (
    METADATA_KEY,
    Shape,
    batch_shape,
    check_batch,
    check_precision,
    installed_version,
    read_metadata,
    run_error,
    thread_count,
    usable_cores,
)
from pyad_edge.backends.base import Float32
from pyad_edge.backends.int8 import int8_network
from pyad_edge.backends.onnxruntime_session import (
    PROVIDERS,
    OnnxRuntimeSession,
    check_output,
    first_line,
    open_session,
    split_device,
)
from pyad_edge.errors import BackendError, SettingError

__all__ = ["METADATA_KEY", "OnnxRuntimeBackend", "examine", "open_session", "usable_cores"]

_FLOAT = "tensor(float)"
# What onnxruntime computes in, by device. CUDA in half precision would need another model file.
_PRECISIONS = {
    "cpu": ("fp32", "int8"),
    "cuda": ("fp32",),
    "tensorrt": ("fp32", "fp16", "bf16"),
}


class OnnxRuntimeBackend:
    """Runs a convolutional backbone with ONNX Runtime.

    On the CPU results are bit-equal from run to run on one machine. A picture run alone and the
    same picture inside a batch, or other thread counts, may differ in the last bits (up to 1e-5
    relative).
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
    ) -> None:
        """Loads the network.

        Args:
            model: Bytes of an ONNX file: one float32 input (N, 3, H, W), weights inside.
            outputs: Names of the outputs wanted, in the wanted order, each (N, C, h, w) float32.
            input_size: (H, W) of sessions; none: what the network declares.
            precision: fp32; int8 on the CPU; fp16 and bf16 on ``tensorrt``.
            device: ``cpu``, ``cuda``, ``cuda:1``, ``tensorrt``. Where a part of the network cannot
                run there, it is refused.
            threads: Threads for one operator, 1 to 1024; all usable cores where not given.
            spinning: Whether the CPU's threads wait busily between operators; off where other
                processes want the cores.
            cache_key: SHA-256 of the engine, under which an int8 network is kept.
            calibration: (n, 3, H, W) float32 of normal pictures, to quantise with where no int8
                network is kept yet.

        Raises:
            SettingError: if a setting cannot be used.
            BackendError: if onnxruntime or the device is missing, the bytes are no ONNX model, the
                input is not of that form, or an output does not exist.
        """
        count = thread_count("onnxruntime", threads)
        kind, _ = split_device(device)
        check_precision("onnxruntime", precision, _PRECISIONS[kind], where=f"device {kind}")
        self._session = open_session(
            model, threads=count, spinning=spinning, device=device, precision=precision
        )
        self._input, self._shape = self._check_input()
        self._outputs = self._check_outputs(outputs)
        self._size = input_size
        self._metadata = read_metadata(
            "onnxruntime", self._session.get_modelmeta().custom_metadata_map.get(METADATA_KEY)
        )
        import onnxruntime as ort

        self._info: dict[str, Any] = {
            "name": "onnxruntime",
            "version": str(ort.__version__),
            "provider": str(self._session.get_providers()[0]),
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
            self._session = open_session(made.content, threads=count, spinning=spinning)
            self._info["calibration"] = made.about["calibration"]

    @property
    def output_names(self) -> tuple[str, ...]:
        """Names of the outputs that `run` gives, in its order."""
        return self._outputs

    @property
    def input_shape(self) -> Shape:
        """(N, 3, H, W) as the network declares it; None where any size will do."""
        return self._shape

    @property
    def metadata(self) -> dict[str, Any]:
        """What the file says under `pyad_edge.backbone`; empty where it says nothing."""
        return dict(self._metadata)

    @property
    def info(self) -> dict[str, Any]:
        """`name`, `version`, `provider`, `device`, `precision`, `threads`, `spinning`; for int8
        also `calibration`.
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
        check_batch("onnxruntime", batch, self._shape)
        try:
            found = self._session.run(
                list(self._outputs), {self._input: np.ascontiguousarray(batch)}
            )
        except Exception as error:
            raise run_error("onnxruntime", batch.shape, first_line(error)) from error
        for name, array in zip(self._outputs, found, strict=True):
            check_output(name, array.shape, len(batch))
        return [np.ascontiguousarray(array) for array in found]

    def session(self, batch: int) -> OnnxRuntimeSession:
        """Plans a binding for batches of `batch` pictures; see `Session`.

        Raises:
            BackendError: if the network does not take such a batch.
            ResourceError: if there is not enough memory for it.
        """
        return OnnxRuntimeSession(
            self._session,
            name=self._input,
            shape=batch_shape("onnxruntime", batch, self._size, self._shape),
            outputs=self._outputs,
        )

    def _check_input(self) -> tuple[str, Shape]:
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


def examine() -> dict[str, Any]:
    """Whether it can run here, in what; see `pyad_edge.backends.registry.examine_backends`."""
    version = installed_version("onnxruntime", "onnxruntime", "onnxruntime-gpu")
    try:
        import onnxruntime as ort

        providers = ort.get_available_providers()
    except ImportError as error:
        return {
            "name": "onnxruntime",
            "version": version,
            "state": "missing",
            "devices": (),
            "precisions": (),
            "why": f"does not import ({error}): pip install onnxruntime",
        }
    devices = tuple(name for name, (provider, _) in PROVIDERS.items() if provider in providers)
    offered = {precision: None for device in devices for precision in _PRECISIONS[device]}
    absent = [name for name in PROVIDERS if name not in devices]
    return {
        "name": "onnxruntime",
        "version": version,
        "state": "ok",
        "devices": devices,
        "precisions": tuple(offered),
        "why": f"{' and '.join(absent)} need onnxruntime-gpu" if absent else "",
    }
