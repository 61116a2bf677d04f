"""The highest version of each product that was accepted here: older engines stay out.

One small file, ``versions.json``, in a folder that this user alone may write. It holds no times:
setting the clock changes nothing.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError

from pyad_edge.engine_fields import StrictModel
from pyad_edge.engine_format import canonical_json, strict_json
from pyad_edge.errors import EngineError, ResourceError
from pyad_edge.private_files import (
    UnsafeError,
    check_folder,
    make_folder,
    read_private,
    write_private,
)
from pyad_edge.trust.statement import PRODUCT

__all__ = ["VersionState", "parse_versions", "state_folder"]

_FILE, _LOCK = "versions.json", "versions.lock"
_MAX_BYTES = 1 << 20
_Product = Annotated[str, Field(pattern=PRODUCT, max_length=100)]
_Version = Annotated[int, Field(ge=1, lt=2**53)]


class _Versions(StrictModel):
    format: Literal["pyad_edge versions"]
    format_version: Literal[1]
    highest: dict[_Product, _Version]


def state_folder() -> Path:
    """``$PYAD_EDGE_STATE``, else ``pyad_edge`` in ``$XDG_STATE_HOME`` or ``~/.local/state``."""
    if own := os.environ.get("PYAD_EDGE_STATE"):
        return Path(own)
    base = os.environ.get("XDG_STATE_HOME", "")
    # A relative path there is to be ignored, says the XDG Base Directory Specification.
    home = Path(base) if Path(base).is_absolute() else Path.home() / ".local" / "state"
    return home / "pyad_edge"


def parse_versions(data: bytes, source: str) -> dict[str, int]:
    """Versions by product.

    Raises:
        EngineError: if the bytes are no such file.
    """
    try:
        if len(data) > _MAX_BYTES:
            raise ValueError("too long")
        text = data.decode("ascii")
        strict_json(text)
        found = _Versions.model_validate_json(text)
        if _spelt(found.highest) != data:
            raise ValueError("not in canonical form")
    except (ValidationError, ValueError) as error:
        raise EngineError(
            f"[signature] {source} is damaged, so nobody can tell which versions were accepted "
            "here. Find out why; then delete it and open the newest engine of each product."
        ) from error
    return dict(found.highest)


def _spelt(highest: dict[str, int]) -> bytes:
    whole = _Versions(format="pyad_edge versions", format_version=1, highest=highest)
    return (canonical_json(whole.model_dump(mode="json")) + "\n").encode("ascii")


class VersionState:
    """What was accepted on this machine.

    Args:
        folder: where it is kept; none: :func:`state_folder`.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = state_folder() if folder is None else folder
        self.path = self.folder / _FILE

    def highest(self, product: str) -> int | None:
        """The highest version that was accepted; None for a product that is new here.

        Raises:
            EngineError: if the file is damaged, or others may have written it.
            ResourceError: if the disk fails.
        """
        try:
            try:
                self.folder.lstat()
            except FileNotFoundError:
                return None
            check_folder(self.folder)
            return self._read().get(product)
        except UnsafeError as error:
            raise self._refused(error) from error
        except OSError as error:
            raise ResourceError(
                f"[signature] {self.path} could not be read ({error.strerror or error}), so an "
                "older engine could not be told. Check that disk."
            ) from error

    def remember(self, product: str, version: int, *, lower: bool = False) -> None:
        """Keep a version if it is higher than what is kept, or in any case.

        Raises:
            EngineError: as :meth:`highest`.
            ResourceError: if it cannot be written.
        """
        try:
            make_folder(self.folder)
            with self._locked():
                found = self._read()
                known = found.get(product)
                if known == version or (known is not None and known > version and not lower):
                    return
                write_private(self.path, _spelt({**found, product: version}))
        except UnsafeError as error:
            raise self._refused(error) from error
        except OSError as error:
            raise ResourceError(
                f"[signature] {self.path} could not be written ({error.strerror or error}), so an "
                "older engine could not be told next time. Free some disk, or set PYAD_EDGE_STATE "
                "to a folder that this user may write."
            ) from error

    def _read(self) -> dict[str, int]:
        data = read_private(self.path, limit=_MAX_BYTES + 1)
        return {} if data is None else parse_versions(data, str(self.path))

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Two processes that open engines at once must not forget each other's."""
        flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0)
        descriptor = os.open(self.folder / _LOCK, flags, 0o600)
        try:
            if sys.platform != "win32":  # which has no such locks
                import fcntl

                fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            with suppress(OSError):  # nothing was written to it
                os.close(descriptor)

    def _refused(self, error: UnsafeError) -> EngineError:
        return EngineError(
            f"[signature] {error}, so what it says about accepted versions cannot be trusted. Make "
            "it this user's alone (chown, chmod go-w), or set PYAD_EDGE_STATE to a folder that is."
        )
