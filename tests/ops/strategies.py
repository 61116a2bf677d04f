"""Arrays for property tests, of every kind that has made a kernel go wrong somewhere."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

Array = NDArray[np.float32]
Make = Callable[[np.random.Generator, tuple[int, ...]], NDArray[np.float64]]

KINDS: dict[str, Make] = {
    "normal": lambda rng, shape: rng.normal(size=shape),
    "sparse": lambda rng, shape: np.maximum(rng.normal(size=shape), 0.0),
    "ties": lambda rng, shape: rng.integers(-1, 2, shape).astype(np.float64),
    "zeros": lambda rng, shape: rng.normal(size=shape) * (rng.random(shape) < 0.03),
    "denormal": lambda rng, shape: rng.normal(size=shape) * 1e-42,
    "tiny": lambda rng, shape: rng.normal(size=shape) * 1e-25,  # squares underflow
    "offset": lambda rng, shape: 1e4 + rng.normal(size=shape),
    "large": lambda rng, shape: rng.normal(size=shape) * 1e13,  # past 8-bit screens
    "huge": lambda rng, shape: rng.normal(size=shape) * 1e17,  # past every screen
    "overflow": lambda rng, shape: rng.normal(size=shape) * 1e25,  # squares are infinite
    "mixed": lambda rng, shape: rng.normal(size=shape) * 10.0 ** rng.integers(-20, 10, shape),
}
BOUNDED = [kind for kind in KINDS if kind != "overflow"]
seeds = st.integers(0, 2**32 - 1)


@st.composite
def values(draw: st.DrawFn, shape: tuple[int, ...], kinds: list[str] | None = None) -> Array:
    """A float32 array of one kind."""
    kind = draw(st.sampled_from(kinds or list(KINDS)))
    return KINDS[kind](np.random.default_rng(draw(seeds)), shape).astype(np.float32)


@st.composite
def rows(draw: st.DrawFn, n: int, D: int, kinds: list[str] | None = None) -> Array:
    """(n, D) float32: rows of one kind, some of another, some zero, some twice."""
    array: Array = draw(values((n, D), kinds))
    rng = np.random.default_rng(draw(seeds))
    for share, other in (
        (draw(st.sampled_from([0.0, 0.3])), draw(values((n, D), kinds))),
        (draw(st.sampled_from([0.0, 0.2])), np.zeros((n, D), np.float32)),
        (draw(st.sampled_from([0.0, 0.5])), array[rng.integers(0, n, n)]),
    ):
        chosen = rng.random(n) < share
        array[chosen] = other[chosen]
    return array
