"""``pyad-edge selftest``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer
from rich.markup import escape

from pyad_edge.console import err, out
from pyad_edge.engine import read_engine
from pyad_edge.errors import PyadError, SettingError
from pyad_edge.ops import set_num_threads
from pyad_edge.options import BackendName, Device, FalseReject, FixedThreshold, Precision, Threads
from pyad_edge.runtime import Runtime
from pyad_edge.selftest.checks import selftest
from pyad_edge.selftest.record import Report, read_record, write_record
from pyad_edge.trust.keys import private_key

__all__ = ["selftest_command"]


def selftest_command(
    engine: Annotated[
        Optional[Path],  # noqa: UP045 - typer reads it on Python 3.10
        typer.Argument(metavar="[ENGINE]", help="A .pyad file.", show_default=False),
    ] = None,
    record: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--out", metavar="RECORD.json", help="Where the record goes."),
    ] = None,
    camera: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(metavar="SOURCE", help="Look at frames of this source, as run has them."),
    ] = None,
    parts: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="Pictures of reference parts: folders good and ng."),
    ] = None,
    frames: Annotated[int, typer.Option(min=2, help="Wanted from the camera.")] = 30,
    timeout: Annotated[float, typer.Option(min=1, help="Seconds for them to arrive.")] = 30.0,
    key: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="Private key that signs the record ('keygen' makes one)."),
    ] = None,
    verify: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(metavar="RECORD.json", help="Check a record instead; needs --keys."),
    ] = None,
    keys: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="With --verify: file of trusted public keys."),
    ] = None,
    false_reject: FalseReject = None,
    threshold: FixedThreshold = None,
    backend: BackendName = "onnxruntime",
    precision: Precision = None,
    device: Device = None,
    threads: Threads = None,
) -> None:
    """Check engine, camera and reference parts on this machine, and write a record of it.

    A check that fails is named, is in the record, and makes the exit code 1.
    """
    if verify is not None:
        if keys is None or engine is not None or record is not None:
            raise SettingError(
                "[selftest] --verify RECORD.json needs --keys FILE, and neither ENGINE nor --out."
            )
        _tell(read_record(verify, keys=keys))
        return
    if engine is None or record is None or keys is not None:
        raise SettingError(
            "[selftest] expected ENGINE and --out RECORD.json; --keys goes with --verify."
        )
    if false_reject is not None and threshold is not None:
        raise SettingError("Give either --false-reject or --threshold, not both.")
    if key is not None:
        private_key(key)  # refused before the work, not after it
    if threads is not None:
        set_num_threads(threads)
    report = selftest(
        lambda: read_engine(engine),
        lambda opened: Runtime(
            opened,
            backend=backend,
            precision=precision,
            device=device,
            threads=threads,
            false_reject=false_reject,
            threshold=threshold,
        ),
        camera=camera,
        parts=parts,
        frames=frames,
        timeout_s=timeout,
    )
    write_record(record, report, key=key)
    _tell(report)
    err.print(escape(f"Wrote {record}{'' if key else ', not signed'}."), highlight=False)


def _tell(report: Report) -> None:
    """Say it on stdout; a check that failed becomes the exit code."""
    out.print(escape(f"{report.time}, engine {report.engine_sha256}"), highlight=False)
    for check in report.checks:
        mark = "[green]ok[/]" if check.passed else "[red]!![/]"
        out.print(f"{mark} {check.name}: {escape(check.detail)}", highlight=False)
    if report.failed:
        names = ", ".join(check.name for check in report.failed)
        err.print(f"[bold red]Failed:[/] {names}.", highlight=False)
        raise typer.Exit(PyadError.exit_code)
