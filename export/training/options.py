"""What a training writes on its way."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

__all__ = ["CheckpointOptions"]


@dataclass(frozen=True)
class CheckpointOptions:
    """Files of a training, and whether it goes on from one of them.

    Attributes:
        checkpoint: file; None: none is written.
        every: iterations between two.
        resume: go on from it.
        csv, tensorboard: table and folder of the losses; None: none.
    """

    checkpoint: Path | None = None
    every: int = 100
    resume: bool = False
    csv: Path | None = None
    tensorboard: Path | None = None

    def of_member(self, number: int) -> CheckpointOptions:
        """Files of one member of an ensemble, from 1; one that was not begun begins now."""
        checkpoint = _numbered(self.checkpoint, number)
        begun = checkpoint is None or checkpoint.exists()
        return replace(
            self,
            checkpoint=checkpoint,
            resume=self.resume and (begun or number == 1),
            csv=_numbered(self.csv, number),
            tensorboard=_numbered(self.tensorboard, number),
        )


def _numbered(path: Path | None, number: int) -> Path | None:
    return path and path.with_name(f"{path.stem}-{number}{path.suffix}")
