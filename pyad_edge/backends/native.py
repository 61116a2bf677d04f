"""The kernels of pyad_edge itself: convolutional networks with fewer multiplications."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import numpy as np

from pyad_edge.backends._common import (
    batch_shape,
    check_batch,
    check_precision,
    planned,
    thread_count,
)
from pyad_edge.backends.base import Float32
from pyad_edge.backends.native_graph import read_graph
from pyad_edge.backends.native_plan import build_network
from pyad_edge.errors import BackendError, ResourceError, SettingError
from pyad_edge.ops._native import native
from pyad_edge.ops.threads import cpu_level, has_bf16

__all__ = ["NativeBackend", "NativeSession", "examine"]

_MAX_SIZES = 4  # networks kept, one a picture size: each holds its own weights

# (network, tensors of the outputs)
_Built = tuple[Any, list[int]]


class NativeBackend:
    """Runs ResNet-like backbones with pyad_edge's own kernels (`pyad/convolution.h`).

    Results are bit-equal from run to run, for any number of threads, and for a picture alone or
    inside a batch; between instruction sets the last bits may differ.
    """

    device = "cpu"  # where `run` and sessions take and give arrays

    def __init__(
        self,
        model: bytes,
        *,
        outputs: tuple[str, ...],
        input_size: tuple[int, int] | None = None,
        precision: str = "fp32",
        device: str = "cpu",
        threads: int | None = None,
    ) -> None:
        """Loads the network.

        Args:
            model: Bytes of an ONNX file: one float32 input (N, 3, H, W), weights inside.
            outputs: Names of the outputs wanted, in the wanted order, each (N, C, h, w) float32.
            input_size: (H, W) of sessions; none: what the network declares.
            precision: fp32, or bf16 where the processor has AVX512_BF16: factors of products have
                8 bits, sums and everything between steps are float32.
            device: ``cpu``.
            threads: At most so many of the kernels' threads work on one batch, 1 to 1024; all
                usable cores where not given.

        Raises:
            SettingError: if a setting cannot be used.
            BackendError: if the bytes are no ONNX model, the input is not of that form, an output
                does not exist, or an operator is not one of these kernels'.
        """
        if device != "cpu":
            raise SettingError(
                f"[native] runs on the device cpu alone, got {device!r}. Leave the device out, or "
                "choose another backend."
            )
        check_precision("native", precision, _precisions(), where="it")
        self._precision = precision
        self._threads = thread_count("native", threads)
        self._graph = read_graph(model)
        if not outputs:
            raise SettingError(
                "[native] expected at least one output name, got none. The network offers "
                f"{', '.join(self._graph.outputs)}."
            )
        if missing := [name for name in outputs if name not in self._graph.outputs]:
            raise BackendError(
                f"[native] the network has no output {', '.join(map(repr, missing))}; it offers "
                f"{', '.join(self._graph.outputs)}. Choose among these with `--layers`."
            )
        self._outputs = tuple(outputs)
        self._size = input_size
        self._lock = threading.Lock()
        self._built: OrderedDict[tuple[int, int], _Built] = OrderedDict()
        if input_size is not None:
            _, _, height, width = batch_shape(
                "native", self._graph.shape[0] or 1, input_size, self._graph.shape
            )
            self._network((height, width))

    @property
    def output_names(self) -> tuple[str, ...]:
        """Names of the outputs that `run` gives, in its order."""
        return self._outputs

    @property
    def metadata(self) -> Mapping[str, Any]:
        """What the file says under `pyad_edge.backbone`; empty where it says nothing."""
        return dict(self._graph.metadata)

    @property
    def info(self) -> Mapping[str, Any]:
        """`name`, `version`, `provider` (the instruction set), `device`, `precision`, `threads`."""
        return {
            "name": "native",
            "version": _version(),
            "provider": cpu_level(),
            "device": "cpu",
            "precision": self._precision,
            "threads": self._threads,
        }

    def run(self, batch: Float32) -> list[Float32]:
        """Runs the network; may be called from several threads at once.

        Args:
            batch: (N, 3, H, W) float32, N at least 1, any strides.

        Returns:
            One C-contiguous float32 array (N, C, h, w) per name in `output_names`.

        Raises:
            BackendError: if the batch does not fit the network.
            ResourceError: if there is not enough memory for a batch of that size.
        """
        check_batch("native", batch, self._graph.shape)
        session = self._session(batch.shape)
        np.copyto(session.input, batch)
        session.run()
        return list(session.outputs)

    def session(self, batch: int) -> NativeSession:
        """Plans a binding for batches of `batch` pictures; see `Session`.

        Raises:
            BackendError: if the network does not take such a batch.
            ResourceError: if there is not enough memory for it.
        """
        return self._session(batch_shape("native", batch, self._size, self._graph.shape))

    def _session(self, shape: tuple[int, ...]) -> NativeSession:
        network, tensors = self._network((shape[2], shape[3]))
        try:
            return NativeSession(network, tensors, shape, self._threads)
        except MemoryError as error:
            raise ResourceError(
                f"[native] not enough memory for a batch of shape {shape}. Use fewer pictures at "
                "once or a smaller size."
            ) from error

    def _network(self, size: tuple[int, int]) -> _Built:
        with self._lock:
            built = self._built.get(size)
            if built is None:
                built = self._built[size] = build_network(
                    self._graph, self._outputs, size, bf16=self._precision == "bf16"
                )
                if len(self._built) > _MAX_SIZES:
                    self._built.popitem(last=False)
            self._built.move_to_end(size)
            return built


class NativeSession:
    """One thread's binding: the network reads `input` and writes `outputs` where they lie."""

    def __init__(
        self, network: Any, tensors: list[int], shape: tuple[int, ...], threads: int
    ) -> None:
        self._plan = native.ConvolutionPlan(network, tensors, shape[0], threads)
        self.input = planned(shape)
        self.outputs: tuple[Float32, ...] = tuple(
            planned((shape[0], *network.shape(tensor))) for tensor in tensors
        )
        self._targets = list(self.outputs)

    def run(self) -> None:
        """Runs the network from `input` into `outputs`.

        Raises:
            ResourceError: if there is not enough memory.
        """
        try:
            self._plan.run(self.input, self._targets)
        except MemoryError as error:
            raise ResourceError(
                f"[native] not enough memory for a batch of shape {self.input.shape}. Use fewer "
                "pictures at once or a smaller size."
            ) from error


def examine() -> dict[str, Any]:
    """What it offers here; see `pyad_edge.backends.registry.examine_backends`."""
    return {
        "name": "native",
        "version": _version(),
        "state": "ok",
        "devices": ("cpu",),
        "precisions": _precisions(),
        "why": "",
    }


def _precisions() -> tuple[str, ...]:
    return ("fp32", "bf16") if has_bf16() else ("fp32",)


def _version() -> str:
    from pyad_edge import __version__

    return __version__
