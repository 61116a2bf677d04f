"""The CUDA form of what follows a search, through its face; and the memory that frames pass."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pyad_edge.device.memory import DevicePart, ResultBlock, pinned
from pyad_edge.ops import cuda, nearest_neighbors
from pyad_edge.ops.cuda.device import require_device

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(cuda.device_count() == 0, reason="no CUDA device here"),
]

N, P, M, D, K = 2, 63, 30, 24, 5


def there(array: np.ndarray) -> cuda.DeviceArray:
    return cuda.DeviceArray.from_numpy(array)


def arrays(k: int = K) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    bank, patches = (rng.standard_normal((n, D), np.float32) for n in (M, N * P))
    squared, rows = nearest_neighbors(patches, bank)
    return {
        "squared": there(squared.reshape(N, P)),
        "rows": there(rows.reshape(N, P)),
        "patches": there(patches),
        "bank": there(bank),
        "neighborhoods": there(nearest_neighbors(bank, bank, k=k)[1]),
        "out": (
            cuda.DeviceArray((N, P), np.float32),
            cuda.DeviceArray((N,), np.int64),
            cuda.DeviceArray((N, k), np.float32),
        ),
    }


@pytest.mark.parametrize("masked", [False, True])
def test_what_equation_7_needs_is_that_of_the_cpu(masked: bool) -> None:
    given = arrays()
    squared, rows = given["squared"].numpy(), given["rows"].numpy()
    patches, bank = given["patches"].numpy(), given["bank"].numpy()
    neighborhoods = given["neighborhoods"].numpy()
    valid = np.random.default_rng(1).integers(0, 2, (N, P), np.uint8)
    if masked:
        given["valid"] = there(valid)
        squared, rows = np.where(valid, squared, 0), np.where(valid, rows, -1)
    cuda.picture_scores(**given)
    distances, winners, around = (array.numpy() for array in given["out"])
    assert given["squared"].numpy().tobytes() == squared.astype(np.float32).tobytes()
    assert given["rows"].numpy().tobytes() == rows.tobytes()
    assert distances.tobytes() == np.sqrt(squared, dtype=np.float32).tobytes()
    assert winners.tolist() == squared.argmax(axis=1).tolist()
    for n, winner in enumerate(winners):
        near = bank[neighborhoods[rows[n, winner]]]
        query = patches[n * P + winner][np.newaxis]
        expected = nearest_neighbors(query, near, k=K)[0]
        assert np.sort(around[n]).tobytes() == expected[0].tobytes()


def test_without_neighbours_nothing_more_is_needed() -> None:
    given = arrays()
    part = DevicePart(given["squared"], given["squared"].pointer, (N, 0), np.float32)
    out = (*given["out"][:2], part)
    cuda.picture_scores(given["squared"], given["rows"], out=out)
    assert out[1].numpy().tolist() == given["squared"].numpy().argmax(axis=1).tolist()


@pytest.mark.parametrize(
    ("name", "shape", "dtype", "error", "words"),
    [
        ("rows", (N, P), np.int32, TypeError, "rows as a int64"),
        ("rows", (N, P + 1), np.int64, ValueError, rf"rows of shape \({N}, {P}\)"),
        ("patches", (N, D), np.float32, ValueError, "patches of shape"),
        ("neighborhoods", (M, K + 1), np.int64, ValueError, "neighborhoods of shape"),
        ("valid", (N, 1), np.uint8, ValueError, "valid of shape"),
        ("squared", (N,), np.float32, ValueError, "squared of shape"),
    ],
)
def test_what_does_not_fit_is_refused(
    name: str, shape: tuple[int, ...], dtype: type, error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        cuda.picture_scores(**(arrays() | {name: there(np.zeros(shape, dtype))}))


def test_host_arrays_are_refused() -> None:
    given = arrays()
    with pytest.raises(TypeError, match="bank on the device, got a NumPy array"):
        cuda.picture_scores(**(given | {"bank": given["bank"].numpy()}))


def test_results_come_back_in_one_copy() -> None:
    module = require_device()
    block = ResultBlock({"a": ((3, 5), np.float32), "none": ((2, 0), "f4"), "b": ((7,), np.int64)})
    expected = {"a": np.arange(15, dtype=np.float32).reshape(3, 5), "b": np.arange(7)}
    for name, values in expected.items():
        assert block.device[name].pointer % 256 == 0
        module.copy_to_device(block.device[name].pointer, values, 0)
    block.enqueue_copy(0)
    module.synchronize(0)
    for name, values in expected.items():
        assert block.host[name].tobytes() == values.tobytes()
    rows = block.device["a"][1:3]
    assert (rows.shape, rows.pointer) == ((2, 5), block.device["a"].pointer + 20)
    assert cuda.preprocess(
        DevicePart(block, block.device["b"].pointer, (7, 8), np.uint8),
        resize=(8, 8),
        mean=(0, 0, 0),
        std=(1, 1, 1),
    ).shape == (1, 3, 8, 8)


def test_pinned_memory_lives_as_long_as_its_views() -> None:
    view = pinned(1000)[100:200]
    view[:] = 7
    assert view.tolist() == [7] * 100
    assert view.flags.writeable


def test_a_graph_of_our_own_is_replayed_with_new_values() -> None:
    module = require_device()
    stream = module.make_stream()
    source, target = pinned(64), pinned(64)
    device = cuda.DeviceArray((64,), np.uint8)
    module.begin_capture(stream)
    module.enqueue_copy(device.pointer, source.ctypes.data, 64, stream)
    module.enqueue_copy(target.ctypes.data, device.pointer, 64, stream)
    graph = module.Graph(stream)
    for value in (3, 9):
        source[:], target[:] = value, 0
        graph.launch(stream)
        module.synchronize(stream)
        assert target.tolist() == [value] * 64
    module.begin_capture(stream)
    module.Graph(stream, discard=True).launch(stream)  # empty
    module.synchronize(stream)
    module.release_stream(stream)
