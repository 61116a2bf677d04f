"""What a self-test looks at: engine, golden pictures, camera, golden parts."""

from __future__ import annotations

import math
import re
import threading
from collections import Counter
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np

from pyad_edge.bench.machine import about_machine
from pyad_edge.drift.statistics import measure_frame
from pyad_edge.engine import Engine
from pyad_edge.errors import PyadError
from pyad_edge.frame_files import read_frame
from pyad_edge.golden import least_scale
from pyad_edge.images import list_images
from pyad_edge.pixel_formats import PIXEL_FORMATS
from pyad_edge.result import Verdict
from pyad_edge.runtime import Runtime
from pyad_edge.selftest.record import Check, Report
from pyad_edge.streaming import Inspection, StreamSettings

__all__ = ["examine_camera", "examine_golden", "examine_parts", "selftest"]

_ATTEMPTS = 3  # to connect to a camera
_SENTENCES = 3  # of what went wrong, in a check


def selftest(
    open_engine: Callable[[], Engine],
    open_runtime: Callable[[Engine], Runtime],
    *,
    camera: str | None,
    parts: Path | None,
    frames: int,
    timeout_s: float,
) -> Report:
    """Look at everything; a check that fails does not keep the others from being made.

    Args:
        open_engine: reads and verifies the file.
        open_runtime: opens it as the line does.
        camera: source of frames; None: not looked at.
        parts: folder of reference parts, ``good`` and ``ng``; None: not looked at.
        frames: wanted from the camera.
        timeout_s: for all of them to arrive.
    """
    checks, engine, runtime = [], None, None
    try:
        engine = open_engine()
        text = f"{engine.size:,} bytes, each as it was written"
        checks.append(_check("engine", True, text, method=engine.manifest.method))
        runtime = open_runtime(engine)
        checks.append(examine_golden(runtime))
    except PyadError as error:
        checks.append(_check("engine" if engine is None else "golden", False, str(error)))
    if runtime is not None and camera is not None:
        checks += examine_camera(runtime, camera, frames=frames, timeout_s=timeout_s)
    if runtime is not None and parts is not None:
        checks.append(examine_parts(runtime, parts))
    return Report(
        time=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        engine_sha256=None if engine is None else engine.file_sha256,
        host=about_machine(),
        checks=tuple(checks),
    )


def examine_golden(runtime: Runtime) -> Check:
    """The golden pictures once more, and what they ran on; opening would have refused a drift."""
    expected = runtime.engine.tensors["golden/scores"]
    frames = runtime.engine.tensors["golden/frames"]
    scores = [float(runtime.pipeline.own.score([frame]).image[0]) for frame in frames]
    floor = least_scale(runtime.engine)
    drift = max(
        abs(score - float(wanted)) / max(abs(float(wanted)), floor)
        for score, wanted in zip(scores, expected, strict=True)
    )
    info = runtime.info
    tolerance = info["golden_tolerance"]
    backend = {k: v for k, v in info["backend"].items() if isinstance(v, (str, int, float, bool))}
    return _check(
        "golden",
        drift <= tolerance,
        f"largest drift {drift:.2e}, tolerance {tolerance:.0e}",
        scores=scores,
        expected=[float(wanted) for wanted in expected],
        drift=drift,
        tolerance=tolerance,
        backend=backend,
        device=info["device"],
        kernels=str(info["kernels"]),
        thresholds=info["thresholds"],
        signed=info["signed"],
    )


def examine_camera(runtime: Runtime, source: str, *, frames: int, timeout_s: float) -> list[Check]:
    """Whether frames arrive, pass the gate and are what the engine declares; what they measure."""
    seen: list[Inspection] = []
    late = threading.Event()
    try:
        settings = StreamSettings(max_attempts=_ATTEMPTS)
        with runtime.stream(source, settings=settings) as stream:

            def stop() -> None:
                late.set()
                stream.close()

            timer = threading.Timer(timeout_s, stop)
            timer.daemon = True
            timer.start()
            try:
                for inspection in stream:
                    seen.append(inspection)
                    if len(seen) >= frames:
                        break
            finally:
                timer.cancel()
    except PyadError as error:
        return [_check("camera", False, str(error), source=_without_secrets(source))]
    faults = Counter(one.fault.code.value for one in seen if one.fault is not None)
    judged = [one for one in seen if one.image is not None and one.fault is None]
    shapes = sorted(
        {str((*i.image.shape, str(i.image.dtype))) for i in judged if i.image is not None}
    )
    times = [one.captured_at for one in judged]
    seconds = times[-1] - times[0] if len(times) > 1 else 0.0
    rate = (len(times) - 1) / seconds if seconds > 0 else None
    enough = bool(judged) and not late.is_set()
    reasons = [one.fault.reason for one in seen if one.fault is not None][:_SENTENCES]
    detail = f"{len(judged)} frames" + (f", {rate:.1f} per second" if rate else "")
    if late.is_set():
        detail += f"; {frames} were wanted within {timeout_s:g} s"
    if reasons:
        detail += f"; {sum(faults.values())} without a verdict: {' '.join(reasons)}"
    if len(shapes) > 1:
        detail += f"; frames of several kinds: {', '.join(shapes)}"
    checks = [
        _check(
            "camera",
            enough and not faults and len(shapes) == 1,
            detail,
            source=_without_secrets(source),
            frames=len(judged),
            frames_per_second=rate,
            faults=dict(faults),
            frames_are=shapes,
        )
    ]
    if judged:
        checks.append(_inputs(runtime, judged))
    return checks


def _inputs(runtime: Runtime, judged: list[Inspection]) -> Check:
    """Measures of the frames, for comparison with later records; nothing here can fail."""
    declared = runtime.info["input"]["pixel_format"]
    pixels = PIXEL_FORMATS[declared] if declared else None
    scale = 255.0
    if pixels is not None:
        scale = 1.0 if pixels.dtype == "float32" else 2.0**pixels.bits - 1.0
    mosaic = pixels is not None and pixels.kind == "bayer"
    rows = [
        measure_frame(np.asarray(one.image), full_scale=scale, mosaic=mosaic).values
        for one in judged
    ]
    names = sorted(set.intersection(*(set(row) for row in rows)))
    columns = {name: np.array([row[name] for row in rows]) for name in names}
    figures: dict[str, Any] = {
        name: {"mean": float(c.mean()), "lowest": float(c.min()), "highest": float(c.max())}
        for name, c in columns.items()
    }
    level = 100 * math.exp(figures["brightness"]["mean"])
    return _check("inputs", True, f"mean brightness {level:.1f} % of the full scale", **figures)


def examine_parts(runtime: Runtime, folder: Path) -> Check:
    """Reference parts, photographed: every one must get its verdict, REVIEW is none."""
    declared = runtime.info["input"]["pixel_format"]
    verdicts: dict[str, str] = {}
    wrong = []
    for kind, wanted in (("good", Verdict.OK), ("ng", Verdict.NG)):
        try:
            paths = list_images(folder / kind)
        except PyadError as error:
            return _check("parts", False, str(error))
        for path in paths:
            name = f"{kind}/{path.name}"
            try:
                result = runtime.infer(read_frame(path, declared))
                verdicts[name] = result.verdict.value
                what = f"{name} is {result.verdict.value} (score {result.score:.6g})"
            except PyadError as error:
                verdicts[name], what = Verdict.FAULT.value, str(error)
            if verdicts[name] != wanted.value:
                wrong.append(what)
    detail = f"{len(verdicts) - len(wrong)} of {len(verdicts)} parts have their verdict"
    if wrong:
        detail += f"; {'; '.join(wrong[:_SENTENCES])}"
    return _check("parts", not wrong, detail, verdicts=verdicts)


def _check(name: str, passed: bool, detail: str, **figures: Any) -> Check:
    return Check(name=name, passed=passed, detail=detail[:2000], figures=figures)


def _without_secrets(source: str) -> str:
    """An address without user, password and query."""
    return re.sub(r"\?.*$", "", re.sub(r"://[^/@]*@", "://", source)) if "://" in source else source
