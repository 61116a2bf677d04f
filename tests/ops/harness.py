"""Runs a kernel in every form that this machine has; the author of a test writes only the inputs.

    from ops.harness import check
    check(ops.anomaly_map, reference.anomaly_map, scores, size=(64, 64), atol=1e-5)

One call compares the reference with every CPU level, every thread count and every memory layout.
All these forms must agree bit for bit; the first of them must agree with the reference within the
tolerance. Output arrays are filled with NaN (integers: their smallest value) before the kernel sees
them, so a cell that was never written cannot pass.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import numpy as np

from pyad_edge.ops import threads

THREADS = (1, 2, 3)
Compare = Callable[[tuple[np.ndarray, ...], tuple[np.ndarray, ...]], None]


def check(
    op: Callable[..., Any],
    reference: Callable[..., Any],
    *inputs: Any,
    rtol: float = 0.0,
    atol: float = 0.0,
    compare: Compare | None = None,
    **settings: Any,
) -> tuple[np.ndarray, ...]:
    """Run ``op(*inputs, **settings)`` in every form and return the outputs.

    Args:
        op: the kernel's Python face.
        reference: its NumPy twin.
        inputs: arrays, or sequences of arrays.
        rtol, atol: tolerance against the reference; zero for both means equality.
        compare: called with (outputs, expected) instead of the tolerance, where ties make several
            answers right.
        settings: keyword arguments of both functions.
    """
    expected = _tuple(reference(*inputs, **settings))
    first: tuple[np.ndarray, ...] | None = None
    for form in every_form():
        for layout, arrays in _layouts(inputs):
            with poisoned_outputs():
                outputs = _tuple(op(*arrays, **settings))
            if first is None:
                first = outputs
                _check_against_reference(outputs, expected, rtol, atol, compare)
            assert_bit_equal(outputs, first, f"{form}, {layout} inputs")
    assert first is not None
    return first


def every_form() -> Iterator[str]:
    """Set every CPU level with every thread count, one after another; restores both at the end."""
    level, count = threads.cpu_level(), threads.num_threads()
    try:
        for name in threads.available_cpu_levels():
            for n in THREADS:
                threads.set_cpu_level(name)
                threads.set_num_threads(n)
                yield f"{name} with {n} threads"
    finally:
        threads.set_cpu_level(level)
        threads.set_num_threads(count)


@contextmanager
def poisoned_outputs() -> Iterator[None]:
    """Make ``np.empty``, which all Python faces allocate with, return poison."""
    empty = np.empty

    def poisoned(shape: Any, dtype: Any = float, **options: Any) -> np.ndarray:
        array = empty(shape, dtype, **options)
        if array.dtype.kind == "f":
            array.fill(np.nan)
        elif array.dtype.kind == "i":
            array.fill(np.iinfo(array.dtype).min)
        return array

    with mock.patch.object(np, "empty", poisoned):
        yield


def assert_bit_equal(
    actual: tuple[np.ndarray, ...], expected: tuple[np.ndarray, ...], where: str
) -> None:
    """Same dtypes, shapes and bits."""
    assert len(actual) == len(expected), where
    for index, (a, b) in enumerate(zip(actual, expected, strict=True)):
        assert a.dtype == b.dtype, f"output {index}: {a.dtype} and {b.dtype}; {where}"
        assert a.shape == b.shape, f"output {index}: {a.shape} and {b.shape}; {where}"
        assert a.tobytes() == b.tobytes(), (
            f"output {index} differs in {np.count_nonzero(a != b)} of {a.size} cells; {where}"
        )


def _check_against_reference(
    outputs: tuple[np.ndarray, ...],
    expected: tuple[np.ndarray, ...],
    rtol: float,
    atol: float,
    compare: Compare | None,
) -> None:
    for index, output in enumerate(outputs):
        if output.dtype.kind == "f":
            assert not np.isnan(output).any(), f"output {index} has cells that were never written"
    if compare is not None:
        compare(outputs, expected)
        return
    assert len(outputs) == len(expected)
    for output, wanted in zip(outputs, expected, strict=True):
        np.testing.assert_allclose(output, wanted, rtol=rtol, atol=atol, strict=False)


def _tuple(result: Any) -> tuple[np.ndarray, ...]:
    items = result if isinstance(result, tuple) else (result,)
    return tuple(np.asarray(item) for item in items)


def _layouts(inputs: tuple[Any, ...]) -> Iterator[tuple[str, tuple[Any, ...]]]:
    yield "contiguous", inputs
    for name, change in (("strided", _strided), ("reversed", _reversed), ("read-only", _read_only)):
        yield name, tuple(_apply(change, item) for item in inputs)


def _apply(change: Callable[[np.ndarray], np.ndarray], item: Any) -> Any:
    if isinstance(item, np.ndarray):
        return change(item)
    if isinstance(item, (list, tuple)):
        return type(item)(_apply(change, inner) for inner in item)
    return item


def _strided(array: np.ndarray) -> np.ndarray:
    """The same values with gaps between them, along every axis."""
    padded = np.zeros([2 * n for n in array.shape], array.dtype)
    view = padded[tuple(slice(None, None, 2) for _ in array.shape)]
    view[...] = array
    return view


def _reversed(array: np.ndarray) -> np.ndarray:
    """The same values behind negative strides."""
    flip = tuple(slice(None, None, -1) for _ in array.shape)
    flipped = np.ascontiguousarray(array[flip])
    return flipped[flip]


def _read_only(array: np.ndarray) -> np.ndarray:
    copy = np.array(array)
    copy.flags.writeable = False
    return copy
