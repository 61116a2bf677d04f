"""Generated windows, on disk: written once, checked whenever they are used again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pyad_edge.errors import DataError
from pyad_edge.export.methods.grad.windows import Places
from pyad_edge.export.training.checkpoint import load_checkpoint, save_checkpoint

__all__ = ["Samples", "identity_key", "load_samples", "save_samples"]


@dataclass(frozen=True, eq=False)
class Samples:
    """What one PatchDiff generated.

    Attributes:
        windows: (S, 3, s, s) uint8: 0 is -1, 255 is 1.
        places: (S, 2) int64, where in the level's pictures they belong.
    """

    windows: torch.Tensor
    places: Places

    @property
    def size(self) -> tuple[int, int]:
        """(s, s)."""
        return self.windows.shape[-2], self.windows.shape[-1]

    def __len__(self) -> int:
        """How many."""
        return len(self.windows)


def identity_key(identity: Mapping[str, Any]) -> str:
    """SHA-256 of what samples follow from: data, settings, seed."""
    text = json.dumps(dict(identity), sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def save_samples(path: Path, samples: Samples, *, identity: Mapping[str, Any]) -> None:
    """Write a file; an old one stays until the new one is complete.

    Raises:
        SettingError: if the folder does not exist or may not be written.
        ResourceError: if the disk is full or fails.
    """
    tensors = {"windows": samples.windows, "places": torch.from_numpy(samples.places)}
    state = {"samples": identity_key(identity), "contents": _contents(samples)}
    save_checkpoint(path, tensors=tensors, state=state)


def load_samples(path: Path, *, identity: Mapping[str, Any]) -> Samples | None:
    """What an earlier training generated from the same data, settings and seed.

    Returns:
        None: there is no file, or it is of other data, settings or seed.

    Raises:
        DataError: if the file is damaged.
    """
    if not path.exists():
        return None
    found = load_checkpoint(path, expected={})
    if found.state.get("samples") != identity_key(identity):
        return None
    windows, places = found.tensors.get("windows"), found.tensors.get("places")
    if windows is not None and places is not None:
        samples = Samples(windows, _places(places))
        if _contents(samples) == found.state.get("contents"):
            return samples
    raise DataError(
        f"[grad] the generated windows in {path} are not those that were written: the file is "
        "damaged. Delete it to have them generated anew."
    )


def _places(tensor: torch.Tensor) -> NDArray[np.int64]:
    return np.asarray(tensor.numpy(), np.int64)


def _contents(samples: Samples) -> str:
    digest = hashlib.sha256(samples.windows.contiguous().numpy().tobytes())
    digest.update(samples.places.tobytes())
    return digest.hexdigest()
