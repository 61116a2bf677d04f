"""The state file of a monitor: what it learned, frozen, and which alarms stand."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError, model_validator

from pyad_edge.drift.light import LIGHTS, MEASURES
from pyad_edge.drift.statistics import CELLS
from pyad_edge.engine_fields import Sha256, StrictModel
from pyad_edge.engine_format import canonical_json, strict_json
from pyad_edge.errors import ResourceError, SettingError
from pyad_edge.private_files import UnsafeError, read_private, write_private

__all__ = [
    "AlarmState",
    "DriftState",
    "acknowledge",
    "read_state",
    "take_acknowledgement",
    "write_state",
]

_FORMAT, _VERSION = "pyad_edge drift state", 2  # 1 knew no charts of light
_MAX_BYTES = 64 << 20
_ACK = b"pyad_edge drift acknowledged\n"
_Count = Annotated[int, Field(ge=0)]


class AlarmState(StrictModel):
    """An alarm that stands; see ``DriftAlarm``."""

    chart: Annotated[str, Field(min_length=1, max_length=40)]
    direction: Literal["up", "down", "any"]
    statistic: float
    limit: float
    since: int
    at: int
    camera: str


class DriftState(StrictModel):
    """Everything that outlives the process.

    The first ``shape`` good frames give the mean thumbnail, the next ``learn`` the reference of
    every chart of inputs. What is learned then never changes.
    """

    format: Literal["pyad_edge drift state"]
    format_version: Literal[2]
    engine_sha256: Sha256
    shape: Annotated[int, Field(ge=20, le=100_000)]
    learn: Annotated[int, Field(ge=100, le=100_000)]
    shape_seen: _Count
    thumbnail_sum: Annotated[list[float], Field(min_length=CELLS**2, max_length=CELLS**2)]
    frames: _Count  # with a verdict, while learning
    rejects: _Count  # among them
    values: dict[str, list[float]]  # by chart, in order of time
    moves: dict[str, list[float]]  # by chart of light: sums over these frames, see light_moves
    alarms: list[AlarmState]

    @model_validator(mode="after")
    def _consistent(self) -> DriftState:
        lengths = {len(column) for column in self.values.values()}
        if len(lengths) > 1 or max(lengths, default=0) > self.learn:
            raise ValueError("columns of different lengths")
        if self.shape_seen > self.shape or self.rejects > self.frames:
            raise ValueError("counts that contradict each other")
        if set(self.moves) - set(LIGHTS) or any(
            len(m) != len(MEASURES) for m in self.moves.values()
        ):
            raise ValueError("moves of no known light")
        if bool(self.moves) != bool(lengths - {0}):
            raise ValueError("values and moves that do not belong together")
        if lengths - {0} and self.shape_seen < self.shape:
            raise ValueError("values before the thumbnail was complete")
        return self


def read_state(path: Path) -> DriftState | None:
    """A state file; None where there is none.

    Raises:
        SettingError: if it is damaged, of another version, or somebody else could have written it.
    """
    try:
        data = read_private(path, limit=_MAX_BYTES + 1)
        if data is None:
            return None
        if len(data) > _MAX_BYTES:
            raise ValueError("too long")
        text = data.decode("ascii")
        version = _version(strict_json(text))
        if version not in (None, _VERSION):
            raise SettingError(_other_version(path, version))
        return DriftState.model_validate_json(text)
    except UnsafeError as error:
        raise SettingError(
            f"[drift] {error}, so what it says about the camera cannot be trusted. Make it this "
            "user's alone (chown, chmod go-w), or name another file."
        ) from error
    except SettingError:
        raise
    except (ValidationError, ValueError) as error:
        raise SettingError(
            f"[drift] {path} is no drift state of pyad_edge, or is damaged. Name another file, or "
            "learn again with --drift-reset."
        ) from error


def _version(content: object) -> object:
    """Of a file that says it is a drift state; None: of none."""
    if not isinstance(content, dict) or content.get("format") != _FORMAT:
        return None
    return content.get("format_version")


def _other_version(path: Path, version: object) -> str:
    newer = isinstance(version, int) and version > _VERSION
    cause, way = (
        ("a newer", "Update pyad_edge")
        if newer
        else ("an earlier", "Learn again with --drift-reset, while the line is in order")
    )
    return (
        f"[drift] {path} was learned by {cause} version of the monitor (format {version}, this one "
        f"reads {_VERSION}), whose measures are others. {way}, or name another file."
    )


def write_state(path: Path, state: DriftState) -> None:
    """Write it atomically.

    Raises:
        SettingError: if the folder is missing or may not be written.
        ResourceError: if the disk is full or fails.
    """
    _write(path, (canonical_json(state.model_dump(mode="json")) + "\n").encode("ascii"))


def acknowledge(path: Path) -> list[AlarmState]:
    """Ask for the standing alarms to be cleared: the running monitor, else the next one, does it.

    A file of its own beside the state, so that nothing the monitor writes can undo it.

    Returns:
        The alarms that the state file names.

    Raises:
        SettingError: if there is no state, or it cannot be used.
    """
    state = read_state(path)
    if state is None:
        raise SettingError(f"[drift] {path} does not exist. `run --drift` makes it.")
    if state.alarms:
        _write(_ack_path(path), _ACK)
    return list(state.alarms)


def take_acknowledgement(path: Path) -> bool:
    """Whether somebody asked; the request is then done with."""
    try:
        _ack_path(path).unlink()
    except OSError:
        return False
    return True


def _ack_path(path: Path) -> Path:
    return path.with_name(path.name + ".ack")


def _write(path: Path, data: bytes) -> None:
    try:
        write_private(path, data)
    except OSError as error:
        kind = ResourceError if error.errno in (5, 28, 122) else SettingError
        raise kind(
            f"[drift] {path} could not be written: {error.strerror or error}. Name a file in a "
            "folder that exists and that you may write to, on a disk with some space."
        ) from error
