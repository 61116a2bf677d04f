"""The stream itself: capture, network and output in threads of their own, in order."""

from __future__ import annotations

import atexit
import logging
import random
import threading
import time
import weakref
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal

from pyad_edge.drift.cameras import monitors_by_camera
from pyad_edge.errors import SettingError
from pyad_edge.result import Verdict
from pyad_edge.streaming.camera import Camera
from pyad_edge.streaming.gate import Gate, GateReference, GateSettings
from pyad_edge.streaming.intake import Intake
from pyad_edge.streaming.judge import Inspector, Judge
from pyad_edge.streaming.lane import Lane
from pyad_edge.streaming.link import State, StateChange, SteadyClock
from pyad_edge.streaming.outbox import Finished, Outbox
from pyad_edge.streaming.pulse import Pulse
from pyad_edge.streaming.reader import Reader
from pyad_edge.streaming.record import Inspection
from pyad_edge.streaming.settings import StreamSettings
from pyad_edge.streaming.sources import Opened, gate_for, named_sources, open_spec
from pyad_edge.streaming.teller import Teller

if TYPE_CHECKING:
    from pyad_edge.drift.monitor import DriftMonitor

__all__ = ["CameraStatus", "Stream", "inspect_sources"]

_log = logging.getLogger("pyad_edge.streaming")
_log.addHandler(logging.NullHandler())  # silent unless the application asks for it
_POLL_S = 0.05
_SHORTEST_POLL_S = 0.005
_END_S = 2.0  # for threads to end after close; the network's current batch, mostly


@dataclass(frozen=True)
class CameraStatus:
    """A camera at one moment.

    Attributes:
        camera: its name.
        state: see ``State``.
        reason: why it is, or was last, LOST.
        triggers: that were noticed: inspected, dropped and waiting ones.
        inspected: that the stream has yielded an answer for.
        dropped: by policy ``live``.
        waiting: tickets before the network.
        faults: how often each was yielded.
        reconnects: connections after the first.
        abandoned: threads that hang in the driver.
        last_frame_at: seconds since 1970; None: none yet.
    """

    camera: str
    state: State
    reason: str | None
    triggers: int
    inspected: int
    dropped: int
    waiting: int
    faults: Mapping[str, int]
    reconnects: int
    abandoned: int
    last_frame_at: float | None

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {**vars(self), "state": self.state.value, "faults": dict(self.faults)}


class Stream:
    """Inspections of one or several sources, in order per camera; iterate once.

    Leaving the ``with`` block, ``close()``, Ctrl-C inside the loop or dropping the last reference
    ends it, within two seconds even if a driver hangs.
    """

    def __init__(
        self,
        inspector: Inspector,
        sources: Mapping[str, Opened],
        gates: Mapping[str, Gate | None],
        *,
        live: bool,
        mode: Literal["infer", "decide"],
        settings: StreamSettings,
        on_state: Callable[[StateChange], None] | None,
        drift: Mapping[str, DriftMonitor],
    ) -> None:
        """See ``inspect_sources``."""
        intake = Intake(
            list(sources),
            capacity=1 if live else settings.queue,
            live=live,
            clock=time.monotonic,
        )
        outbox = Outbox(capacity=settings.results, live=live)
        limit = settings.max_batch or min(len(sources), 16)
        deadline = settings.deadline_ms
        judge = Judge(
            inspector,
            intake,
            outbox,
            mode=mode,
            limit=1 if mode == "decide" else limit,
            deadline_s=None if deadline is None else deadline * 1e-3,
        )
        teller = Teller(on_state)
        feeders = [
            _feeder(name, opened, intake, gates[name], settings, live, teller)
            for name, opened in sources.items()
        ]
        self._core = _Core(intake, outbox, judge, feeders, settings, teller)
        self._indices: Counter[str] = Counter()
        self._inspected: Counter[str] = Counter()
        self._faults: dict[str, Counter[str]] = {name: Counter() for name in sources}
        self._drift = drift
        self._body = Pulse()  # of the loop
        self._forget = weakref.finalize(self, self._core.forget)
        self._forget.atexit = False  # the core has its own
        self._core.start()

    def __iter__(self) -> Stream:
        """Return the stream itself."""
        return self

    def __next__(self) -> Inspection:
        """Wait for the next inspection."""
        self._body.rest()
        try:
            finished = self._core.outbox.get()
        except BaseException:  # Ctrl-C above all
            self.close()
            raise
        if finished is None:
            self.close()
            raise StopIteration
        self._body.work()
        return self._inspection(finished)

    def __enter__(self) -> Stream:
        """Return the stream; leaving the block closes it."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the stream."""
        self.close()

    def close(self) -> None:
        """End it: no further inspections; closing twice is harmless."""
        self._forget.detach()
        self._core.close()
        for monitor in self._drift.values():
            monitor.close()

    def status(self) -> dict[str, CameraStatus]:
        """Every camera at this moment; may be called from any thread."""
        found = {}
        for feeder in self._core.feeders:
            camera = feeder.lane.camera
            triggers, dropped, waiting = self._core.intake.counts(camera)
            found[camera] = CameraStatus(
                camera=camera,
                state=feeder.state,
                reason=feeder.reason,
                triggers=triggers,
                inspected=self._inspected[camera],
                dropped=dropped + self._core.outbox.dropped(camera),
                waiting=waiting,
                faults=dict(self._faults[camera]),
                reconnects=feeder.reconnects,
                abandoned=feeder.abandoned,
                last_frame_at=feeder.lane.last_frame_at,
            )
        return found

    def stalled_s(self) -> float:
        """Seconds that the network, the loop's body or the supervision of cameras has stood still.

        0.0, or next to it, while frames are judged one after the other and while nothing has come
        to be judged, also from a camera that is away: that is no standstill of this program.
        """
        judge, intake = self._core.judge.pulse, self._core.intake
        network = judge.stalled_s(intake.waiting_since)
        return max(network, self._body.stalled_s(), self._core.pulse.stalled_s())

    def _inspection(self, finished: Finished) -> Inspection:
        ticket, result, fault = finished.ticket, finished.result, finished.fault
        index = self._indices[ticket.camera]
        self._indices[ticket.camera] += 1
        self._inspected[ticket.camera] += ticket.triggers
        if fault is not None:
            self._faults[ticket.camera][fault.code.value] += 1
        inspection = Inspection(
            camera=ticket.camera,
            index=index,
            frame_id=ticket.frame_id,
            name=ticket.name,
            captured_at=ticket.timestamp,
            verdict=result.verdict if result is not None else Verdict.FAULT,
            result=result,
            fault=fault,
            latency_ms=(finished.done - ticket.monotonic) * 1e3,
            queue_ms=(finished.begun - ticket.arrived) * 1e3,
            dropped=ticket.dropped,
            triggers=ticket.triggers,
            image=ticket.image,
        )
        monitor = self._drift.get(ticket.camera)
        if monitor is None:
            return inspection
        alarms = monitor.observe(inspection)
        return replace(inspection, drift=alarms, drift_error=monitor.trouble)


@dataclass(eq=False)
class _Core:
    """The threads; they know nothing of the ``Stream``, so that dropping it ends them."""

    intake: Intake
    outbox: Outbox
    judge: Judge
    feeders: list[Camera | Reader]
    settings: StreamSettings
    teller: Teller

    def __post_init__(self) -> None:
        self._stop = threading.Event()
        self._forgotten = False
        self.pulse = Pulse()  # of the supervisor
        self._network = threading.Thread(target=self.judge.run, name="pyad-network", daemon=True)

    def start(self) -> None:
        atexit.register(self.close)  # no thread may be inside the network when Python goes
        self.teller.start()
        self._network.start()
        self.pulse.work()
        threading.Thread(target=self._supervise, name="pyad-supervisor", daemon=True).start()

    def forget(self) -> None:
        """The ``Stream`` was dropped; its supervisor closes it.

        The garbage collector calls this in any thread, which may hold any lock of this very core.
        """
        self._forgotten = True

    def close(self) -> None:
        if self._stop.is_set():
            return
        self._stop.set()
        atexit.unregister(self.close)
        for feeder in self.feeders:
            feeder.stop()
        self.intake.close()
        self.outbox.close()
        self.teller.stop()
        until = time.monotonic() + _END_S
        if threading.current_thread() is not self._network:
            self._network.join(_END_S)
        # A driver in good health needs one wait for a frame; one that hangs is not waited for.
        for feeder in self.feeders:
            if feeder.state is State.ENDED and not feeder.abandoned:
                feeder.join(min(until, time.monotonic() + self.settings.read_timeout_s + 0.5))

    def _supervise(self) -> None:
        """Look after the feeders."""
        period = min(_POLL_S, self.settings.stale_after_s / 10, self.settings.backoff_first_s / 2)
        period = max(period, _SHORTEST_POLL_S)
        clock = SteadyClock(period)
        while not self._stop.is_set():
            now = clock.tick(time.monotonic())
            for feeder in self.feeders:
                try:
                    feeder.poll(now)
                except Exception:
                    _log.exception("supervising %s failed", feeder.lane.camera)
            self.pulse.work()
            if self._forgotten:
                self.close()
            self._stop.wait(period)


def inspect_sources(
    runtime: Any,
    sources: object,
    *,
    policy: Literal["inspect", "live"] = "inspect",
    mode: Literal["infer", "decide"] = "infer",
    settings: StreamSettings | None = None,
    gate: GateSettings | Literal["auto"] | None = "auto",
    on_state: Callable[[StateChange], None] | None = None,
    drift: DriftMonitor | Mapping[str, DriftMonitor] | None = None,
) -> Stream:
    """Inspect streams of frames.

    Args:
        runtime: an open ``Runtime``.
        sources: a folder, picture or video file; "camera:0"; "rtsp://..."; "genicam:<serial>"; an
            iterable of arrays or ``Frame``; a function that makes a ``Device``; or several of them
            by name: {"left": ..., "right": ...}.
        policy: ``inspect``: every trigger gets exactly one verdict or fault; sources that can wait
            do. ``live``: the newest frame wins, and what was dropped is counted; files still wait.
        mode: ``infer``, or ``decide`` for the verdict alone.
        settings: queues, deadlines, time limits.
        gate: checks of the input; ``auto``: those that suit the kind of source; None: none.
        on_state: called for every change of a camera's state, in a thread of its own.
        drift: a monitor of the camera, or one each by name; alarms are in ``Inspection.drift``.

    Returns:
        An iterator of ``Inspection``. It ends when every source is at its end or LOST for good.

    Raises:
        DataError: a file or folder that cannot be opened.
        SettingError: an argument that cannot be used.
        BackendError: a GenICam camera without harvesters.
    """
    if policy not in ("inspect", "live"):
        raise SettingError(f"[stream] expected policy 'inspect' or 'live', got {policy!r}.")
    if mode not in ("infer", "decide"):
        raise SettingError(f"[stream] expected mode 'infer' or 'decide', got {mode!r}.")
    if gate is not None and gate != "auto" and not isinstance(gate, GateSettings):
        raise SettingError(f"[stream] expected gate 'auto', None or GateSettings, got {gate!r}.")
    settings = settings or StreamSettings()
    named = named_sources(sources)
    monitors = monitors_by_camera(drift, list(named))
    pixel_format = _pixel_format(runtime)
    opened: dict[str, Opened] = {}
    try:
        for name, spec in named.items():
            opened[name] = open_spec(spec, settings, pixel_format=pixel_format)
    except BaseException:
        for one in opened.values():
            one.close()
        raise
    gates: dict[str, Gate | None] = {}
    for name, one in opened.items():
        chosen = gate_for(one.kind) if gate == "auto" else gate
        if chosen is None:
            gates[name] = None
            continue
        # The centre of a normal picture at its own resolution; the other golden picture is noise.
        golden = runtime.engine.tensors["golden/frames"][0]
        reference = GateReference.of(golden, chosen, pixel_format=pixel_format)
        gates[name] = Gate(chosen, reference, camera=name)
    return Stream(
        runtime,
        opened,
        gates,
        live=policy == "live",
        mode=mode,
        settings=settings,
        on_state=on_state,
        drift=monitors,
    )


def _pixel_format(runtime: Any) -> str | None:
    """What frames the runtime expects; None: 8-bit RGB or mono."""
    info = runtime.info
    declared: str | None = info["input"]["pixel_format"]
    return "BGR8" if declared is None and info["color_order"] == "bgr" else declared


def _feeder(
    name: str,
    opened: Opened,
    intake: Intake,
    gate: Gate | None,
    settings: StreamSettings,
    live: bool,
    teller: Teller,
) -> Camera | Reader:
    waits = opened.kind == "file" or (opened.kind == "iterable" and not live)
    lane = Lane(name, intake, settings, gate=gate, waits=waits)
    if opened.make is None:
        copy = opened.kind == "iterable"  # files give arrays of their own
        return Reader(lane, opened.items, copy=copy, close=opened.close, changed=teller)
    return Camera(lane, opened.make, settings, changed=teller, random_source=random.Random())
