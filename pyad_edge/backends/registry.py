"""Backends by name. What is not here is refused with the way out; nothing is put in its place."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from pyad_edge.backends.base import Backend, Float32
from pyad_edge.errors import BackendError, SettingError

__all__ = ["BACKENDS", "PRECISIONS", "examine_backends", "golden_tolerance", "open_backend"]

PRECISIONS = ("fp32", "fp16", "bf16", "int8")

_CPU = ("input_size", "precision", "device", "threads", "spinning", "cache_key", "calibration")
_GPU = ("input_size", "precision", "device", "cache_key", "calibration")
_PLAIN = ("input_size", "precision", "device", "threads")
# name: (module, class, device where none is named, arguments that it takes)
_FORMS: dict[str, tuple[str, str, str, tuple[str, ...]]] = {
    "onnxruntime": ("onnxruntime", "OnnxRuntimeBackend", "cpu", _CPU),
    "openvino": ("openvino", "OpenVinoBackend", "cpu", (*_CPU, "coarse_outputs")),
    "native": ("native", "NativeBackend", "cpu", _PLAIN),
    "torch": ("torch", "TorchBackend", "cpu", _PLAIN),
    "tensorrt": ("tensorrt", "TensorRtBackend", "cuda", _GPU),
    "tensorrt-rtx": ("tensorrt_rtx", "TensorRtRtxBackend", "cuda", _GPU),
}
BACKENDS = tuple(_FORMS)

# Largest relative drift of a golden score with which an engine opens: about twice the largest error
# of a picture's score that was measured (docs/backends.md), 0.019, 0.030 and 0.128.
_TOLERANCES = {"fp16": 0.04, "bf16": 0.06, "int8": 0.26}


def open_backend(
    name: str,
    model: bytes,
    *,
    outputs: tuple[str, ...],
    input_size: tuple[int, int],
    precision: str | None = None,
    device: str | None = None,
    threads: int | None = None,
    spinning: bool = True,
    cache_key: str | None = None,
    calibration: Float32 | None = None,
    coarse_outputs: bool = False,
) -> Backend:
    """Load a network into the backend of that name.

    Args:
        name: one of `BACKENDS`.
        model: bytes of an ONNX file: one float32 input (N, 3, H, W), weights inside.
        outputs: names of the outputs wanted, in the wanted order.
        input_size: (H, W) of the batches that will come.
        precision: fp32, fp16, bf16 or int8, what convolutions are computed in; none: fp32.
        device: where; none: the CPU, with ``tensorrt`` and ``tensorrt-rtx`` CUDA.
        threads: of the network on the CPU; none: all usable cores. A GPU has no use for it.
        spinning: whether threads of the CPU wait busily between operators.
        cache_key: SHA-256 of the engine; what a backend builds (int8 networks, plans) is kept
            under it.
        calibration: (n, 3, H, W) float32 of normal pictures, for int8 where none is kept.
        coarse_outputs: whether sessions of a network in bf16 may give outputs as bf16 where that
            is faster, see ``Session.outputs``: for features, not for scores.

    Raises:
        SettingError: if a name or setting is unknown or not offered here.
        BackendError: if a package or device is missing, or the network does not run there.
    """
    if name not in _FORMS:
        raise SettingError(
            f"[open_backend] unknown backend {name!r}. This version has: {', '.join(BACKENDS)}."
        )
    if precision is not None and precision not in PRECISIONS:
        raise SettingError(
            f"[open_backend] unknown precision {precision!r}. Choose {', '.join(PRECISIONS)}; "
            "`pyad-edge doctor` lists what each backend offers here."
        )
    _, _, usual, taken = _FORMS[name]
    settings = {
        "input_size": input_size,
        "precision": precision or "fp32",
        "device": device or usual,
        "threads": threads,
        "spinning": spinning,
        "cache_key": cache_key,
        "calibration": calibration,
        "coarse_outputs": coarse_outputs,
    }
    made = _class(name)(model, outputs=outputs, **{key: settings[key] for key in taken})
    if not isinstance(made, Backend):
        raise BackendError(
            f"[open_backend] {type(made).__name__} is no Backend. Reinstall pyad_edge: pip "
            "install --force-reinstall --no-deps pyad_edge"
        )
    return made


def examine_backends() -> list[dict[str, Any]]:
    """What each backend offers on this machine, without loading a network.

    Returns:
        One entry per name in `BACKENDS`: ``name``; ``version`` of its package or None; ``state``
        (``ok``, ``missing``: not installed, ``unavailable``: installed, but it does not work
        here); ``devices``; ``precisions``; ``why`` something is not available, with the way out,
        else empty.
    """
    return [_examine(name) for name in BACKENDS]


def golden_tolerance(precision: str | None, engine_tolerance: float) -> float:
    """Largest relative drift of a golden score with which an engine opens.

    Args:
        precision: that the network runs in; none: fp32.
        engine_tolerance: the engine's own, which fp32 must meet.
    """
    return max(engine_tolerance, _TOLERANCES.get(precision or "fp32", 0.0))


def _class(name: str) -> Callable[..., Any]:
    module, cls, _, _ = _FORMS[name]
    found: Callable[..., Any] = getattr(_module(module), cls)
    return found


def _module(name: str) -> Any:
    return importlib.import_module(f"pyad_edge.backends.{name}")


def _examine(name: str) -> dict[str, Any]:
    try:
        found = _module(_FORMS[name][0]).examine()
    except Exception as error:  # a doctor reports, whatever is wrong
        found = {"state": "unavailable", "why": f"{type(error).__name__}: {error}"}
    usual = {"version": None, "devices": (), "precisions": (), "why": ""}
    return {**usual, **found, "name": name}
