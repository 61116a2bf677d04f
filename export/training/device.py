"""Where a training runs, in which precision, and from which seeds."""

from __future__ import annotations

import re
import time
from contextlib import AbstractContextManager
from typing import Literal

import torch

from pyad_edge.errors import BackendError, SettingError

__all__ = ["Precision", "autocast", "choose_device", "faster_precision", "seed_everything"]

Precision = Literal["fp32", "bf16"]
TIMED = 3  # passes of a layer, after one to warm up


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

    ``bf16`` on a CPU pays where it has AMX; see :func:`faster_precision`.
    """
    context: AbstractContextManager[None] = torch.autocast(
        device.type, torch.bfloat16, enabled=precision == "bf16"
    )
    return context


def faster_precision(device: torch.device) -> Precision:
    """The precision in which this device trains a convolution faster: timed, 0.1 s.

    A CPU whose bf16 torch emulates takes ten times as long with it as in fp32.
    """
    layer = torch.nn.Conv2d(32, 32, 3, padding=1).to(device)
    picture = torch.rand(4, 32, 32, 32, device=device)
    seconds: dict[Precision, float] = {}
    for precision in ("fp32", "bf16"):
        taken = []
        for _ in range(TIMED + 1):
            start = time.perf_counter()
            with autocast(device, precision):
                layer(picture).float().square().mean().backward()
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            taken.append(time.perf_counter() - start)
        seconds[precision] = min(taken[1:])
    return min(seconds, key=lambda precision: seconds[precision])


def seed_everything(seed: int) -> None:
    """Seed torch's generators, of every device; NumPy's are made from seeds where they are used.

    Equal seeds give equal weights on a CPU with one number of threads. CUDA kernels that add in any
    order leave differences of rounding.
    """
    torch.manual_seed(seed % 2**63)
