from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from ops.harness import assert_bit_equal

from pyad_edge import ops
from pyad_edge.ops import cuda

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(cuda.device_count() == 0, reason="no CUDA device here"),
]

Array = NDArray[np.float32]
CASES: list[tuple[int, list[tuple[int, int, int]], tuple[int, int], float]] = [
    (1, 2 * [(64, 16, 16), (128, 8, 8)], (64, 64), 4.0),
    (2, [(13, 7, 9), (8, 5, 3)], (61, 50), 4.0),
    (3, [(7, 1, 6), (9, 3, 1), (300, 2, 2)], (1, 48), 1.0),
    (2, [(24, 12, 12)], (12, 12), 0.0),
    (1, [(3, 40, 41)], (19, 23), 0.7),
    (0, [(4, 3, 3)], (8, 8), 4.0),
]


def features(N: int, levels: list[tuple[int, int, int]]) -> tuple[list[Array], list[Array]]:
    rng = np.random.default_rng(7)
    encoder = [rng.gamma(2.0, 1.0, (N, *level)).astype(np.float32) for level in levels]
    return encoder, [a + rng.standard_normal(a.shape, np.float32) for a in encoder]


def channels_last(maps: list[Array]) -> list[Array]:
    return [np.ascontiguousarray(a.transpose(0, 2, 3, 1)) for a in maps]


@pytest.mark.parametrize("align_corners", [True, False])
@pytest.mark.parametrize(("N", "levels", "size", "sigma"), CASES)
def test_bit_equal_to_the_cpu(
    N: int,
    levels: list[tuple[int, int, int]],
    size: tuple[int, int],
    sigma: float,
    align_corners: bool,
) -> None:
    encoder, decoder = features(N, levels)
    for weights in (None, [0.25 + k for k in range(len(levels))]):
        options: dict[str, Any] = {
            "size": size,
            "sigma": sigma,
            "align_corners": align_corners,
            "weights": weights,
        }
        expected = ops.cosine_distance_map(encoder, decoder, **options)
        ours = cuda.cosine_distance_map(encoder, decoder, **options)
        assert_bit_equal(ours, expected, "planes")
        last = cuda.cosine_distance_map(
            channels_last(encoder), channels_last(decoder), channels_last=True, **options
        )
        assert_bit_equal(last, expected, "channels last")


def test_device_arrays_are_used_where_they_lie() -> None:
    encoder, decoder = features(3, [(40, 9, 8), (70, 4, 4)])
    size = (60, 52)
    a, b = ([cuda.DeviceArray.from_numpy(f) for f in side] for side in (encoder, decoder))
    poison = np.full((3, *size), np.nan, np.float32)
    out = tuple(cuda.DeviceArray.from_numpy(p) for p in (poison, poison[:, 0, 0], poison[:, 0, 0]))
    workspace = cuda.cosine_distance_map_workspace(5, [(9, 8), (4, 4)], size=size)
    expected = ops.cosine_distance_map(encoder, decoder, size=size)
    for _ in range(2):  # the second call finds a used workspace
        outputs = cuda.cosine_distance_map(a, b, size=size, out=out, workspace=workspace)
        assert outputs == out
        assert_bit_equal(tuple(o.numpy() for o in outputs), expected, "into out")
    made = cuda.cosine_distance_map(a, b, size=size)
    assert_bit_equal(tuple(o.numpy() for o in made), expected, "made")


@pytest.mark.parametrize("bad", [np.nan, np.inf, 2e19])
@pytest.mark.parametrize("last", [False, True])
def test_features_beyond_the_limits_do_not_pass_unseen(bad: float, last: bool) -> None:
    encoder, decoder = features(3, [(20, 9, 8), (9, 4, 5)])
    decoder[1][1, 6, 2, 3] = bad
    if last:
        encoder, decoder = channels_last(encoder), channels_last(decoder)
    with pytest.raises(ValueError, match=r"in pair 1, picture 1, at row 2, column 3"):
        cuda.cosine_distance_map(encoder, decoder, size=(40, 37), channels_last=last)
    a, b = ([cuda.DeviceArray.from_numpy(f) for f in side] for side in (encoder, decoder))
    _, maxima, means = cuda.cosine_distance_map(a, b, size=(40, 37), channels_last=last)
    for statistic in (maxima, means):
        assert np.isfinite(statistic.numpy()).tolist() == [True, False, True]


def test_refuses_with_a_sentence() -> None:
    encoder, decoder = features(1, [(4, 3, 3)])
    small = cuda.cosine_distance_map_workspace(1, [(1, 1)], size=(8, 8))
    cases: list[tuple[tuple[Any, Any], dict[str, Any], type[Exception], str]] = [
        (
            (encoder, decoder),
            {"workspace": small},
            ValueError,
            "100 bytes, 16-byte aligned, got 68. Make",
        ),
        ((encoder, decoder * 2), {}, ValueError, "got 1 and 2"),
        ((encoder * 17, decoder * 17), {}, ValueError, "1 to 16 pairs"),
        ((encoder, [decoder[0][..., :2]]), {}, ValueError, "pair 0 of one shape"),
        ((encoder, decoder), {"size": (0, 8)}, ValueError, r"got \(0, 8\)"),
        ((encoder, decoder), {"sigma": -1.0}, ValueError, "got -1.0"),
        ((encoder, decoder), {"weights": [1, 2]}, ValueError, "expected 1 weights"),
        (([encoder[0].astype(float)], decoder), {}, TypeError, "encoder map of pair 0.*float64"),
    ]
    for arrays, changes, error, words in cases:
        with pytest.raises(error, match=words) as caught:
            cuda.cosine_distance_map(*arrays, **{"size": (8, 8), **changes})
        assert str(caught.value).startswith("[cosine_distance_map]")
    with pytest.raises(ValueError, match="grids as"):
        cuda.cosine_distance_map_workspace(1, [(0, 1)], size=(8, 8))
    with pytest.raises(TypeError, match="N as a whole number"):
        cuda.cosine_distance_map_workspace(1.5, [(1, 1)], size=(8, 8))  # type: ignore[arg-type]
