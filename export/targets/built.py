"""What a target makes, before it is on the disk."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pyad_edge.export.targets.forms import Form

__all__ = ["Built"]


@dataclass(frozen=True, eq=False)
class Built:
    """An export in memory.

    Attributes:
        files: bytes by name, below the folder that was asked for. One that is no folder has one
            name per suffix, such as ``.xml``, for the file's own.
        folder: whether it is a folder.
        frame_size: (H, W) of the frames that it takes; None: any.
        open: makes what runs it here; None: nothing here can.
        not_run: why, and what follows from that.
        notes: sentences that a user needs to run it.
        about: plain data for the report.
    """

    files: Mapping[str, bytes]
    folder: bool
    frame_size: tuple[int, int] | None
    open: Callable[[], Form] | None
    not_run: str | None = None
    notes: tuple[str, ...] = ()
    about: dict[str, Any] = field(default_factory=dict)
