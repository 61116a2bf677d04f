"""One export: built in memory, compared with its engine, written in one step, reported."""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyad_edge import __version__
from pyad_edge.engine import Engine
from pyad_edge.errors import BackendError, ResourceError, SettingError
from pyad_edge.export.atomic_file import replace_file
from pyad_edge.export.progress import ProgressCall, silent
from pyad_edge.export.targets.built import Built
from pyad_edge.export.targets.forms import EngineForm
from pyad_edge.export.targets.frames import Frame, folder_frames, golden_frames
from pyad_edge.export.targets.graph import build_onnx, build_openvino
from pyad_edge.export.targets.plans import build_plans
from pyad_edge.export.targets.settings import ExportSettings
from pyad_edge.export.targets.triton import build_triton, model_name
from pyad_edge.export.targets.verify import Agreement, Limits, compare, limits_for
from pyad_edge.runtime import Runtime

__all__ = ["ExportReport", "build", "export_engine", "report_path"]


@dataclass(frozen=True)
class ExportReport:
    """What was exported, and how it compares.

    Attributes:
        path: the file or folder.
        report: the JSON beside it.
        limits: of the comparison.
        golden: of the engine's own frames; None: nothing here runs the export.
        folder: of the folder that was named; None: none was.
        not_run: why the export itself was not run; None: it was.
        notes: what a user needs to run it.
        content: the report, plain data.
    """

    path: Path
    report: Path
    limits: Limits
    golden: Agreement | None
    folder: Agreement | None
    not_run: str | None
    notes: tuple[str, ...]
    content: dict[str, Any]

    @property
    def faults(self) -> list[str]:
        """What is not within the limits; empty where all is."""
        found = [agreement for agreement in (self.golden, self.folder) if agreement is not None]
        return list(dict.fromkeys(fault for each in found for fault in each.faults(self.limits)))


def export_engine(
    engine: str | os.PathLike[str] | Engine,
    out: str | os.PathLike[str],
    *,
    settings: ExportSettings,
    verify: Path | None = None,
    tolerance: float | None = None,
    threads: int | None = None,
    progress: ProgressCall = silent,
) -> ExportReport:
    """Export an engine, run golden frames and a folder through both forms, and write what agrees.

    Args:
        engine: path of a ``.pyad`` file, or one already read.
        out: the file, or of plans the folder; of Triton the repository, where a folder is made.
        settings: target, precision, sizes.
        verify: folder of pictures that both forms inspect beside the golden frames.
        tolerance: instead of the precision's own, see :func:`limits_for`.
        threads: of what runs the networks here; none: all usable cores.
        progress: told how far it is.

    Returns:
        What ``report`` says, which is written beside the export.

    Raises:
        BackendError: if it cannot be built or run, or differs more than is borne: only the report
            is written then.
        DataError, EngineError: if pictures or the engine cannot be used.
        SettingError: if a setting or ``out`` cannot be used.
        ResourceError: if the disk or the memory does not hold it.
    """
    runtime = Runtime(engine, threads=threads)
    limits = limits_for(settings.precision, runtime.engine, tolerance)
    path = _place(Path(out), runtime.engine, settings)
    if verify is not None:
        folder_frames(verify, runtime, None)  # refused before anything takes time
    built = build(runtime, settings, threads=threads)
    golden, folder, about = _compared(runtime, built, settings, verify, progress)
    content = _content(runtime, settings, built, path) | {
        "tolerance": limits.tolerance,
        "flips_allowed": limits.flips,
        "run_by": about,
        "not_run": built.not_run,
        "golden": None if golden is None else golden.to_dict(),
        "folder": None if folder is None else {"path": str(verify), **folder.to_dict()},
    }
    beside = report_path(path)
    report = ExportReport(path, beside, limits, golden, folder, built.not_run, built.notes, content)
    content["faults"] = report.faults
    _make_repository(path.parent)
    if not report.faults:
        _write(path, built)
    text = json.dumps(_plain(content), indent=1, allow_nan=False) + "\n"
    _write_file(beside, text.encode())
    if report.faults:
        raise BackendError(
            f"[export] {path} was not written: {'; '.join(report.faults)}. {beside} has every "
            "score. Choose another --precision or --to, or calibrate with more pictures of good "
            "parts; --tolerance bears more."
        )
    return report


def build(runtime: Runtime, settings: ExportSettings, *, threads: int | None = None) -> Built:
    """An export in memory; see :func:`export_engine`."""
    engine = runtime.engine
    if settings.target == "onnx":
        return build_onnx(engine, settings, threads=threads)
    if settings.target == "openvino":
        return build_openvino(engine, settings, threads=threads)
    if settings.target == "triton":
        return build_triton(runtime, settings, threads=threads)
    return build_plans(engine, settings, threads=threads)


def report_path(path: Path) -> Path:
    """Where the report of an export lies: beside it."""
    return path.with_name(f"{path.name}.report.json")


def _compared(
    runtime: Runtime,
    built: Built,
    settings: ExportSettings,
    verify: Path | None,
    progress: ProgressCall,
) -> tuple[Agreement | None, Agreement | None, dict[str, Any] | None]:
    """Of golden frames and a folder's, and what ran the export."""
    if built.open is None:
        return None, None, None
    ours, form = EngineForm(runtime), built.open()

    def compared(frames: Iterable[Frame], count: int, stage: str) -> Agreement:
        return compare(
            runtime.engine,
            ours,
            form,
            frames,
            count=count,
            batch=settings.batch,
            stage=stage,
            progress=progress,
        )

    own: Sequence[Frame] = golden_frames(runtime, built.frame_size)
    golden = compared(own, len(own), "golden")
    folder = None
    if verify is not None:
        count, pictures = folder_frames(verify, runtime, built.frame_size)
        folder = compared(pictures, count, "pictures")
    return golden, folder, dict(form.about)


def _content(
    runtime: Runtime, settings: ExportSettings, built: Built, path: Path
) -> dict[str, Any]:
    engine = runtime.engine
    return {
        "export": path.name,
        "target": settings.target,
        "precision": settings.precision,
        "batch": settings.batch,
        "frame_size": None if built.frame_size is None else list(built.frame_size),
        "engine": engine.path.name,
        "engine_sha256": engine.file_sha256,
        "method": engine.manifest.method,
        "threshold": runtime.threshold.value,
        "pyad_edge": __version__,
        "files": {
            name or path.suffix: {
                "bytes": len(content),
                "sha256": hashlib.sha256(content).hexdigest(),
            }
            for name, content in built.files.items()
        },
        **built.about,
    }


def _place(out: Path, engine: Engine, settings: ExportSettings) -> Path:
    """The file or folder to write, looked at before anything takes time."""
    folder = settings.target not in ("onnx", "openvino")
    path = out / model_name(engine, settings) if settings.target == "triton" else out
    suffix = {"onnx": ".onnx", "openvino": ".xml"}.get(settings.target)
    if suffix is not None and path.suffix != suffix:
        raise SettingError(
            f"[export] expected --out as a file that ends in {suffix}, got {out}. Name it "
            f"{out.with_suffix(suffix).name}."
        )
    if folder and path.exists():
        raise SettingError(
            f"[export] {path} exists. Remove it, or give another --"
            f"{'name' if settings.target == 'triton' else 'out'}."
        )
    above = out.parent
    if not above.is_dir():
        raise SettingError(f"[export] the folder {above} of --out does not exist. Make it first.")
    return path


def _make_repository(folder: Path) -> None:
    """Triton's may be new; the folder of anything else is there."""
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise SettingError(
            f"[export] the folder {folder} cannot be made: {error.strerror}. Name another --out."
        ) from error


def _write(path: Path, built: Built) -> None:
    if not built.folder:
        for suffix, content in built.files.items():
            _write_file(path.with_suffix(suffix) if suffix else path, content)
        return
    part = None
    try:
        part = Path(tempfile.mkdtemp(dir=path.parent, prefix=".pyad-export-"))
        part.chmod(0o755)  # mkdtemp's are for this user alone; a server is another one
        for name, content in built.files.items():
            file = part / name
            file.parent.mkdir(exist_ok=True)
            _write_file(file, content)
        part.rename(path)
    except OSError as error:
        raise ResourceError(
            f"[export] {path} could not be written ({error.strerror or error}). Free some space, "
            "or give a folder that you may write to."
        ) from error
    finally:
        if part is not None:
            shutil.rmtree(part, ignore_errors=True)  # gone if it was renamed


def _write_file(path: Path, content: bytes) -> None:
    wanted = hashlib.sha256(content).digest()

    def check(partial: Path) -> None:
        if hashlib.sha256(partial.read_bytes()).digest() != wanted:
            raise ResourceError(
                f"[export] {path} reads back differently than it was written. Check the disk."
            )

    replace_file(path, [memoryview(content)], verify=check)


def _plain(value: Any) -> Any:
    """Plain data for JSON: numbers that are not finite, of frames without a score, become null."""
    if isinstance(value, dict):
        return {key: _plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
