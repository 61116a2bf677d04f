"""How the CUDA faces take other libraries' arrays, workspaces and tables."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from ops.harness import assert_bit_equal

from pyad_edge import ops
from pyad_edge.errors import BackendError
from pyad_edge.ops import cuda
from pyad_edge.ops._banded import resize_antialiased
from pyad_edge.ops.cuda.arrays import as_device
from pyad_edge.ops.cuda.memory import tables_of

on_a_device = pytest.mark.skipif(cuda.device_count() == 0, reason="no CUDA device here")


class NeedsGradient:
    """What torch does where a tensor requires a gradient."""

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        raise RuntimeError("Can't get __cuda_array_interface__ on Variable that requires grad.")


def test_a_library_that_does_not_share_its_array_is_answered_with_a_sentence() -> None:
    with pytest.raises(TypeError, match=r"^\[op\] x cannot be read in place: .*\.detach\(\)"):
        as_device("op", "x", NeedsGradient(), np.float32, 1, "(n,)")


class Part:
    """Bytes of a device array from ``first`` on, as torch gives a slice of a tensor."""

    def __init__(self, base: cuda.DeviceArray, first: int) -> None:
        self.base = base
        self.__cuda_array_interface__ = {
            **base.__cuda_array_interface__,
            "shape": (base.shape[0] - first,),
            "data": (base.pointer + first, False),
        }


class Unshared(Part):
    """The same, version 2 beside DLPack."""

    def __init__(self, base: cuda.DeviceArray, version: int) -> None:
        super().__init__(base, 0)
        self.__cuda_array_interface__["version"] = version

    def __dlpack_device__(self) -> tuple[int, int]:
        return 2, 0

    def __dlpack__(self, *, stream: int) -> Any:
        raise BufferError(f"asked for stream {stream}.")


@pytest.mark.cuda
@on_a_device
def test_dlpack_is_preferred_to_an_interface_that_tells_no_stream() -> None:
    base = cuda.DeviceArray((64,), np.uint8)
    for stream, asked in ((0, 1), (77, 77)):  # DLPack calls the default stream 1
        with pytest.raises(TypeError, match=f"place: asked for stream {asked}"):
            as_device("op", "x", Unshared(base, 2), np.uint8, 1, "(n,)", stream=stream)
    view = as_device("op", "x", Unshared(base, 3), np.uint8, 1, "(n,)")
    assert view.pointer == base.pointer


def searching(workspace: Any) -> Any:
    rows = np.ones((40, 8), np.float32)
    queries = cuda.DeviceArray.from_numpy(rows)
    return cuda.MemoryBank(rows).search(queries, form="half_fused", workspace=workspace)


def mapping(workspace: Any) -> Any:
    return cuda.anomaly_map(np.ones((1, 4, 4), np.float32), size=(8, 8), workspace=workspace)


def comparing(workspace: Any) -> Any:
    pair = [np.ones((1, 3, 4, 4), np.float32)]
    return cuda.cosine_distance_map(pair, pair, size=(8, 8), workspace=workspace)


def weighing(workspace: Any) -> Any:
    rows = np.ones((5, 3), np.float32)
    return cuda.density_weights(rows, rows, beta=1.0, workspace=workspace)


@pytest.mark.cuda
@on_a_device
@pytest.mark.parametrize("call", [searching, mapping, comparing, weighing])
def test_a_workspace_has_to_be_aligned(call: Callable[[Any], Any]) -> None:
    base = cuda.DeviceArray((1 << 20,), np.uint8)
    for first in (1, 4, 8):
        with pytest.raises(ValueError, match=rf"16-byte aligned, got \d+ {first} beyond a mult"):
            call(Part(base, first))
    assert len(call(Part(base, 16))) > 0


@pytest.mark.cuda
@on_a_device
def test_tables_stay_where_a_captured_graph_reads_them() -> None:
    first = tables_of(resize_antialiased(50, 20, 0, 20))
    others = {tables_of(resize_antialiased(50 + n, 20, 0, 20)) for n in range(1, 300)}
    assert len(others) == 299
    assert first not in others
    assert tables_of(resize_antialiased(50, 20, 0, 20)) == first  # an equal object, made anew


@pytest.mark.slow  # kept from compute-sanitizer, which counts a refused allocation as an error
@pytest.mark.cuda
@on_a_device
def test_a_failure_is_not_blamed_on_the_next_call() -> None:
    with pytest.raises(BackendError, match="bytes of device memory"):
        cuda.DeviceArray((1 << 60,), np.uint8)
    rows = np.random.default_rng(0).random((30, 9), np.float32)
    found = cuda.nearest_neighbors(rows, rows, k=2)
    assert_bit_equal(found, ops.nearest_neighbors(rows, rows, k=2), "after a failure")


@pytest.mark.cuda
@on_a_device
def test_a_bank_is_used_on_its_device(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = np.ones((40, 8), np.float32)
    bank = cuda.MemoryBank(rows)
    monkeypatch.setenv("PYAD_EMULATED_DEVICE", "1")
    if bank._module.current_device() == 0:
        pytest.skip("this device is a real one")
    with pytest.raises(ValueError, match=r"bank lies on device 0, but device 1 is the current"):
        bank.workspace(3)
    with pytest.raises(ValueError, match=r"bank lies on device 0, but device 1 is the current"):
        bank._native.search(0, 3, 1, bank._module.SearchForm.exact, 0, 0, 0, 0)
