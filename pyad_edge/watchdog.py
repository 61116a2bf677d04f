"""Tells systemd how a service is: ready, alive, what it does, stopping (sd_notify(3)).

``WATCHDOG=1`` is said only while the stream gets on: a backend that hangs, a loop that waits for a
full pipe, or frames that fail one after the other starve the watchdog, and systemd starts the
service again.
"""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Mapping
from types import TracebackType

from pyad_edge.errors import SettingError

__all__ = ["Notifier", "Watchdog"]

_STATUS_S = 5.0  # between texts where no watchdog is wanted
_SEND_S = 1.0  # that the socket of a busy systemd may take


class Notifier:
    """The datagram socket that systemd names in ``NOTIFY_SOCKET``.

    Args:
        address: a path, or ``@name`` in the abstract namespace.

    Raises:
        SettingError: if it is neither.
    """

    def __init__(self, address: str) -> None:
        if not address.startswith(("/", "@")):
            raise SettingError(
                f"[watchdog] expected NOTIFY_SOCKET as a path or @name, got {address!r}. Unset it "
                "to run without systemd."
            )
        self._address = "\0" + address[1:] if address[0] == "@" else address

    def send(self, **fields: object) -> bool:
        """Send ``READY=1``, ``STATUS=...`` in one message; False if nobody took it.

        Args:
            **fields: by their names; line breaks in a value become spaces.
        """
        lines = (f"{name}={' '.join(str(value).splitlines())}" for name, value in fields.items())
        message = "\n".join(lines).encode("utf-8", "backslashreplace")
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as out:
                out.settimeout(_SEND_S)
                out.sendto(message, self._address)
        except OSError:  # systemd is away or busy: the next message may arrive
            return False
        return True


class Watchdog:
    """A thread that says how the service is, until the ``with`` block ends.

    Args:
        notifier: where to; None: nobody asked, and nothing is done.
        interval_s: after which systemd gives the service up; None: no watchdog.
        stalled_s: seconds that the service has stood still.
        status: one sentence for ``systemctl status``.
    """

    def __init__(
        self,
        notifier: Notifier | None,
        *,
        interval_s: float | None,
        stalled_s: Callable[[], float],
        status: Callable[[], str],
    ) -> None:
        self._notifier, self._stalled_s, self._status = notifier, stalled_s, status
        self.period_s = _STATUS_S if interval_s is None else min(_STATUS_S, interval_s / 3)
        self.limit_s = None if interval_s is None else interval_s / 2
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="pyad-watchdog", daemon=True)

    @classmethod
    def from_environment(
        cls,
        stalled_s: Callable[[], float],
        status: Callable[[], str],
        environment: Mapping[str, str] = os.environ,
    ) -> Watchdog:
        """As systemd asks for it: ``NOTIFY_SOCKET``, ``WATCHDOG_USEC``, ``WATCHDOG_PID``.

        Raises:
            SettingError: if one of them is nothing that systemd would set.
        """
        address = environment.get("NOTIFY_SOCKET")
        interval = _interval_s(environment)
        notifier = Notifier(address) if address else None
        return cls(notifier, interval_s=interval, stalled_s=stalled_s, status=status)

    def ready(self) -> None:
        """The service has begun; from here on the watchdog is fed."""
        if self._notifier is not None:
            self._notifier.send(READY=1, STATUS=self._status())
            self._thread.start()

    def stopping(self) -> None:
        """The service ends, if it ever began; nothing more is said."""
        self._stop.set()
        if self._notifier is not None and self._thread.ident is not None:
            self._notifier.send(STOPPING=1, STATUS="stopping")

    def __enter__(self) -> Watchdog:
        """Return the watchdog; leaving the block says that the service stops."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Say that the service stops."""
        self.stopping()

    def _run(self) -> None:
        while not self._stop.is_set():
            self._say()
            self._stop.wait(self.period_s)

    def _say(self) -> None:
        if self._notifier is None:
            return
        stalled, limit = self._stalled_s(), self.limit_s
        if limit is not None and stalled >= limit:
            self._notifier.send(STATUS=f"stands still for {stalled:.0f} s: {self._status()}")
        elif limit is not None:
            self._notifier.send(WATCHDOG=1, STATUS=self._status())
        else:
            self._notifier.send(STATUS=self._status())


def _interval_s(environment: Mapping[str, str]) -> float | None:
    """Seconds of the watchdog that this process has to feed."""
    if environment.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None  # meant for another process, such as a parent
    text = environment.get("WATCHDOG_USEC")
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and int(text) > 0):
        raise SettingError(
            f"[watchdog] expected WATCHDOG_USEC as a whole number of microseconds above 0, got "
            f"{text!r}. systemd sets it from WatchdogSec=."
        )
    return int(text) / 1e6
