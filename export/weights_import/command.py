"""``pyad-edge backbone import``: a foreign .pth becomes a .safetensors, or is refused."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from pyad_edge.console import err
from pyad_edge.errors import BackendError, DataError, SettingError
from pyad_edge.export.atomic_file import replace_file
from pyad_edge.export.networks import require
from pyad_edge.export.weights_import.child import CPU_SECONDS

__all__ = ["ImportedWeights", "backbone_import_command", "import_weights"]

WARNING = (
    "A .pth file is a pickle: a program that runs when it is opened. It is read in a process of "
    "its own that takes nothing but tensors from it; where the publisher offers a .safetensors, "
    "take that instead."
)
_WALL_SECONDS = 2 * CPU_SECONDS
_MAX_ANSWER = 1 << 20


@dataclass(frozen=True)
class ImportedWeights:
    """What was written.

    Attributes:
        path: the file.
        tensors: how many.
        size: their bytes.
        dropped: names of what lay beside them: optimiser, epoch and so on.
    """

    path: Path
    tensors: int
    size: int
    dropped: tuple[str, ...]

    def statement(self) -> str:
        """The same for people, in one line."""
        left = f"; left out: {', '.join(self.dropped[:6])}" if self.dropped else ""
        return f"Wrote {self.path}: {self.tensors} tensors, {self.size / 1e6:.1f} MB{left}."


def import_weights(source: Path, out: Path) -> ImportedWeights:
    """Convert a checkpoint of torch in a process with limits on memory, time and file size.

    Args:
        source: ``.pth`` or ``.pt``: tensors by name, also under ``state_dict`` or ``model``, also
            with ``module.`` before every name.
        out: file to write, ``.safetensors``; replaced in one step.

    Raises:
        BackendError: if torch is missing or older than 2.10, or the file is refused.
        DataError: if it cannot be read.
        SettingError: if ``out`` has another ending or its folder cannot be written.
        ResourceError: if the disk is full or fails.
    """
    if out.suffix != ".safetensors" or not out.parent.is_dir():
        raise SettingError(
            f"[backbone import] expected --out as FILE.safetensors in a folder that exists, got "
            f"{out}."
        )
    try:
        with source.open("rb") as file:
            file.read(1)
    except OSError as error:
        raise DataError(
            f"[backbone import] cannot read {source}: {error.strerror or error}. Give the path of "
            "a .pth file."
        ) from error
    require("torch")
    with tempfile.TemporaryDirectory(prefix="pyad_edge-", dir=out.parent) as folder:
        made = Path(folder) / "weights.safetensors"
        answer = _run(source, made, home=folder)
        if "refused" in answer:
            raise _refused(source, str(answer["refused"]))
        content = _read(source, made)
    names = _names(source, content)
    replace_file(out, [memoryview(content)], verify=lambda path: None)
    dropped = answer.get("dropped", [])
    return ImportedWeights(
        path=out,
        tensors=len(names),
        size=len(content),
        dropped=tuple(str(name) for name in dropped) if isinstance(dropped, list) else (),
    )


def _run(source: Path, made: Path, *, home: str) -> dict[str, Any]:
    """What the process says; everything else that may become of it is a refusal."""
    command = [sys.executable, "-I", "-W", "ignore", "-m", f"{__package__}.child"]
    environment = {"PATH": os.defpath, "HOME": home, "OMP_NUM_THREADS": "1"}
    try:
        done = subprocess.run(
            [*command, str(source.resolve()), str(made)],
            env=environment,
            cwd=home,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_WALL_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise _refused(source, f"was not read within {_WALL_SECONDS} seconds") from error
    try:
        answer = json.loads(done.stdout[:_MAX_ANSWER])
    except (ValueError, RecursionError):
        answer = None
    if done.returncode != 0 or not isinstance(answer, dict):
        how = f"signal {-done.returncode}" if done.returncode < 0 else f"code {done.returncode}"
        raise _refused(source, f"ended the process that reads it ({how}), as its limits demand")
    return answer


def _read(source: Path, made: Path) -> bytes:
    try:
        return made.read_bytes()
    except OSError as error:
        raise _refused(source, "left no tensors behind") from error


def _names(source: Path, content: bytes) -> list[str]:
    """Names of the tensors; the process may have written anything."""
    import safetensors

    parse: Any = safetensors.deserialize
    try:
        return [name for name, _ in parse(content)]
    except safetensors.SafetensorError as error:
        raise _refused(source, "did not become a safetensors file") from error


def _refused(source: Path, what: str) -> BackendError:
    return BackendError(
        f"[backbone import] {source} {what}. Nothing was written. Take the publisher's "
        ".safetensors, or a checkpoint that holds tensors by name alone."
    )


def backbone_import_command(
    source: Annotated[Path, typer.Argument(metavar="FILE.pth", help="A checkpoint of torch.")],
    out_file: Annotated[Path, typer.Option("--out", help="The .safetensors file to write.")],
) -> None:
    """Take the tensors out of a foreign .pth file, in a process of its own (needs [train])."""
    err.print(f"[yellow]Warning:[/] {escape(WARNING)}", highlight=False)
    report = import_weights(source, out_file)
    err.print(escape(report.statement()), highlight=False)
