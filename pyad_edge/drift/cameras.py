"""Which monitor watches which camera."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from rich.markup import escape

from pyad_edge.console import err
from pyad_edge.errors import SettingError

if TYPE_CHECKING:
    from pyad_edge.drift.monitor import DriftMonitor
    from pyad_edge.drift.watched import Watched

__all__ = ["monitors_by_camera", "open_monitors", "unwatched"]


def monitors_by_camera(
    drift: DriftMonitor | Mapping[str, DriftMonitor] | None, cameras: Sequence[str]
) -> dict[str, DriftMonitor]:
    """Monitors by camera: one camera's charts say nothing about another.

    Raises:
        SettingError: if a monitor is for no camera, or for several.
    """
    if drift is None:
        return {}
    if not isinstance(drift, Mapping):
        if len(cameras) != 1:
            raise SettingError(
                f"[drift] {len(cameras)} sources need a monitor each: drift={{'left': "
                "DriftMonitor(...), ...}, --drift left=FILE."
            )
        return {cameras[0]: drift}
    if unknown := sorted(set(drift) - set(cameras)):
        raise SettingError(
            f"[drift] there is no source {unknown[0]!r}; there are {', '.join(cameras)}."
        )
    if len({id(monitor) for monitor in drift.values()}) < len(drift):
        raise SettingError("[drift] two sources share a monitor. Make one for each.")
    return dict(drift)


def open_monitors(
    runtime: Watched,
    texts: Sequence[str],
    *,
    named: bool,
    learn: int | None = None,
    reset: bool = False,
) -> DriftMonitor | dict[str, DriftMonitor] | None:
    """Monitors as ``--drift`` gives them: FILE, or NAME=FILE for sources with names.

    Raises:
        SettingError: if names are missing or not wanted, or a state cannot be used.
        ResourceError: if a state cannot be written.
    """
    if not texts:
        if learn is not None or reset:
            raise SettingError("--drift-learn and --drift-reset need --drift FILE.")
        return None
    if not named:
        if len(texts) > 1:
            raise SettingError("[drift] one source has one --drift FILE.")
        return _open(runtime, texts[0], learn, reset)
    pairs = [re.match(r"([A-Za-z0-9_-]+)=(.+)", text) for text in texts]
    if not all(pairs) or len({pair[1] for pair in pairs if pair}) < len(texts):
        raise SettingError(
            f"[drift] sources with names have a state each, got {', '.join(texts)}. Write --drift "
            "left=left.json --drift right=right.json."
        )
    files = {pair[1]: pair[2] for pair in pairs if pair}
    if len({os.path.realpath(file) for file in files.values()}) < len(files):
        raise SettingError("[drift] two sources share a state file. Give each its own.")
    return {name: _open(runtime, file, learn, reset) for name, file in files.items()}


def unwatched(monitors: DriftMonitor | Mapping[str, DriftMonitor] | None) -> int:
    """Say on stderr what monitors could not do; how often that was."""
    if monitors is None:
        return 0
    several = isinstance(monitors, Mapping)
    named = monitors.items() if isinstance(monitors, Mapping) else [("camera", monitors)]
    for name, monitor in named:
        if monitor.failures:
            whose = f" of {name}" if several else ""
            err.print(
                f"[yellow]Note:[/] the drift monitor{whose} failed {monitor.failures} times; "
                f"verdicts stand. The first time: {escape(monitor.failure or '')}",
                highlight=False,
            )
    return sum(monitor.failures for _, monitor in named)


def _open(runtime: Watched, file: str, learn: int | None, reset: bool) -> DriftMonitor:
    # Late: the stream takes this module, and the monitor the stream's measures.
    from pyad_edge.drift.monitor import LEARN, DriftMonitor

    return DriftMonitor(runtime, state=file, learn=LEARN if learn is None else learn, reset=reset)
