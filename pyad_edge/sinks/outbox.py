"""Between the inspection and a sink: a thread and a queue, so that neither waits for the other."""

from __future__ import annotations

import json
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from pyad_edge.sinks.base import Record, RecordSink, Sink
from pyad_edge.sinks.spool import Spool
from pyad_edge.streaming import Inspection

__all__ = ["Outbox", "OutboxStatus"]

_BATCH = 64  # records of one call of a sink
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 30.0  # seconds between attempts of a sink that fails
_HOPELESS = (TypeError, ValueError, LookupError, AttributeError)  # of a record, not of the sink
_MOST_ATTEMPTS = 3  # with such a record
_SPILL_PAUSE = 1.0  # seconds before a disk that refused is tried again


@dataclass
class OutboxStatus:
    """What became of the inspections that one sink was given.

    ``taken + recovered == written + skipped + dropped + waiting + on_disk``, always.

    Attributes:
        name: of the sink.
        taken: given to the outbox.
        recovered: found on disk at the start, left over from an earlier run, lines that a crash cut
            off included.
        written: delivered.
        spilled: of all, those that waited on disk in between.
        dropped: lost: memory and disk were at their bounds, or the disk gave something else back
            than was written.
        failed: attempts that raised; records are tried again.
        skipped: inspections given up: after one failed attempt by sinks that take pictures; a
            record that the sink cannot write at all (it raises TypeError, ValueError ... for it
            alone, three times), so that those behind it are not held up.
        waiting: in memory now.
        on_disk: on disk now.
        error: the last failure, as a sentence.
    """

    name: str
    taken: int = 0
    recovered: int = 0
    written: int = 0
    spilled: int = 0
    dropped: int = 0
    failed: int = 0
    skipped: int = 0
    waiting: int = 0
    on_disk: int = 0
    error: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return asdict(self)


@dataclass
class _Queue:
    """What both threads share; touched under the lock only."""

    items: deque[tuple[float, Any]] = field(default_factory=deque)  # time of arrival, item
    delivering: list[Any] = field(default_factory=list)  # from memory, in the sink's hands
    moving: list[tuple[float, Any]] = field(default_factory=list)  # on their way to the disk
    closing: bool = False
    stopped: bool = False
    settled: bool = False  # the outbox is closed: what a thread that hung does now counts no more

    def waiting(self) -> int:
        return len(self.items) + len(self.moving)

    def size(self) -> int:
        return self.waiting() + len(self.delivering)


class Outbox:
    """Gives inspections to a sink from a thread of its own; :meth:`put` never waits.

    In memory at most ``memory`` inspections wait, beside those in the sink's hands (up to 64
    records). Records (of sinks with ``write_records``) that
    wait longer than ``patience`` go on to the disk, in order, where there is a spool; they are
    delivered before newer ones, after a restart too, at least once. Where memory and disk are at
    their bounds, or the disk refuses, the newest inspections are dropped and counted.

    A sink that raises is tried again with growing pauses, if it takes records; one that takes
    pictures loses that one inspection, counted. A sink that never returns keeps its thread, and
    nothing else.

    Args:
        sink: called from one thread only.
        name: for the status.
        memory: inspections that may wait in memory. Those with pictures hold the pictures.
        spool: the queue on disk; none: nothing outlives the program.
        patience: seconds.
    """

    def __init__(
        self,
        sink: Sink,
        *,
        name: str,
        memory: int = 256,
        spool: Spool | None = None,
        patience: float = 0.2,
    ) -> None:
        self._sink = sink
        self._records = isinstance(sink, RecordSink)
        self._memory, self._patience = memory, patience
        self._spool = spool if self._records else None
        self._lock = threading.Lock()
        self._for_sink = threading.Condition(self._lock)  # wakes the sink's thread
        self._for_disk = threading.Condition(self._lock)  # and the disk's
        self._queue = _Queue()
        self._status = OutboxStatus(name)
        self._stored = 0  # lines on disk; len(spool) would wait for the disk
        if self._spool is not None:
            self._stored, self._status.dropped = len(self._spool), self._spool.damaged
            self._status.recovered = self._stored + self._status.dropped
        self._threads = [threading.Thread(target=self._deliver, name=f"sink {name}", daemon=True)]
        if self._spool is not None:
            self._threads.append(
                threading.Thread(
                    target=self._spill, args=(self._spool,), name=f"outbox {name}", daemon=True
                )
            )
        for thread in self._threads:
            thread.start()

    def put(self, inspection: Inspection, record: Record | None = None) -> None:
        """Take an inspection; returns at once.

        Args:
            inspection: what was found.
            record: its ``to_dict()``, where the caller has it already.
        """
        item = (record or inspection.to_dict()) if self._records else inspection
        with self._lock:
            self._status.taken += 1
            if self._queue.closing or self._queue.waiting() >= self._memory:
                self._status.dropped += 1
                return
            self._queue.items.append((time.monotonic(), item))
            self._for_sink.notify()
            if len(self._queue.items) == self._memory // 2:
                self._for_disk.notify()

    @property
    def status(self) -> OutboxStatus:
        """Counts as of now."""
        with self._lock:
            counts = OutboxStatus(**asdict(self._status))
            counts.waiting, counts.on_disk = self._queue.size(), self._stored
        return counts

    def finish(self) -> None:
        """Take no more, deliver what waits; returns at once. Before closing several outboxes."""
        with self._lock:
            self._queue.closing = True
            self._for_sink.notify()

    def close(self, *, timeout: float = 5.0) -> OutboxStatus:
        """Deliver what waits, as far as that works within ``timeout`` seconds, and stop.

        What is left then goes to the disk, or is counted as dropped where there is none.
        """
        end = time.monotonic() + timeout
        self.finish()
        self._threads[0].join(timeout)
        with self._lock:
            self._queue.stopped = True
            self._for_sink.notify()
            self._for_disk.notify()
        self._threads[0].join(0.2)  # one that only waited lets go of its file
        # The disk may hang as well: a second of it, not more. Clocks may jump.
        for thread in self._threads[1:]:
            thread.join(min(max(1.0, end - time.monotonic()), max(1.0, timeout)))
        with self._lock:
            self._queue.settled = True
            lost = self._queue.size()
            self._queue.items.clear()
            self._queue.moving, self._queue.delivering = [], []
            self._status.dropped += lost
        return self.status

    def _deliver(self) -> None:
        """The sink's thread."""
        pause, limit, attempts = _FIRST_PAUSE, _BATCH, 0
        while (batch := self._next_batch(limit)) is not None:
            from_disk, items = batch
            try:
                if isinstance(self._sink, RecordSink):
                    self._sink.write_records(items)
                else:
                    self._sink.write(items[0])
            except Exception as error:  # a sink may raise anything; inspection goes on
                self._note_failure(error)
                if self._records and isinstance(error, _HOPELESS):
                    if len(items) > 1:  # find the one at fault
                        limit = 1
                        continue
                    attempts += 1
                    if attempts >= _MOST_ATTEMPTS:
                        limit, attempts = _BATCH, 0
                        self._note_done(from_disk, 1, skipped=True)
                        continue
                if self._records and not self._wait(pause):
                    break
                pause = min(2 * pause, _LONGEST_PAUSE)
                continue
            pause, attempts = _FIRST_PAUSE, 0
            self._note_done(from_disk, len(items))
        try:
            self._sink.close()
        except Exception as error:
            with self._lock:
                self._status.error = _sentence(error)

    def _next_batch(self, limit: int) -> tuple[bool, list[Any]] | None:
        """The oldest items and whether they come from the disk; None: stop."""
        while True:
            with self._lock:
                queue = self._queue
                while not (queue.stopped or queue.delivering or self._stored > 0):
                    if queue.items and not queue.moving:
                        break
                    if queue.closing and not queue.size():
                        return None
                    self._for_sink.wait()
                if queue.stopped:
                    return None
                if queue.delivering:  # failed before
                    return False, queue.delivering[:limit]
                if self._stored <= 0:
                    count = min(len(queue.items), limit if self._records else 1)
                    queue.delivering = [queue.items.popleft()[1] for _ in range(count)]
                    return False, list(queue.delivering)
            if self._spool is not None and (items := self._read_spool(self._spool, limit)):
                return True, items

    def _read_spool(self, spool: Spool, limit: int) -> list[Record]:
        """The oldest records on disk; damaged lines are dropped and counted."""
        try:
            lines = spool.peek(limit)
        except OSError as error:
            self._note_failure(error)
            if not self._wait(_SPILL_PAUSE):
                time.sleep(_FIRST_PAUSE)
            return []
        records = []
        for line in lines:
            try:
                record = json.loads(line)
            except (ValueError, RecursionError):
                break
            if not isinstance(record, dict):
                break
            records.append(record)
        if lines and not records:  # the first line is no record
            spool.acknowledge(1)
            with self._lock:
                self._stored -= 1
                self._status.dropped += 1
        return records

    def _note_done(self, from_disk: bool, count: int, *, skipped: bool = False) -> None:
        if from_disk and self._spool is not None:
            self._spool.acknowledge(count)
        with self._lock:
            if not from_disk and not self._queue.delivering:
                return  # it took too long: they went to the disk, or were counted at the end
            if skipped:
                self._status.skipped += count
            else:
                self._status.written += count
            if from_disk:
                self._stored -= count
            else:
                del self._queue.delivering[:count]

    def _note_failure(self, error: Exception) -> None:
        with self._lock:
            self._status.failed += 1
            self._status.error = _sentence(error)
            if not self._records:
                self._status.skipped += len(self._queue.delivering)
                self._queue.delivering = []

    def _wait(self, seconds: float) -> bool:
        """Pause between attempts; False where the outbox closes: no further attempt then."""
        with self._lock:
            self._for_sink.wait_for(lambda: self._queue.closing, seconds)
            return not self._queue.closing

    def _spill(self, spool: Spool) -> None:
        """The disk's thread."""
        while True:
            with self._lock:
                while not (due := self._due()) and not self._queue.stopped:
                    self._for_disk.wait(self._patience)
                final = self._queue.stopped
                count = len(self._queue.items) if final else due
                moving = [self._queue.items.popleft() for _ in range(count)]
                held: list[tuple[float, Any]] = []
                if final:  # what the sink still holds was not delivered for sure
                    held = [(0.0, item) for item in self._queue.delivering]
                    self._queue.delivering = []
                self._queue.moving = held + moving
            stored = self._store(moving, spool.append, tries=2 if final else 1)
            if final:
                # It is older than all that is on the disk.
                self._store(held, spool.prepend, tries=2)
                spool.close()
                return
            if not stored:
                with self._lock:
                    self._for_disk.wait_for(lambda: self._queue.stopped, _SPILL_PAUSE)

    def _due(self) -> int:
        """How many of the oldest items in memory should go to the disk now."""
        queue, now = self._queue, time.monotonic()
        if not queue.items or (len(queue.items) < self._memory // 2 and self._fresh(now)):
            return 0
        return min(len(queue.items), _BATCH)

    def _fresh(self, now: float) -> bool:
        return now - self._queue.items[0][0] < self._patience

    def _encoded(
        self, moving: list[tuple[float, Any]]
    ) -> tuple[list[bytes], list[tuple[float, Any]]]:
        """Lines for the disk; what is no plain data cannot go there, and is dropped."""
        lines, kept = [], []
        for entry in moving:
            try:
                lines.append(json.dumps(entry[1]).encode())  # ASCII, whatever names hold
            except (TypeError, ValueError) as error:
                with self._lock:
                    self._status.error = _sentence(error)
                    if self._queue.settled:
                        continue
                    self._queue.moving.remove(entry)
                    self._status.dropped += 1
            else:
                kept.append(entry)
        return lines, kept

    def _store(
        self,
        moving: list[tuple[float, Any]],
        write: Callable[[Sequence[bytes]], None],
        *,
        tries: int,
    ) -> bool:
        error: Exception | None = None
        lines, moving = self._encoded(moving)
        for _ in range(tries if lines else 0):
            try:
                write(lines)
                error = None
                break
            except Exception as failure:  # memory as well: this thread has to go on
                error = failure
        with self._lock:
            if self._queue.settled:
                return True
            del self._queue.moving[len(self._queue.moving) - len(moving) :]
            if error is None:
                self._status.spilled += len(moving)
                self._stored += len(moving)
            else:
                self._status.error = _sentence(error)
                self._queue.items.extendleft(reversed(moving))
            self._for_sink.notify()
        return error is None


def _sentence(error: Exception) -> str:
    text = str(error)
    return text if text.startswith("[") else f"{type(error).__name__}: {text or 'no reason given'}"
