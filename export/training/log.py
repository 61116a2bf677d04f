"""What a training did, step by step: a CSV table, TensorBoard, or both."""

from __future__ import annotations

import csv
from pathlib import Path
from types import TracebackType
from typing import Any

from pyad_edge.errors import BackendError, SettingError

__all__ = ["TrainingLog"]


class TrainingLog:
    """Rows of numbers, one a step. Also a context manager.

    Args:
        csv_file: of a table; None: no table. Columns are ``step`` and those of the first row.
        tensorboard: folder of event files; None: none. Needs the package tensorboard.
        resume_at: steps up to this one were made before: their rows stay, later ones go.

    Raises:
        SettingError: if the table cannot be written.
        BackendError: if tensorboard is not installed.
    """

    def __init__(
        self,
        *,
        csv_file: Path | None = None,
        tensorboard: Path | None = None,
        resume_at: int = 0,
    ) -> None:
        self._file: Any = None
        self._writer: Any = None
        self._board: Any = None
        if tensorboard is not None:
            self._board = _summary_writer(tensorboard, purge_step=resume_at + 1)
        if csv_file is not None:
            kept = _rows_until(csv_file, resume_at) if resume_at else []
            try:
                self._file = csv_file.open("w", newline="", encoding="utf-8")
            except OSError as error:
                raise SettingError(
                    f"[train] the log {csv_file} cannot be written: {error.strerror or error}. "
                    "Name a file in a folder that exists."
                ) from error
            for row in kept:
                self._row(row)

    def write(self, step: int, **values: float) -> None:
        """One row; every row has the same names."""
        if self._file is not None:
            self._row({"step": str(step), **{name: repr(value) for name, value in values.items()}})
        if self._board is not None:
            for name, value in values.items():
                self._board.add_scalar(name, value, step)

    def close(self) -> None:
        """End files; nothing is written afterwards."""
        for part in (self._file, self._board):
            if part is not None:
                part.close()
        self._file = self._board = None

    def __enter__(self) -> TrainingLog:
        """Itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close."""
        self.close()

    def _row(self, row: dict[str, str]) -> None:
        if self._writer is None:
            self._writer = csv.DictWriter(self._file, list(row))
            self._writer.writeheader()
        self._writer.writerow(row)
        self._file.flush()  # so that a training can be watched


def _rows_until(file: Path, step: int) -> list[dict[str, str]]:
    if not file.exists():
        return []
    with file.open(newline="", encoding="utf-8") as lines:
        return [row for row in csv.DictReader(lines) if int(row["step"]) <= step]


def _summary_writer(folder: Path, *, purge_step: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise BackendError(
            f"[train] --tensorboard needs the package tensorboard, which does not import ({error})."
            " Install it with `pip install tensorboard`, or log to a table with --log FILE.csv."
        ) from error
    return SummaryWriter(str(folder), purge_step=purge_step)
