"""Memory of this process, and power where the board tells it."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Memory", "PowerMeter", "memory", "read_power"]

SYSFS = Path("/sys")


@dataclass(frozen=True)
class Memory:
    """Resident memory in MB (10^6 bytes); None where the system does not tell."""

    resident: float | None
    peak: float | None


def memory(status: Path = Path("/proc/self/status")) -> Memory:
    """Resident memory now and at most so far, from Linux."""
    try:
        lines = status.read_text().splitlines()
    except OSError:
        return Memory(None, None)
    values = {line.split(":")[0]: line.split()[1] for line in lines if line.startswith("Vm")}

    def megabytes(name: str) -> float | None:
        return int(values[name]) * 1024 / 1e6 if name in values else None

    return Memory(megabytes("VmRSS"), megabytes("VmHWM"))


def read_power(sysfs: Path = SYSFS) -> dict[str, float]:
    """Watts by rail from the INA3221 monitors of a Jetson; empty where there are none.

    JetPack 5 and later: hwmon, millivolts times milliamperes. JetPack 4: iio, milliwatts.
    """
    found: dict[str, float] = {}
    for label in sorted(sysfs.glob("bus/i2c/drivers/ina3221/*/hwmon/hwmon*/in*_label")):
        number = label.name[2 : -len("_label")]
        volts = _number(label.with_name(f"in{number}_input"))
        amperes = _number(label.with_name(f"curr{number}_input"))
        if volts is not None and amperes is not None:
            found[_text(label)] = volts * amperes / 1e6
    for label in sorted(sysfs.glob("bus/i2c/drivers/ina3221x/*/iio:device*/rail_name_*")):
        number = label.name.rsplit("_", 1)[1]
        milliwatts = _number(label.with_name(f"in_power{number}_input"))
        if milliwatts is not None:
            found[_text(label)] = milliwatts / 1e3
    return found


class PowerMeter:
    """Reads the rails while it is entered; does nothing where there are none.

    Args:
        period: seconds between two readings.
        sysfs: where the monitors are looked for.
    """

    def __init__(self, *, period: float = 0.1, sysfs: Path = SYSFS) -> None:
        self._period, self._sysfs = period, sysfs
        self._sums: dict[str, float] = {}
        self._count = 0
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> PowerMeter:
        """Start to read."""
        if read_power(self._sysfs):
            self._thread = threading.Thread(target=self._watch, daemon=True)
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    @property
    def watts(self) -> Mapping[str, float] | None:
        """Mean watts by rail; None: not readable here. Rails are not summed: some feed others."""
        if not self._count:
            return None
        return {rail: total / self._count for rail, total in self._sums.items()}

    def _watch(self) -> None:
        while True:
            for rail, watts in read_power(self._sysfs).items():
                self._sums[rail] = self._sums.get(rail, 0.0) + watts
            self._count += 1
            if self._stop.wait(self._period):
                return


def _number(path: Path) -> float | None:
    try:
        return float(path.read_text())
    except (OSError, ValueError):
        return None


def _text(path: Path) -> str:
    try:
        return path.read_text().strip() or path.name
    except OSError:
        return path.name
