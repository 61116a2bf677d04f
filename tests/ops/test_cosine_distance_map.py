from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from ops.harness import assert_bit_equal, check, every_form

from pyad_edge import ops
from pyad_edge.reference.cosine_distance_map import cosine_distance_map as plain

Array = NDArray[np.float32]
# Levels as (C, h, w), size of the map, sigma.
CASES: list[tuple[list[tuple[int, int, int]], tuple[int, int], float]] = [
    ([(64, 16, 16), (128, 8, 8), (64, 16, 16), (128, 8, 8)], (64, 64), 4.0),
    ([(13, 7, 9), (8, 5, 3)], (61, 50), 4.0),
    ([(1, 1, 1)], (8, 5), 4.0),
    ([(7, 1, 6), (9, 3, 1), (17, 2, 2)], (1, 48), 1.0),
    ([(24, 12, 12)], (12, 12), 0.0),
    ([(40, 9, 33)], (7, 1), 1.5),
    ([(3, 40, 41)], (19, 23), 0.7),  # more locations than one piece
]


def features(
    levels: list[tuple[int, int, int]], N: int = 2, seed: int = 0
) -> tuple[list[Array], list[Array]]:
    rng = np.random.default_rng(seed)
    encoder = [rng.gamma(2.0, 1.0, (N, *level)).astype(np.float32) for level in levels]
    return encoder, [a + rng.standard_normal(a.shape, np.float32) for a in encoder]


def channels_last(maps: list[Array]) -> list[Array]:
    return [np.ascontiguousarray(a.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2) for a in maps]


@pytest.mark.parametrize("align_corners", [True, False])
@pytest.mark.parametrize(("levels", "size", "sigma"), CASES)
def test_agrees_with_the_reference_in_every_form(
    levels: list[tuple[int, int, int]], size: tuple[int, int], sigma: float, align_corners: bool
) -> None:
    encoder, decoder = features(levels)
    for weights in (None, [0.25 + k for k in range(len(levels))]):
        check(
            ops.cosine_distance_map,
            plain,
            encoder,
            decoder,
            size=size,
            sigma=sigma,
            align_corners=align_corners,
            weights=weights,
            rtol=1e-6,
            atol=3e-6,
        )


@pytest.mark.parametrize("align_corners", [True, False])
def test_agrees_with_torch(align_corners: bool) -> None:
    torch = pytest.importorskip("torch")
    encoder, decoder = features([(33, 16, 12), (65, 8, 6), (130, 4, 3)])
    expected = 0.0
    for a, b in zip(encoder, decoder, strict=True):
        similarity = torch.nn.functional.cosine_similarity(
            torch.from_numpy(a), torch.from_numpy(b), dim=1
        )
        expected = expected + torch.nn.functional.interpolate(
            1 - similarity[:, None], (61, 50), mode="bilinear", align_corners=align_corners
        )
    maps, maxima, means = ops.cosine_distance_map(
        encoder, decoder, size=(61, 50), sigma=0.0, align_corners=align_corners
    )
    np.testing.assert_allclose(maps, expected[:, 0].numpy(), atol=3e-6)
    np.testing.assert_allclose(maxima, expected.amax((1, 2, 3)).numpy(), atol=3e-6)
    np.testing.assert_allclose(means, expected.mean((1, 2, 3)).numpy(), atol=3e-6)


def test_every_layout_gives_the_same_bits() -> None:
    encoder, decoder = features([(37, 6, 7), (16, 3, 2), (8, 1, 1)], N=3)
    stacked = [np.concatenate([a, b]) for a, b in zip(encoder, decoder, strict=True)]
    forms: dict[str, tuple[list[Array], list[Array]]] = {
        "planes": (encoder, decoder),
        "channels last": (channels_last(encoder), channels_last(decoder)),
        "one of each": (encoder, channels_last(decoder)),
        "halves of a batch": ([s[:3] for s in stacked], [s[3:] for s in stacked]),
        "every other picture": (
            [np.repeat(a, 2, axis=0)[::2] for a in encoder],
            [np.repeat(b, 2, axis=0)[::2] for b in decoder],
        ),
        "every other picture, channels last": (
            [a[::2] for a in channels_last([np.repeat(a, 2, axis=0) for a in encoder])],
            [b[::2] for b in channels_last([np.repeat(b, 2, axis=0) for b in decoder])],
        ),
        "pictures backwards": (
            [a[::-1].copy()[::-1] for a in encoder],
            [b[::-1].copy()[::-1] for b in decoder],
        ),
        "parts of the channels": (
            [np.concatenate([a, a], axis=1)[:, a.shape[1] :] for a in encoder],
            [np.concatenate([b, b], axis=1)[:, : b.shape[1]] for b in decoder],
        ),
    }
    first = None
    for form in every_form():
        for name, (a, b) in forms.items():
            outputs = ops.cosine_distance_map(a, b, size=(40, 33))
            first = first or outputs
            assert_bit_equal(outputs, first, f"{form}, {name}")


def test_batch_equals_single_pictures_bit_for_bit() -> None:
    encoder, decoder = features([(20, 9, 11), (40, 5, 6)], N=4)
    batch = ops.cosine_distance_map(encoder, decoder, size=(48, 40))
    for n in range(4):
        alone = ops.cosine_distance_map(
            [a[n : n + 1] for a in encoder], [b[n : n + 1] for b in decoder], size=(48, 40)
        )
        assert_bit_equal(alone, tuple(output[n : n + 1] for output in batch), f"picture {n}")


def test_zero_vectors_have_distance_one_and_equal_ones_none() -> None:
    encoder, decoder = features([(24, 4, 4)], N=1)
    encoder[0][0, :, 1, 2] = 0.0
    decoder[0][0, :, 3, :] = encoder[0][0, :, 3, :]
    decoder[0][0, :, 1, 2] = 0.0
    encoder[0][0, :, 0, 0] = 0.0
    maps, _, _ = ops.cosine_distance_map(encoder, decoder, size=(4, 4), sigma=0.0)
    assert maps[0, 1, 2] == 1.0
    assert maps[0, 0, 0] == 1.0
    np.testing.assert_allclose(maps[0, 3], 0.0, atol=1e-6)


def test_norms_below_eps_count_as_eps() -> None:
    encoder, decoder = features([(5, 3, 3)], N=1)
    encoder[0] *= np.float32(1e-10)
    decoder[0][0, :, 1, 1] = np.float32(1e-42)  # subnormal
    check(ops.cosine_distance_map, plain, encoder, decoder, size=(3, 3), sigma=0.0, atol=1e-6)


def test_weights_of_pairs() -> None:
    encoder, decoder = features([(12, 5, 5), (12, 5, 5), (30, 3, 3)])
    weighted = ops.cosine_distance_map(encoder, decoder, size=(20, 20), weights=[0, 1, 2])
    single = ops.cosine_distance_map(encoder[1:], decoder[1:], size=(20, 20), weights=[1, 2])
    np.testing.assert_allclose(weighted[0], single[0], rtol=1e-6)
    ones = ops.cosine_distance_map(encoder, decoder, size=(20, 20), weights=[1, 1, 1])
    assert_bit_equal(ones, ops.cosine_distance_map(encoder, decoder, size=(20, 20)), "ones")


def test_callers_that_flush_subnormal_numbers_get_the_same_bits() -> None:
    torch = pytest.importorskip("torch")
    encoder, decoder = features([(12, 5, 5), (30, 3, 3)])
    encoder[0] *= np.float32(1e-20)  # products of subnormal size, norms below eps
    decoder[0] *= np.float32(1e-21)
    encoder[1] *= np.float32(1e-38)
    options: dict[str, Any] = {"size": (20, 20), "weights": [1e-6, 1.0]}
    expected = ops.cosine_distance_map(encoder, decoder, **options)
    if not torch.set_flush_denormal(True):
        pytest.skip("this processor does not flush them")
    try:
        flushed = ops.cosine_distance_map(encoder, decoder, **options)
    finally:
        torch.set_flush_denormal(False)
    assert_bit_equal(flushed, expected, "flushing")


def test_maxima_are_those_of_the_maps_exactly() -> None:
    for seed in range(5):
        encoder, decoder = features([(6, 5, 7)], N=3, seed=seed)
        maps, maxima, means = ops.cosine_distance_map(encoder, decoder, size=(33, 37))
        np.testing.assert_array_equal(maxima, maps.max(axis=(1, 2)))
        np.testing.assert_allclose(means, maps.mean(axis=(1, 2), dtype=np.float64), rtol=1e-6)


@settings(max_examples=60, deadline=None)
@given(
    levels=st.lists(
        st.tuples(st.integers(1, 40), st.integers(1, 12), st.integers(1, 12)),
        min_size=1,
        max_size=4,
    ),
    size=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    sigma=st.sampled_from([0.0, 0.3, 2.0, 4.0]),
    align_corners=st.booleans(),
    scale=st.sampled_from([1e-20, 1e-5, 1.0, 1e8, 1e17]),
    seed=st.integers(0, 2**32 - 1),
)
def test_any_sizes_and_scales(
    levels: list[tuple[int, int, int]],
    size: tuple[int, int],
    sigma: float,
    align_corners: bool,
    scale: float,
    seed: int,
) -> None:
    rng = np.random.default_rng(seed)
    encoder, decoder = features(levels, N=1, seed=seed)
    for a, b in zip(encoder, decoder, strict=True):
        a *= np.float32(scale)
        b[..., rng.random(b.shape[2:]) < 0.2] = 0.0
        a[..., rng.random(a.shape[2:]) < 0.1] = 0.0
    options: dict[str, Any] = {"size": size, "sigma": sigma, "align_corners": align_corners}
    outputs = ops.cosine_distance_map(encoder, decoder, **options)
    for output, wanted in zip(outputs, plain(encoder, decoder, **options), strict=True):
        np.testing.assert_allclose(output, wanted, atol=1e-5)
    last = ops.cosine_distance_map(channels_last(encoder), channels_last(decoder), **options)
    assert_bit_equal(last, outputs, "channels last")


def test_no_pictures_give_no_rows() -> None:
    encoder, decoder = features([(4, 3, 3)], N=0)
    maps, maxima, means = ops.cosine_distance_map(encoder, decoder, size=(8, 8))
    assert maps.shape == (0, 8, 8)
    assert maxima.shape == means.shape == (0,)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("side", ["encoder", "decoder"])
def test_names_the_pair_of_a_value_that_is_not_finite(bad: float, side: str) -> None:
    maps = dict(zip(("encoder", "decoder"), features([(9, 4, 5), (3, 6, 7)]), strict=True))
    maps[side][1][1, 2, 4, 6] = bad
    words = (
        rf"\[cosine_distance_map\] expected finite features, got {bad} in pair 1, picture 1, at "
        rf"row 4, column 6, channel 2 of the {side} map"
    )
    for _ in every_form():
        for layout in (list, channels_last):
            with pytest.raises(ValueError, match=words):
                ops.cosine_distance_map(
                    layout(maps["encoder"]), layout(maps["decoder"]), size=(8, 8)
                )


def test_refuses_norms_beyond_float32() -> None:
    encoder, decoder = features([(4, 3, 3)])
    encoder[0][0, :, 2, 1] = 1e19
    with pytest.raises(ValueError, match=r"squared norm.*pair 0, picture 0, at row 2, column 1"):
        ops.cosine_distance_map(encoder, decoder, size=(8, 8))


ONE = np.ones((1, 4, 3, 3), np.float32)


@pytest.mark.parametrize(
    ("encoder", "decoder", "changes", "error", "words"),
    [
        ([], [], {}, ValueError, "at least one pair"),
        ([ONE], [ONE, ONE], {}, ValueError, "got 1 and 2"),
        ([ONE.astype(np.float64)], [ONE], {}, TypeError, "encoder map of pair 0.*got float64"),
        ([ONE], [[1.0]], {}, TypeError, "decoder map of pair 0.*got list"),
        ([ONE[0]], [ONE[0]], {}, ValueError, r"\(4, 3, 3\)\. Add the batch axis"),
        ([ONE[:, :0]], [ONE[:, :0]], {}, ValueError, r"\(1, 0, 3, 3\)"),
        ([ONE, ONE], [ONE, ONE[..., :2]], {}, ValueError, "pair 1 of one shape.*same order"),
        ([ONE, ONE[:0]], [ONE, ONE[:0]], {}, ValueError, "pair 1 to hold 1 pictures.*got 0"),
        ([ONE], [ONE], {"size": (0, 8)}, ValueError, r"got \(0, 8\)"),
        ([ONE], [ONE], {"size": 8}, ValueError, r"\(H, W\)"),
        ([ONE], [ONE], {"sigma": -1.0}, ValueError, "got -1.0"),
        ([ONE], [ONE], {"sigma": float("nan")}, ValueError, "got nan"),
        ([ONE], [ONE], {"align_corners": 1}, TypeError, "True or False, got 1"),
        ([ONE], [ONE], {"weights": [1, 2]}, ValueError, r"expected 1 weights.*got \[1, 2\]"),
        ([ONE], [ONE], {"weights": [-1.0]}, ValueError, r"got \[-1.0\]"),
        ([ONE], [ONE], {"weights": [1e-40]}, ValueError, "0, or 1e-06 to 1e.06.*got .1e-40"),
        ([ONE], [ONE], {"weights": [float("inf")]}, ValueError, r"got \[inf\]"),
    ],
)
def test_refuses_with_a_sentence(
    encoder: Any, decoder: Any, changes: dict[str, Any], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words) as caught:
        ops.cosine_distance_map(encoder, decoder, **{"size": (8, 8), **changes})
    assert str(caught.value).startswith("[cosine_distance_map]")
