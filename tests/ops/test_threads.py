from __future__ import annotations

import pytest

from pyad_edge import ops


@pytest.mark.parametrize("wrong", [2.5, 2.0, "2", True, None])
def test_threads_are_whole_numbers(wrong: object) -> None:
    before = ops.num_threads()
    with pytest.raises(TypeError, match=rf"^\[set_num_threads\] .*got {wrong!r}"):
        ops.set_num_threads(wrong)  # type: ignore[arg-type]
    assert ops.num_threads() == before


@pytest.mark.parametrize("wrong", [0, -1, 1025, 10**30])
def test_threads_have_limits(wrong: int) -> None:
    before = ops.num_threads()
    with pytest.raises(ValueError, match=rf"^\[set_num_threads\] .*<= 1024, got {wrong}"):
        ops.set_num_threads(wrong)
    assert ops.num_threads() == before
