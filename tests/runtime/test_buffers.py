"""Result arrays: never handed out while somebody looks at them, and never more than needed."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from pyad_edge.buffers import ArrayPool

LAYOUT = (((2, 3), np.float32), ((5,), np.int64), ((7, 1), np.bool_))


def address(array: NDArray[Any]) -> int:
    return int(array.ctypes.data)


def test_arrays_are_as_asked_for_and_apart() -> None:
    arrays = ArrayPool().take(*LAYOUT)
    assert [(a.shape, a.dtype) for a in arrays] == [
        ((2, 3), np.float32),
        ((5,), np.int64),
        ((7, 1), np.bool_),
    ]
    for n, array in enumerate(arrays):
        assert array.flags.c_contiguous
        assert array.flags.writeable
        assert address(array) % 64 == 0
        array[...] = n
    assert [a.ravel().tolist() for a in arrays] == [[0.0] * 6, [1] * 5, [True] * 7]
    (empty,) = ArrayPool().take(((0,), np.float32))
    assert empty.size == 0


def test_memory_comes_back_when_the_last_array_is_gone() -> None:
    pool = ArrayPool()
    first = pool.take(*LAYOUT)
    places = [address(a) for a in first]
    other = pool.take(*LAYOUT)
    assert {address(a) for a in other}.isdisjoint(places)
    one = first[1]
    del first
    assert address(pool.take(*LAYOUT)[0]) != places[0], "one array of the group was still held"
    del one
    assert [address(a) for a in pool.take(*LAYOUT)] == places


@pytest.mark.parametrize(
    "look",
    [
        lambda a: a[0, 1:],
        lambda a: a.reshape(-1)[::2],
        lambda a: a.base,
        lambda a: memoryview(a),
        lambda a: np.asarray(a[0]),
        lambda a: a.view(np.uint8),
        lambda a: np.from_dlpack(a),
        lambda a: a.flat,
        lambda a: a.view(np.recarray),
        lambda a: np.lib.stride_tricks.sliding_window_view(a, (1, 2)),
    ],
)
def test_every_way_of_looking_keeps_the_memory(look: Callable[[Any], Any]) -> None:
    pool = ArrayPool()
    (array,) = pool.take(((2, 3), np.float32))
    place = address(array)
    seen = look(array)
    del array
    (next_one,) = pool.take(((2, 3), np.float32))
    held = address(next_one) != place
    del seen
    assert held


def test_at_most_the_spare_blocks_wait() -> None:
    pool = ArrayPool(spare=2)
    held = [pool.take(((1000,), np.uint8)) for _ in range(10)]
    places = {address(a[0]) for a in held}
    assert len(places) == 10
    held.clear()
    again = [pool.take(((1000,), np.uint8)) for _ in range(2)]
    assert {address(a[0]) for a in again} <= places
    shelf = pool._shelves[(((1000,), np.uint8),)]
    again.clear()
    assert len(shelf._free) == 2


def test_only_so_many_layouts_are_remembered() -> None:
    pool = ArrayPool()
    kept = [pool.take(((n,), np.uint8))[0] for n in range(1, 100)]
    assert len(pool._shelves) == 16
    for n, array in enumerate(kept):
        array[...] = n
    assert all((array == n).all() for n, array in enumerate(kept))


def test_threads_never_share_a_block() -> None:
    pool = ArrayPool(spare=4)
    failures: list[str] = []

    def work(number: int) -> None:
        for turn in range(400):
            a, b = pool.take(((64,), np.int64), ((8,), np.int32))
            value = number * 1000 + turn
            a[...], b[...] = value, value
            keep = a[3:9]
            del a
            if not ((keep == value).all() and (b == value).all()):
                failures.append(f"thread {number} turn {turn}")

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
