"""The folder beside an engine that keeps what its training makes on the way."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pyad_edge.errors import SettingError
from pyad_edge.export.progress import ProgressCall
from pyad_edge.export.training.options import CheckpointOptions

__all__ = ["WorkFolder", "named"]


@dataclass(frozen=True)
class WorkFolder:
    """Generated windows, checkpoints, logs and pictures.

    Attributes:
        path: of the folder; made with :meth:`make`.
        resume: whether trainings go on from checkpoints that are there.
        every: steps between two checkpoints.
        tensorboard: folder of event files; None: none.
    """

    path: Path
    resume: bool = False
    every: int = 200
    tensorboard: Path | None = None

    def make(self) -> None:
        """Make the folder.

        Raises:
            SettingError: if it cannot be made.
        """
        try:
            self.path.mkdir(exist_ok=True)
        except OSError as error:
            raise SettingError(
                f"[grad] the folder {self.path} for generated windows and checkpoints cannot be "
                f"made: {error.strerror}. Name another one with --work."
            ) from error

    def options(self, part: str) -> CheckpointOptions:
        """Files of one part's training, which begins if it was not begun."""
        checkpoint = self.path / f"{part}.safetensors"
        return CheckpointOptions(
            checkpoint=checkpoint,
            every=self.every,
            resume=self.resume and checkpoint.exists(),
            csv=self.path / f"{part}.csv",
            tensorboard=self.tensorboard and self.tensorboard / part,
        )

    def samples(self, level: int, reach: int) -> Path:
        """File of generated windows."""
        return self.path / f"samples-{level}-{reach}.safetensors"

    def picture(self, name: str) -> Path:
        """File of a picture for a person."""
        return self.path / f"{name}.png"


def named(progress: ProgressCall, name: str) -> ProgressCall:
    """Progress that calls its stage by another name: a part's."""

    def report(stage: str, done: int, of: int, note: str = "") -> None:
        progress(name, done, of, note)

    return report
