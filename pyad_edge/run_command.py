"""``pyad-edge run``: inspect one or several streams."""

from __future__ import annotations

import math
import re
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any, Literal, Optional

import typer
from rich.markup import escape

from pyad_edge.console import EXIT_FAULTS, EXIT_UNWATCHED, err, print_json
from pyad_edge.drift.alarm import DriftAlarm
from pyad_edge.drift.cameras import open_monitors, unwatched
from pyad_edge.errors import SettingError
from pyad_edge.loop import SaveWhat, inspect_stream, prepare_folder
from pyad_edge.options import (
    AllowRollback,
    BackendName,
    Device,
    EngineFile,
    FalseReject,
    FixedThreshold,
    MaskFile,
    PixelFormat,
    Precision,
    Product,
    RequireSignature,
    Review,
    SizePolicy,
    Threads,
    open_runtime,
)
from pyad_edge.run_health import RunHealth
from pyad_edge.sinks import Outbox, OutboxStatus, open_outbox
from pyad_edge.streaming import GateSettings, State, StateChange, Stream, StreamSettings
from pyad_edge.watchdog import Watchdog

__all__ = ["run"]

CHECKS = ("wrong_dtype", "wrong_size", "black", "white", "frozen", "torn", "blurred")

CLOSE_S = 5.0  # that sinks have for what waits, all together


def run(
    engine: EngineFile,
    source: Annotated[
        list[str],
        typer.Option(
            help="A folder of pictures, a picture, a video file, a camera (camera:0), an address "
            "(rtsp://...), genicam:SERIAL. Several: give each a name, left=camera:0."
        ),
    ],
    save: Annotated[
        Optional[Path],  # noqa: UP045 - typer reads it on Python 3.10
        typer.Option(help="Write overlays of the frames to this folder."),
    ] = None,
    save_what: Annotated[
        SaveWhat, typer.Option("--save-what", help="Which frames to write.")
    ] = "all",
    sink: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option(
            help="Where inspections go as well: jsonl:FILE, csv:FILE, overlays:FOLDER, "
            "mqtt://host/topic. May be given several times; none of them holds the camera up."
        ),
    ] = None,
    outbox: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="Folder where what a --sink cannot take yet waits, also for next time."),
    ] = None,
    policy: Annotated[
        Literal["inspect", "live"],
        typer.Option(help="inspect: every trigger gets a verdict; live: the newest frame wins."),
    ] = "inspect",
    mode: Annotated[
        Literal["infer", "decide"],
        typer.Option(help="decide: the same verdicts with less work, without maps."),
    ] = "infer",
    gate: Annotated[
        str,
        typer.Option(
            help="Checks of the input: auto (those that suit the source), off, or some of "
            f"{', '.join(CHECKS)}."
        ),
    ] = "auto",
    attempts: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(min=1, help="To connect to a camera in a row; without end if not given."),
    ] = None,
    deadline_ms: Annotated[
        Optional[float],  # noqa: UP045
        typer.Option(help="After capture, by when a verdict is wanted; several cameras wait less."),
    ] = None,
    drift: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option(
            help="State file of a drift monitor: alarms in the lines, verdicts unchanged. Several "
            "sources: left=FILE, one each."
        ),
    ] = None,
    drift_learn: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(help="Good frames that the monitor learns from: 2000 if not given."),
    ] = None,
    drift_reset: Annotated[
        bool, typer.Option("--drift-reset", help="Forget what the monitor learned; learn again.")
    ] = False,
    false_reject: FalseReject = None,
    threshold: FixedThreshold = None,
    review: Review = None,
    backend: BackendName = "onnxruntime",
    precision: Precision = None,
    device: Device = None,
    pixel_format: PixelFormat = None,
    size_policy: SizePolicy = None,
    mask: MaskFile = None,
    threads: Threads = None,
    require_signature: RequireSignature = None,
    product: Product = None,
    allow_rollback: AllowRollback = False,
    max_frames: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(min=1, help="Stop after so many frames (cameras never end by themselves)."),
    ] = None,
) -> None:
    """Inspect streams: one JSON line per frame on stdout, everything else on stderr.

    Each line has a verdict: OK, REVIEW (between two thresholds), NG (anomalous) or FAULT (the frame
    could not be judged; the line says why). No frame is left out; what the policy live drops is
    counted. When the device is lost, what waits is answered with FAULT and the command ends, to be
    started again.
    """
    if mode == "decide" and save is not None:
        raise SettingError("[run] --save shows maps, which --mode decide does not make. Drop one.")
    if mode == "decide" and any(spec.startswith("overlays:") for spec in sink or ()):
        raise SettingError(
            "[run] --sink overlays: shows maps, which --mode decide does not make. Drop one."
        )
    sources = parse_sources(source)
    checks = parse_gate(gate)
    settings = _stream_settings(attempts, deadline_ms)
    health = RunHealth()
    watchdog = Watchdog.from_environment(health.stalled_s, health.status)
    runtime = open_runtime(
        engine,
        false_reject=false_reject,
        threshold=threshold,
        review=review,
        backend=backend,
        precision=precision,
        device=device,
        pixel_format=pixel_format,
        size_policy=size_policy,
        mask=mask,
        threads=threads,
        require_signature=require_signature,
        product=product,
        allow_rollback=allow_rollback,
    )
    if save is not None:
        prepare_folder(save)
    err.print(escape(runtime.info["threshold"]), highlight=False)
    monitors = open_monitors(
        runtime, drift or (), named=isinstance(sources, dict), learn=drift_learn, reset=drift_reset
    )
    tally = _Tally()

    def begin(stream: Stream) -> None:
        health.opened(stream)
        watchdog.ready()  # the golden pictures have passed, and sources and sinks are open

    owed: int | None = None  # answers, once the device is lost
    boxes: list[Outbox] = []
    statuses: list[OutboxStatus] = []
    try:
        with ExitStack() as stack:
            stack.callback(_close_all, boxes, statuses)
            for spec in sink or ():
                boxes.append(open_outbox(spec, folder=outbox, picture=runtime.picture))
            records = inspect_stream(
                runtime,
                sources,
                save=save,
                save_what=save_what,
                outboxes=boxes,
                policy=policy,
                mode=mode,
                settings=settings,
                gate=checks,
                on_state=_tell,
                drift=monitors,
                opened=begin,
            )
            stack.callback(records.close)  # type: ignore[attr-defined]
            stack.enter_context(watchdog)  # says first that it stops
            for record in records:
                tally.add(record)
                health.add(record)
                print_json(record, indent=None)
                if max_frames is not None and tally.lines >= max_frames:
                    break
                if runtime.device_watch.lost is not None:  # what waits is answered, then it ends
                    spent = 0 if owed is None else record["triggers"] + record["dropped"]
                    owed = (health.waiting() if owed is None else owed) - spent
                    if owed <= 0:
                        break
    except KeyboardInterrupt:  # how a camera's stream usually ends
        tally.report(review=runtime.review_threshold is not None)
        _report_sinks(statuses)
        unwatched(monitors)
        raise
    tally.report(review=runtime.review_threshold is not None)
    _report_sinks(statuses)
    failures = unwatched(monitors)
    runtime.device_watch.require()
    if tally.verdicts["FAULT"]:
        raise typer.Exit(EXIT_FAULTS)
    if failures:
        raise typer.Exit(EXIT_UNWATCHED)


def parse_sources(texts: list[str]) -> object:
    """One source as it is, or several by name: ``left=camera:0``.

    Raises:
        SettingError: if several have no names, or the same.
    """
    pairs = []
    for text in texts:
        name = re.match(r"([A-Za-z0-9_-]+)=(.+)", text)
        named = name is not None and not Path(text).exists()
        pairs.append((name[1], name[2]) if named and name else ("", text))
    if len(pairs) == 1 and not pairs[0][0]:
        return pairs[0][1]
    names = [name for name, _ in pairs]
    if "" in names or len(set(names)) < len(names):
        raise SettingError(
            f"[run] expected several sources with a name each, got {', '.join(texts)}. Write "
            "--source left=camera:0 --source right=camera:1."
        )
    return dict(pairs)


def parse_gate(text: str) -> GateSettings | Literal["auto"] | None:
    """Checks of the input by name.

    Raises:
        SettingError: if a name is unknown.
    """
    if text == "auto":
        return "auto"
    if text == "off":
        return None
    wanted = text.split(",")
    if unknown := [name for name in wanted if name not in CHECKS]:
        raise SettingError(
            f"[run] expected --gate auto, off, or some of {', '.join(CHECKS)} with commas between "
            f"them, got {unknown[0]!r}."
        )
    return GateSettings.model_validate({name: name in wanted for name in CHECKS})


def _stream_settings(attempts: int | None, deadline_ms: float | None) -> StreamSettings:
    if deadline_ms is not None and not 0 < deadline_ms < math.inf:
        raise SettingError(f"[run] expected --deadline-ms above 0, got {deadline_ms}.")
    return StreamSettings(max_attempts=attempts, deadline_ms=deadline_ms)


class _Tally:
    """Counts what the lines said."""

    def __init__(self) -> None:
        self.lines = 0
        self.verdicts: Counter[str] = Counter()
        self.faults: Counter[str] = Counter()
        self.dropped = 0
        self.unsaved: list[str] = []

    def add(self, record: dict[str, Any]) -> None:
        self.lines += 1
        self.verdicts[record["verdict"]] += 1
        self.dropped += record["dropped"]
        if "fault" in record:
            self.faults[record["fault"]] += 1
        for alarm in record.get("drift", ()):
            if alarm["at"] == record["frame"]:
                err.print(f"[yellow]Drift[/] {escape(DriftAlarm(**alarm).sentence())}")
        if "overlay_error" in record:
            self.unsaved.append(record["overlay_error"])

    def report(self, *, review: bool) -> None:
        """Say it on stderr."""
        count = self.verdicts
        band = f"{count['REVIEW']} for review, " if review else ""
        kinds = ", ".join(f"{number} {code}" for code, number in self.faults.most_common())
        dropped = f" {self.dropped} more were dropped." if self.dropped else ""
        err.print(
            f"{self.lines} frames: {count['OK']} OK, {band}{count['NG']} anomalous, "
            f"{count['FAULT']} faults{f' ({kinds})' if kinds else ''}.{dropped}",
            highlight=False,
        )
        if self.unsaved:
            err.print(
                f"[yellow]Note:[/] {len(self.unsaved)} overlays are missing; the first one: "
                f"{escape(self.unsaved[0])}",
                highlight=False,
            )


def _close_all(boxes: list[Outbox], statuses: list[OutboxStatus]) -> None:
    """Close sinks together: one that hangs does not add its time to the others'."""
    end = time.monotonic() + CLOSE_S
    for box in boxes:
        box.finish()
    for box in boxes:
        statuses.append(box.close(timeout=max(0.0, end - time.monotonic())))


def _report_sinks(statuses: list[OutboxStatus]) -> None:
    for status in statuses:
        _report_sink(status)


def _report_sink(status: OutboxStatus) -> None:
    lost = status.dropped + status.skipped
    parts = [f"{status.written} written"]
    parts += [f"{status.on_disk} wait on disk for the next start"] * bool(status.on_disk)
    parts += [f"{lost} lost"] * bool(lost)
    trouble = bool(lost or status.on_disk)
    reason = f" Last failure: {status.error}" if status.error and trouble else ""
    mark = "[yellow]Note:[/] " if trouble else ""
    sentence = f"{status.name}: {', '.join(parts)}.{reason}"
    err.print(f"{mark}{escape(sentence)}", highlight=False)


def _tell(change: StateChange) -> None:
    """Troubles of a camera, and their end."""
    back = change.state is State.STREAMING and change.previous is not State.CONNECTING
    if back or change.state in (State.STALE, State.LOST):
        reason = f": {change.reason}" if change.reason else ""
        err.print(f"[yellow]{change.state}[/] {escape(change.camera + reason)}", highlight=False)
