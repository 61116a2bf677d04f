"""A training half-way, as a safetensors file: tensors, and canonical JSON in its metadata."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from pyad_edge.errors import DataError, ResourceError
from pyad_edge.export.atomic_file import replace_file

__all__ = ["Checkpoint", "load_checkpoint", "save_checkpoint"]

KEY = "pyad_edge.training"
Tensors = Mapping[str, torch.Tensor]


class Checkpoint:
    """What :func:`load_checkpoint` found.

    Attributes:
        tensors: by name, on the CPU.
        state: plain data.
    """

    def __init__(self, tensors: dict[str, torch.Tensor], state: dict[str, Any]) -> None:
        self.tensors, self.state = tensors, state


def save_checkpoint(path: Path, *, tensors: Tensors, state: Mapping[str, Any]) -> None:
    """Write a checkpoint; at every moment the file is the old one or the whole new one.

    Args:
        path: of the file.
        tensors: by name.
        state: plain data for JSON: method, settings, fingerprint, iteration.

    Raises:
        SettingError: if the folder does not exist or may not be written.
        ResourceError: if the disk is full or fails.
    """
    from safetensors.torch import save

    whole = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    text = json.dumps(state, sort_keys=True, separators=(",", ":"), allow_nan=False)
    data = save(whole, metadata={KEY: text})

    def verify(written: Path) -> None:
        if written.stat().st_size != len(data):
            raise ResourceError(
                f"[checkpoint] {path} was written short of {len(data):,} bytes. Check the disk."
            )

    replace_file(path, [memoryview(data)], verify=verify)


def load_checkpoint(path: Path, *, expected: Mapping[str, Any]) -> Checkpoint:
    """Read a checkpoint of the same training.

    Args:
        path: of the file.
        expected: state that must be equal: method, settings, fingerprint of the data.

    Raises:
        DataError: if the file cannot be read, or is of another training.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            text = (file.metadata() or {}).get(KEY)
            state = json.loads(text) if text is not None else None
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError, ValueError) as error:
        raise DataError(
            f"[checkpoint] {path} cannot be read as a checkpoint: {error}. Delete it to begin anew."
        ) from error
    if not isinstance(state, dict):
        raise DataError(
            f"[checkpoint] {path} is a safetensors file without a training's state. Name the file "
            "that --checkpoint wrote."
        )
    # As JSON would give it back: tuples are lists there.
    wanted = json.loads(json.dumps(dict(expected)))
    for name, value in wanted.items():
        if state.get(name) != value:
            raise DataError(
                f"[checkpoint] {path} is of another training: {_difference(name, state, value)}. "
                "Resume with the same data and settings, or delete it to begin anew."
            )
    return Checkpoint(tensors, state)


def _difference(name: str, state: Mapping[str, Any], value: Any) -> str:
    found = state.get(name)
    if isinstance(found, dict) and isinstance(value, dict):
        keys = [k for k in sorted(value | found) if found.get(k) != value.get(k)]
        return "; ".join(f"{k} was {found.get(k)!r}, now {value.get(k)!r}" for k in keys)
    if name == "fingerprint":
        return "its pictures are others"
    return f"{name} was {found!r}, now {value!r}"
