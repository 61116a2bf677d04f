"""What this machine can run, and why something is not available."""

from __future__ import annotations

import platform
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, Literal

import numpy as np

from pyad_edge.backends._common import installed_version
from pyad_edge.backends.registry import examine_backends
from pyad_edge.errors import PyadError
from pyad_edge.ops import available_cpu_levels, cpu_level, nearest_neighbors, num_threads
from pyad_edge.ops.cuda import why_unavailable
from pyad_edge.reference.nearest_neighbors import nearest_neighbors as plain_nearest_neighbors

__all__ = ["Finding", "State", "examine"]

State = Literal["ok", "missing", "broken"]


@dataclass(frozen=True)
class Finding:
    """One line of the examination."""

    name: str
    state: State
    detail: str


# package: (distribution, extra, what it is for)
_OPTIONAL = {
    "timm": ("timm", "train", "exporting backbones"),
    "onnx": ("onnx", "train", "exporting backbones and quantising them"),
    "faiss": ("faiss-cpu", "faiss", "engines with an approximate index"),
    "cupy": ("cupy-cuda13x", "gpu", "frames in GPU memory"),
    "paho": ("paho-mqtt", "mqtt", "verdicts over MQTT"),
    "harvesters": ("harvesters", "genicam", "GenICam cameras"),
    "mlperf_loadgen": ("mlcommons-loadgen", "bench", "MLPerf's clock in pyad-edge bench"),
    "matplotlib": ("matplotlib", "bench", "the plot of pyad-edge bench"),
}

_REINSTALL = "Reinstall pyad_edge: pip install --force-reinstall --no-deps pyad_edge"


def examine() -> list[Finding]:
    """Look at everything; nothing is changed. Installed backends are imported, to ask them."""
    # name: (check, way out where it fails without a sentence of its own)
    checks: dict[str, tuple[Callable[[], Finding], str]] = {
        "pyad_edge": (_package, _REINSTALL),
        "cpu kernels": (_kernels, _REINSTALL),
        "self-test": (_self_test, _REINSTALL),
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
    findings += [_backend(entry) for entry in examine_backends()]
    return findings + [_optional(name) for name in _OPTIONAL]


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


def _backend(entry: dict[str, Any]) -> Finding:
    """A backend: its version, where it runs and in what, and why something is not available."""
    name = f"backend {entry['name']}"
    if entry["state"] != "ok":
        # Without onnxruntime, which is no extra, nothing is inspected at all.
        state: State = "broken" if entry["name"] == "onnxruntime" else "missing"
        version_there = f"{entry['version']}; " if entry["version"] else ""
        return Finding(name, state, f"{version_there}{entry['why']}")
    detail = (
        f"{entry['version']}; devices {', '.join(entry['devices'])}; precisions "
        f"{', '.join(entry['precisions'])}"
    )
    return Finding(name, "ok", f"{detail}; {entry['why']}" if entry["why"] else detail)


def _cuda() -> Finding:
    reason = why_unavailable()
    if reason is None:
        return Finding("cuda kernels", "ok", "a CUDA device answers")
    return Finding("cuda kernels", "missing", reason)


def _optional(name: str) -> Finding:
    distribution, extra, purpose = _OPTIONAL[name]
    found = installed_version(name, distribution)
    if found is None:
        return Finding(name, "missing", f"for {purpose}: pip install 'pyad_edge[{extra}]'")
    return Finding(name, "ok", found)
