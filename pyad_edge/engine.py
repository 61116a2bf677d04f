"""Read and describe an engine file. Nothing in it is used before everything is checked."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyad_edge.calibration import threshold_for
from pyad_edge.engine_format import ALIGNMENT, MAX_FILE_BYTES
from pyad_edge.engine_manifest import Manifest, member_tensor
from pyad_edge.engine_verify import FOREIGN, engine_error, verify_bytes
from pyad_edge.errors import EngineError, ResourceError
from pyad_edge.trust.check import Accepted, SignaturePolicy, policy_of
from pyad_edge.trust.statement import Statement

__all__ = ["Engine", "describe", "read_engine", "verify_bytes"]


@dataclass(frozen=True, eq=False)
class Engine:
    """A verified engine file.

    Attributes:
        manifest: everything that is not a tensor.
        tensors: read-only little-endian arrays by name, views of one copy of the file in memory.
        path: the file that was read.
        file_sha256: of the whole file, as ``sha256sum`` prints it.
        size: bytes of the file.
        accepted: its signature, where one was required and passed.
    """

    manifest: Manifest
    tensors: Mapping[str, NDArray[Any]] = field(repr=False)
    path: Path
    file_sha256: str
    size: int
    accepted: Accepted | None = None

    @property
    def signed(self) -> Statement | None:
        """What a signature says that passed; None where none was required."""
        return None if self.accepted is None else self.accepted.statement

    def checked(self, policy: SignaturePolicy) -> Engine:
        """The same engine, if the signature beside its file passes.

        Raises:
            BackendError, EngineError, SettingError: as :meth:`SignaturePolicy.check`.
        """
        accepted = policy.check(self.path, sha256=self.file_sha256, size=self.size)
        return dataclasses.replace(self, accepted=accepted)


def read_engine(
    path: str | os.PathLike[str],
    *,
    require_signature: SignaturePolicy | str | os.PathLike[str] | None = None,
) -> Engine:
    """Read an engine file and check all of it.

    The file is read once, into memory of our own, rather than mapped: what was checked is what is
    used, even if somebody overwrites or truncates the file while the engine runs. A signature is
    checked before anything in the file is looked at.

    Args:
        path: the file.
        require_signature: file of the public keys that are trusted, or a
            :class:`~pyad_edge.trust.SignaturePolicy`; none: no signature is looked for.

    Raises:
        BackendError: if a signature is required and the package cryptography is missing.
        EngineError: if the file is missing, unreadable, not an engine, damaged or too new, or has
            no signature that passes.
        SettingError: if the keys cannot be read.
        ResourceError: if it does not fit into memory.
    """
    path = Path(path)
    try:
        buffer = _read(path)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        raise _open_error(path, error) from error
    except MemoryError as error:
        raise ResourceError(
            f"[read_engine] {path} does not fit into the free memory of this machine. "
            "Close other programs, or export an engine with a smaller --coreset."
        ) from error
    digest = hashlib.sha256(buffer.data).hexdigest()
    accepted = None
    if require_signature is not None:
        policy = policy_of(require_signature)
        accepted = policy.check(path, sha256=digest, size=buffer.size)
    manifest, tensors = verify_bytes(buffer, str(path))
    return Engine(manifest, tensors, path, digest, buffer.size, accepted)


def describe(engine: Engine) -> dict[str, Any]:
    """An engine as plain data: what ``pyad-edge info --json`` prints."""
    manifest = engine.manifest.model_dump(mode="json")
    threshold = threshold_for(
        engine.tensors["calibration/scores"], engine.manifest.threshold.false_reject
    )
    for name, entry in manifest["tensors"].items():
        entry["bytes"] = engine.tensors[name].nbytes
    manifest["threshold"] = {
        **dataclasses.asdict(threshold),
        "statement": threshold.statement(),
    }
    for i, member in enumerate(manifest.get("members", ()), start=1):
        member["bank"] = _bank(engine, i)
    index, has_bank = engine.manifest.index, "bank/features" in engine.tensors
    search = "exact" if index is None else index.statement()
    return {
        "path": str(engine.path),
        "file_sha256": engine.file_sha256,
        "bytes": engine.size,
        "bank": _bank(engine, 0) if has_bank else None,
        "search": search if has_bank else None,
        "golden_pictures": len(engine.tensors["golden/scores"]),
        **manifest,
    }


def _bank(engine: Engine, member: int) -> dict[str, int]:
    rows, dimensions = engine.tensors[member_tensor(member, "bank/features")].shape
    return {"rows": rows, "dimensions": dimensions}


def _read(path: Path) -> NDArray[np.uint8]:
    """The file's bytes, (size,), starting on an aligned address."""
    if not stat.S_ISREG(path.stat().st_mode):  # before opening: a pipe would wait for a writer
        kind = "a folder" if path.is_dir() else "not a regular file"
        raise engine_error(str(path), f"is {kind}, not an engine file", FOREIGN)
    with path.open("rb", buffering=0) as file:
        size = os.fstat(file.fileno()).st_size
        if size > MAX_FILE_BYTES:
            what = f"has {size:,} bytes; an engine has at most {MAX_FILE_BYTES:,}"
            raise engine_error(str(path), what, FOREIGN)
        buffer = np.empty(size + ALIGNMENT, np.uint8)
        offset = -buffer.ctypes.data % ALIGNMENT
        view = buffer.data[offset : offset + size]
        done = 0
        while done < size and (count := file.readinto(view[done:])):
            done += count
    buffer.flags.writeable = False
    return buffer[offset : offset + done]  # shorter if the file shrank; the checks will tell


def _open_error(path: Path, error: OSError | ValueError) -> EngineError:
    if isinstance(error, FileNotFoundError):
        return engine_error(str(path), "does not exist", FOREIGN)
    if isinstance(error, PermissionError):
        return engine_error(
            str(path), "may not be read by this user", "Grant read permission to it."
        )
    what = f"cannot be read ({getattr(error, 'strerror', None) or error})"
    return engine_error(str(path), what, "Check the disk, then copy the file again.")
