"""The first CUDA device, asked of nvidia-smi or, where that knows too little, of the driver."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

from gpu_build import Done

FIELDS = ("device", "compute_capability", "driver", "memory")
QUERY = "--query-gpu=name,compute_cap,driver_version,memory.total"
MAJOR, MINOR = 75, 76  # CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_*


def first_device(
    run: Callable[..., Done], load: Callable[[str], Any] = ctypes.CDLL
) -> tuple[dict[str, str], str]:
    """The first device's fields, and what nvidia-smi said; no fields where there is no device.

    The nvidia-smi of some Jetsons knows neither names nor capabilities; their driver does.

    Args:
        run: runs a command, as gpu_build.run.
        load: opens a shared library.
    """
    smi = run(["nvidia-smi", QUERY, "--format=csv,noheader"], 30.0)
    values = [value.strip() for value in (smi.output.splitlines() or [""])[0].split(",")]
    if smi.code == 0 and len(values) == len(FIELDS) and "[N/A]" not in values[:2]:
        return dict(zip(FIELDS, values, strict=True)), smi.output
    return of_the_driver(load), smi.output


def of_the_driver(load: Callable[[str], Any] = ctypes.CDLL) -> dict[str, str]:
    """The first device's fields as libcuda tells them; none where it finds no device."""
    try:
        driver = load("libcuda.so.1")
    except OSError:
        return {}
    device, version, major, minor = (ctypes.c_int() for _ in range(4))
    memory, name = ctypes.c_size_t(), ctypes.create_string_buffer(256)
    if driver.cuInit(0) != 0 or driver.cuDeviceGet(ctypes.byref(device), 0) != 0:
        return {}
    asked = (
        driver.cuDeviceGetName(name, len(name), device),
        driver.cuDeviceGetAttribute(ctypes.byref(major), MAJOR, device),
        driver.cuDeviceGetAttribute(ctypes.byref(minor), MINOR, device),
        driver.cuDriverGetVersion(ctypes.byref(version)),
        driver.cuDeviceTotalMem_v2(ctypes.byref(memory), device),
    )
    if any(asked):
        return {}
    values = (
        name.value.decode(errors="replace"),
        f"{major.value}.{minor.value}",
        f"for CUDA {version.value // 1000}.{version.value % 1000 // 10}",
        f"{memory.value >> 20} MiB",
    )
    return dict(zip(FIELDS, values, strict=True))
