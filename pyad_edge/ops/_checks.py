"""Checks that several kernels share; what does not pass is named with its operation and value."""

from __future__ import annotations

import math
import operator
from collections.abc import Iterable
from numbers import Real
from typing import Any

__all__ = ["MAX_SIDE", "finite_number", "whole_number", "whole_sides"]

MAX_SIDE = 16384  # pixels: the largest side of a picture or map, as in an engine's manifest


def whole_number(op: str, name: str, value: Any, low: int, high: int, *, what: str = "") -> int:
    """A whole number between two bounds, as an int; ``what`` explains the upper one.

    Raises:
        TypeError: if it is no whole number (a float with a whole value is none, nor is a bool).
        ValueError: if it lies outside.
    """
    try:
        number = None if isinstance(value, bool) else operator.index(value)
    except TypeError:
        number = None
    if number is None:
        raise TypeError(f"[{op}] expected {name} as a whole number, got {value!r}.")
    if not low <= number <= high:
        raise ValueError(f"[{op}] expected {low} <= {name} <= {high}{what}, got {number}.")
    return number


def whole_sides(values: Iterable[Any]) -> tuple[int, ...] | None:
    """Sides in pixels as ints; None unless all are whole and between 1 and ``MAX_SIDE``."""
    try:
        sides = tuple(values)
        fits = all(
            not isinstance(side, (str, bytes, bool)) and int(side) == side and 1 <= side <= MAX_SIDE
            for side in sides
        )
    except (TypeError, ValueError, OverflowError):  # no numbers; NaN; infinity
        return None
    return tuple(int(side) for side in sides) if fits else None


def finite_number(value: Any) -> bool:
    """Whether something is a real number, neither NaN nor infinite."""
    return not isinstance(value, bool) and isinstance(value, Real) and math.isfinite(value)
