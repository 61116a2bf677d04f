"""Arrays in device memory: those of other libraries without a copy, and a small one of our own.

What a face of a kernel does with its arguments:

    def scale(values, *, factor, stream=0):
        module = require_device()
        x = as_device("scale", "values", values, np.float32, 2, "(Q, D)", stream=stream)
        out = DeviceArray(x.shape, np.float32)
        with device_errors(f"the scaling of {x.shape} values", "Use pyad_edge.ops.scale."):
            module.scale(x.pointer, out.pointer, *x.shape, factor, stream)
        return result(out, values, stream=stream)

NumPy arrays in: they are copied to the device and the result is a NumPy array. Device arrays (of
CuPy, torch, Numba, or a DeviceArray) in: used where they lie, the result is a DeviceArray, and
nothing waits for the device: the caller orders further work by using the same stream. ``stream`` is
a cudaStream_t as an integer, 0 the default stream.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from pyad_edge.ops.cuda.device import device_errors, module, require_device

__all__ = ["DeviceArray", "DeviceView", "as_device", "result"]

_CUDA_MEMORY = (2, 13)  # DLPack device types: CUDA, CUDA managed
_WAY_OUT = "Is another program holding the memory of the device? Look at nvidia-smi."


class DeviceArray:
    """A C-contiguous array in memory of the current device, freed with the object.

    It exports ``__cuda_array_interface__`` (version 3), so CuPy, torch and Numba read it without a
    copy. Work enqueued on it has to be over before it is freed, as after :meth:`numpy`; freeing
    waits for the device.

    Args:
        shape: of the array; its values are undefined.
        dtype: any NumPy type of fixed size.

    Raises:
        BackendError: if there is no device or not enough memory.
    """

    def __init__(self, shape: tuple[int, ...], dtype: DTypeLike) -> None:
        self.pointer = 0
        self.shape = tuple(int(side) for side in shape)
        self.dtype = np.dtype(dtype)
        self._module = require_device()
        with device_errors(f"taking {self.nbytes} bytes of device memory", _WAY_OUT):
            self.pointer = int(self._module.allocate(self.nbytes))

    @classmethod
    def from_numpy(cls, array: NDArray[Any], *, stream: int = 0) -> DeviceArray:
        """Copy an array to the device."""
        array = np.ascontiguousarray(array)
        made = cls(array.shape, array.dtype)
        with device_errors(f"copying {array.shape} values to the device", _WAY_OUT):
            made._module.copy_to_device(made.pointer, array, stream)
        return made

    @property
    def nbytes(self) -> int:
        """Bytes of the array."""
        return math.prod(self.shape) * self.dtype.itemsize

    def numpy(self, *, stream: int = 0) -> NDArray[Any]:
        """Copy the array to the host, after what was enqueued on the stream before."""
        out = np.empty(self.shape, self.dtype)
        with device_errors(f"copying {self.shape} values from the device", _WAY_OUT):
            self._module.copy_to_host(out, self.pointer, stream)
        return out

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        """What CuPy, torch and Numba read."""
        return {
            "shape": self.shape,
            "typestr": self.dtype.str,
            "data": (self.pointer, False),
            "version": 3,
            "strides": None,
            "stream": None,
        }

    def __del__(self) -> None:
        """Free the memory."""
        if getattr(self, "pointer", 0):
            self._module.release(self.pointer)
            self.pointer = 0


@dataclass(frozen=True)
class DeviceView:
    """Where an array lies on the device; keeps its owner alive.

    ``on_host`` is true where it was a NumPy array and has been copied; ``strides``, in bytes, are
    None where it is C-contiguous.
    """

    pointer: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    read_only: bool
    on_host: bool = False
    owner: Any = field(default=None, repr=False)
    strides: tuple[int, ...] | None = None


def as_device(
    op: str,
    name: str,
    value: Any,
    dtype: DTypeLike,
    ndim: int | tuple[int, ...],
    shape: str,
    *,
    stream: int = 0,
    written: bool = False,
    strided: bool = False,
) -> DeviceView:
    """View an argument on the current device, copying it there if it is a NumPy array.

    Args:
        op: name of the operation, for errors.
        name: of the argument.
        value: NumPy array, DeviceArray, or an object with ``__cuda_array_interface__`` or
            ``__dlpack__``, C-contiguous on the device. One that has both is read by DLPack unless
            its interface says which stream it was written on: torch's does not.
        dtype: what it has to hold.
        ndim: its dimensions, or those that it may have.
        shape: in words, as "(Q, D)".
        stream: that will read it; it waits for the stream that the array names as its own, or that
            its library works on.
        written: whether the kernel writes to it.
        strided: whether any strides are welcome.

    Raises:
        TypeError: if it is no array, of another type, or its library does not share it.
        ValueError: if its shape, layout or device does not fit.
    """
    view = _view(op, name, value, stream, strided)
    expected = np.dtype(dtype)
    if view.dtype != expected:
        raise TypeError(f"[{op}] expected {name} as a {expected} array, got {view.dtype}.")
    if len(view.shape) not in (ndim if isinstance(ndim, tuple) else (ndim,)):
        raise ValueError(f"[{op}] expected {name} of shape {shape}, got {view.shape}.")
    if written and (view.read_only or view.on_host):
        kind = "one in host memory" if view.on_host else "a read-only one"
        raise ValueError(f"[{op}] expected {name} as a writable device array, got {kind}.")
    if view.on_host:
        copy = DeviceArray.from_numpy(value, stream=stream)
        return DeviceView(copy.pointer, copy.shape, copy.dtype, False, True, copy)
    if view.pointer:
        here, there = module().current_device(), module().device_of(view.pointer)
        if here != there:
            where = "in host memory" if there < 0 else f"on device {there}"
            raise _elsewhere(op, name, where, here)
    return view


def result(out: DeviceArray, like: Any, *, stream: int = 0) -> Any:
    """The output as the caller works: a NumPy array where ``like`` is one, else ``out`` itself."""
    return out.numpy(stream=stream) if isinstance(like, np.ndarray) else out


def _view(op: str, name: str, value: Any, stream: int, strided: bool) -> DeviceView:
    if isinstance(value, np.ndarray):
        return DeviceView(0, value.shape, value.dtype, not value.flags.writeable, True, value)
    with _sharing(op, name):
        interface = getattr(value, "__cuda_array_interface__", None)
        has_dlpack = hasattr(value, "__dlpack__") and hasattr(value, "__dlpack_device__")
    # An interface before version 3 cannot tell a stream, and one may leave it out.
    tells_stream = interface is not None and "stream" in interface and interface["version"] >= 3
    if interface is not None and (tells_stream or not has_dlpack):
        view = _interface_view(op, name, value, interface, stream)
    elif has_dlpack:
        view = _dlpack_view(op, name, value, stream)
    else:
        raise TypeError(
            f"[{op}] expected {name} as a NumPy array or an array on the device "
            f"(__cuda_array_interface__ or DLPack), got {type(value).__name__}."
        )
    if view.strides is not None and not strided:
        raise ValueError(
            f"[{op}] expected {name} C-contiguous. Call .contiguous() (torch) or "
            "cupy.ascontiguousarray on it."
        )
    return view


@contextmanager
def _sharing(op: str, name: str) -> Iterator[None]:
    """Say it in our words where a library refuses to share an array."""
    try:
        yield
    except (BufferError, RuntimeError) as error:
        raise TypeError(
            f"[{op}] {name} cannot be read in place: {error} Call .detach() on a tensor that "
            "requires a gradient, .resolve_conj() on a lazy conjugate, .to_dense() on a sparse one."
        ) from error


def _interface_view(
    op: str, name: str, value: Any, interface: dict[str, Any], stream: int
) -> DeviceView:
    shape, dtype = tuple(interface["shape"]), np.dtype(interface["typestr"])
    strides = interface.get("strides")
    if interface.get("mask") is not None:
        raise ValueError(f"[{op}] expected {name} without a mask. Fill the masked values first.")
    producer = interface.get("stream")
    if producer is not None and producer != stream and {producer, stream} != {0, 1}:
        module().wait_for(stream, producer)
    pointer, read_only = interface["data"]
    strides = _steps(shape, dtype, None if strides is None else tuple(strides))
    return DeviceView(
        int(pointer or 0), shape, dtype, bool(read_only), owner=value, strides=strides
    )


def _dlpack_view(op: str, name: str, value: Any, stream: int) -> DeviceView:
    kind, there = value.__dlpack_device__()
    if kind not in _CUDA_MEMORY:
        raise ValueError(
            f"[{op}] expected {name} in CUDA memory, got DLPack device type {int(kind)}. Move it "
            "to the device, or pass a NumPy array."
        )
    here = module().current_device()
    if here != there:
        raise _elsewhere(op, name, f"on device {there}", here)
    with _sharing(op, name):
        # In DLPack the legacy default stream is 1.
        capsule = value.__dlpack__(stream=stream or 1)
    pointer, shape, dtype, strides, read_only, _, _, owner = module().dlpack_view(capsule)
    try:
        known = np.dtype(dtype)
    except TypeError:
        raise TypeError(f"[{op}] expected {name} of a NumPy type, got {dtype}.") from None
    strides = _steps(shape, known, strides)
    return DeviceView(pointer, tuple(shape), known, read_only, owner=owner, strides=strides)


def _steps(
    shape: tuple[int, ...], dtype: np.dtype[Any], strides: tuple[int, ...] | None
) -> tuple[int, ...] | None:
    """The strides in bytes, None for those of a C-contiguous array."""
    if strides is None or 0 in shape:
        return None
    steps = [dtype.itemsize * math.prod(shape[axis + 1 :]) for axis in range(len(shape))]
    differ = any(n != 1 and s != t for n, s, t in zip(shape, strides, steps, strict=True))
    return strides if differ else None


def _elsewhere(op: str, name: str, where: str, here: int) -> ValueError:
    return ValueError(
        f"[{op}] {name} lies {where}, but device {here} is the current one. Move it, or make its "
        "device the current one."
    )
