"""Nested states, such as an optimiser's, as named tensors and plain JSON, and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

__all__ = ["pack", "random_state", "restore_random_state", "unpack"]

_TENSOR, _PAIRS, _TUPLE = "$tensor", "$pairs", "$tuple"


def pack(tree: Any, *, name: str = "state") -> tuple[dict[str, torch.Tensor], Any]:
    """Split a tree of dicts, lists and tuples into its tensors and the rest.

    Args:
        tree: leaves are tensors, numbers, strings, booleans or None; keys are strings or integers.
        name: where the tensors' names begin.

    Returns:
        Tensors by name, and plain data in which a tensor is its name.

    Raises:
        TypeError: if a leaf is something else.
    """
    tensors: dict[str, torch.Tensor] = {}

    def plain(value: Any, where: str) -> Any:
        if isinstance(value, torch.Tensor):
            # A copy: the training goes on while the file is written, and views share storage.
            tensors[where] = value.detach().to("cpu", copy=True).contiguous()
            return {_TENSOR: where}
        if isinstance(value, Mapping):  # pairs keep order and integer keys
            return {_PAIRS: [[key, plain(own, f"{where}.{key}")] for key, own in value.items()]}
        if isinstance(value, list | tuple):
            items = [plain(own, f"{where}.{index}") for index, own in enumerate(value)]
            return {_TUPLE: items} if isinstance(value, tuple) else items
        if value is None or isinstance(value, bool | int | float | str):
            return value
        raise TypeError(f"{where} holds a {type(value).__name__}, which a checkpoint cannot keep")

    return tensors, plain(tree, name)


def unpack(plain: Any, tensors: Mapping[str, torch.Tensor]) -> Any:
    """The tree that :func:`pack` split."""
    if isinstance(plain, list):
        return [unpack(own, tensors) for own in plain]
    if isinstance(plain, dict):
        if _TENSOR in plain:
            return tensors[plain[_TENSOR]]
        if _TUPLE in plain:
            return tuple(unpack(own, tensors) for own in plain[_TUPLE])
        return {key: unpack(own, tensors) for key, own in plain[_PAIRS]}
    return plain


def random_state() -> dict[str, Any]:
    """Of torch's generators, all devices."""
    return {
        "cpu": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def restore_random_state(state: Mapping[str, Any]) -> None:
    """Go on drawing where :func:`random_state` was taken; on other devices, only the CPU's."""
    torch.set_rng_state(state["cpu"])
    if state["cuda"] and len(state["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(state["cuda"])
