"""Where a training runs, in which precision, and from which seeds."""

from __future__ import annotations

import re
from contextlib import AbstractContextManager
from typing import Literal

import torch

from pyad_edge.errors import BackendError, SettingError

__all__ = ["Precision", "autocast", "choose_device", "seed_everything"]

Precision = Literal["fp32", "bf16"]


def choose_device(name: str) -> torch.device:
    """The device of that name; never another one instead.

    Args:
        name: ``cpu``, ``cuda`` or ``cuda:N``.

    Raises:
        SettingError: if the name is none of these.
        BackendError: if this machine, or this torch, has no such device.
    """
    found = re.fullmatch(r"cpu|cuda(?::(\d{1,3}))?", name)
    if found is None:
        raise SettingError(f"[train] expected --device as cpu, cuda or cuda:N, got '{name}'.")
    if name == "cpu":
        return torch.device("cpu")
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if int(found.group(1) or 0) >= count:
        raise BackendError(
            f"[train] expected a CUDA device for --device {name}, got {count} that torch "
            f"{torch.__version__} can use. Train with --device cpu, or install a torch that fits "
            "the driver."
        )
    return torch.device(name)


def autocast(device: torch.device, precision: Precision) -> AbstractContextManager[None]:
    """A context in which networks compute in that precision; weights stay float32.

    ``bf16`` on a CPU pays where it has AMX or AVX512-BF16.
    """
    context: AbstractContextManager[None] = torch.autocast(
        device.type, torch.bfloat16, enabled=precision == "bf16"
    )
    return context


def seed_everything(seed: int) -> None:
    """Seed torch's generators, of every device; NumPy's are made from seeds where they are used.

    Equal seeds give equal weights on a CPU with one number of threads. CUDA kernels that add in any
    order leave differences of rounding.
    """
    torch.manual_seed(seed % 2**63)
