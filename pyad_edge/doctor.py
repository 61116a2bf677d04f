"""What this machine can run, and why something is not available."""

from __future__ import annotations

import importlib.util
import platform
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Literal

import numpy as np

from pyad_edge.errors import PyadError
from pyad_edge.ops import available_cpu_levels, cpu_level, nearest_neighbors, num_threads
from pyad_edge.ops.cuda import why_unavailable
from pyad_edge.reference.nearest_neighbors import nearest_neighbors as plain_nearest_neighbors

__all__ = ["Finding", "examine"]


@dataclass(frozen=True)
class Finding:
    """One line of the examination."""

    name: str
    state: Literal["ok", "missing", "unused", "broken"]
    detail: str


# package: (distribution, extra, what it is for)
_OPTIONAL = {
    "torch": ("torch", "train", "training and exporting backbones"),
    "timm": ("timm", "train", "exporting backbones"),
    "onnx": ("onnx", "train", "exporting backbones"),
    "faiss": ("faiss-cpu", "faiss", "engines with an approximate index"),
}
# package: (distribution, what a later version may use it for)
_RESERVED = {
    "cupy": ("cupy-cuda13x", "frames in GPU memory"),
    "tensorrt": ("tensorrt", "TensorRT engines"),
    "openvino": ("openvino", "Intel CPUs and GPUs"),
}
_REINSTALL = "Reinstall pyad_edge: pip install --force-reinstall --no-deps pyad_edge"


def examine() -> list[Finding]:
    """Look at everything; nothing heavy is imported and nothing is changed."""
    # name: (check, way out where it fails without a sentence of its own)
    checks: dict[str, tuple[Callable[[], Finding], str]] = {
        "pyad_edge": (_package, _REINSTALL),
        "cpu kernels": (_kernels, _REINSTALL),
        "self-test": (_self_test, _REINSTALL),
        "onnxruntime": (_onnxruntime, "Reinstall it: pip install --force-reinstall onnxruntime"),
        "cuda kernels": (_cuda, _REINSTALL),
    }
    findings = []
    for name, (check, way_out) in checks.items():
        try:
            findings.append(check())
        except PyadError as error:
            findings.append(Finding(name, "broken", str(error)))
        except Exception as error:  # a doctor reports, whatever is wrong
            detail = f"{type(error).__name__}: {error}. {way_out}"
            findings.append(Finding(name, "broken", detail))
    findings += [_optional(name) for name in _OPTIONAL]
    return findings + [_reserved(name) for name in _RESERVED]


def _package() -> Finding:
    machine = f"{sys.platform} {platform.machine()}"
    detail = f"{version('pyad_edge')}, Python {platform.python_version()}, {machine}"
    return Finding("pyad_edge", "ok", detail)


def _kernels() -> Finding:
    levels = ", ".join(available_cpu_levels())
    return Finding(
        "cpu kernels", "ok", f"level {cpu_level()} (of {levels}), {num_threads()} threads"
    )


def _self_test() -> Finding:
    cpu_level()  # its error has the way out
    rng = np.random.default_rng(0)
    queries = rng.random((37, 70), np.float32)
    bank = rng.random((65, 70), np.float32)
    distances, rows = nearest_neighbors(queries, bank)
    expected_distances, expected_rows = plain_nearest_neighbors(queries, bank)
    if distances.tobytes() == expected_distances.tobytes() and (rows == expected_rows).all():
        return Finding(
            "self-test", "ok", "nearest_neighbors agrees with its reference to the last bit"
        )
    return Finding(
        "self-test",
        "broken",
        "nearest_neighbors differs from its reference. Try PYAD_CPU_LEVEL=portable, and report "
        "this.",
    )


def _onnxruntime() -> Finding:
    import onnxruntime

    providers = ", ".join(onnxruntime.get_available_providers())
    return Finding(
        "onnxruntime", "ok", f"{onnxruntime.__version__}; providers {providers}; used: CPU"
    )


def _cuda() -> Finding:
    reason = why_unavailable()
    if reason is None:
        return Finding("cuda kernels", "ok", "a CUDA device answers")
    return Finding("cuda kernels", "missing", reason)


def _optional(name: str) -> Finding:
    distribution, extra, purpose = _OPTIONAL[name]
    found = _installed(name, distribution)
    if found is None:
        return Finding(name, "missing", f"for {purpose}: pip install 'pyad_edge[{extra}]'")
    return Finding(name, "ok", found)


def _reserved(name: str) -> Finding:
    distribution, purpose = _RESERVED[name]
    found = _installed(name, distribution)
    state = "not installed" if found is None else found
    return Finding(name, "unused", f"{state}; not used by this version, reserved for {purpose}")


def _installed(name: str, distribution: str) -> str | None:
    """The version of a package; None where it cannot be imported."""
    try:
        found = importlib.util.find_spec(name) is not None
    except (ImportError, ValueError):  # something in the way of importing it
        found = False
    if not found:
        return None
    try:
        return version(distribution)
    except PackageNotFoundError:
        return "version unknown"
