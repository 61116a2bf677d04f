"""Write an engine file: atomically, deterministically, and verified before it replaces anything."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from pyad_edge.engine import read_engine
from pyad_edge.engine_format import DTYPES, engine_header, layout, little_endian
from pyad_edge.engine_manifest import (
    FORMAT_NAME,
    Manifest,
    ManifestDraft,
    TensorEntry,
    field_path,
    format_version,
)
from pyad_edge.errors import EngineError
from pyad_edge.export.atomic_file import replace_file

__all__ = ["assemble", "write_engine"]


def write_engine(
    path: str | os.PathLike[str],
    *,
    manifest: ManifestDraft,
    tensors: Mapping[str, NDArray[Any]],
) -> Path:
    """Write an engine file. At every moment ``path`` is the old file or the whole new one.

    The new file is read back and verified before it takes its name, which needs the memory of one
    more copy of it. Equal input gives equal bytes.

    Args:
        path: the file to write; a link is followed.
        manifest: everything but the tensor table.
        tensors: arrays by name, of the dtypes in ``engine_format.DTYPES``, each at least 1-D.

    Returns:
        The path that was given.

    Raises:
        EngineError: if manifest and tensors make no valid engine.
        SettingError: if the folder does not exist or may not be written.
        ResourceError: if the disk is full or fails, or the memory does not hold the copy.
    """
    path = Path(path)

    def verify(partial: Path) -> None:
        try:
            read_engine(partial)
        except EngineError as error:
            if isinstance(error.__cause__, OSError):
                raise error.__cause__ from None  # the disk is at fault, not the engine
            # The input is at fault, not the temporary file that the sentence names.
            raise EngineError(str(error).replace(str(partial), str(path))) from error

    replace_file(path, assemble(manifest=manifest, tensors=tensors), verify=verify)
    return path


def assemble(*, manifest: ManifestDraft, tensors: Mapping[str, NDArray[Any]]) -> list[memoryview]:
    """The file's bytes as pieces, in order: the header, then the tensors.

    Raises:
        EngineError: if the format does not allow a tensor's name, dtype or shape.
    """
    arrays = {name: _native(name, tensor) for name, tensor in tensors.items()}
    try:
        entries = {
            name: TensorEntry.model_validate(
                {
                    "dtype": array.dtype.name,
                    "shape": array.shape,
                    "sha256": hashlib.sha256(_raw(array)).hexdigest(),
                }
            )
            for name, array in arrays.items()
        }
        fields = {name: getattr(manifest, name) for name in ManifestDraft.model_fields}
        whole = Manifest.model_validate(
            {
                "format": FORMAT_NAME,
                "format_version": format_version(manifest),
                "tensors": entries,
                **fields,
            }
        )
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = field_path(first["loc"])
        raise EngineError(
            f"[write_engine] the engine's tensors do not fit the format: {place}: {first['msg']}."
        ) from error
    return [memoryview(engine_header(whole)), *(_raw(arrays[s.name]) for s in layout(entries))]


def _native(name: str, tensor: NDArray[Any]) -> NDArray[Any]:
    if tensor.dtype.name not in DTYPES or tensor.ndim == 0 or tensor.size == 0:
        raise EngineError(
            f"[write_engine] expected tensor '{name}' as a non-empty array of one of "
            f"{', '.join(DTYPES)}, got {tensor.dtype.name} of shape {tensor.shape}."
        )
    return np.asarray(tensor, little_endian(tensor.dtype.name), order="C")


def _raw(array: NDArray[Any]) -> memoryview:
    return array.reshape(-1).view(np.uint8).data
