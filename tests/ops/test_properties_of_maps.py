"""Properties of the linear kernels: preprocess, patch_aggregation, anomaly_map."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ops.harness import check
from ops.strategies import BOUNDED, KINDS, seeds, values

from pyad_edge import ops
from pyad_edge.reference.anomaly_map import anomaly_map as plain_map
from pyad_edge.reference.patch_aggregation import patch_aggregation as plain_aggregation
from pyad_edge.reference.preprocess import preprocess as plain_preprocess

sides = st.one_of(st.integers(1, 5), st.sampled_from([7, 8, 9, 15, 16, 17, 33]))
GREY: dict[str, Any] = {"mean": (0.4, 0.5, 0.6), "std": (0.2, 0.3, 0.4)}


def tolerance(*arrays: np.ndarray) -> float:
    """What float32 sums of these values may be off by."""
    largest = max(float(np.abs(array).max(initial=0)) for array in arrays)
    return 1e-5 * largest + 1e-43  # a hundred of the smallest steps


@settings(max_examples=40, deadline=None)
@given(st.data(), sides, sides, sides, sides, st.sampled_from([1, 3]))
def test_pictures_are_those_of_the_reference_in_every_form(
    data: st.DataObject, H: int, W: int, h: int, w: int, C: int
) -> None:
    shape = (data.draw(st.integers(1, 2)), H, W, C)
    image = np.random.default_rng(data.draw(seeds)).integers(0, 256, shape, np.uint8)
    if data.draw(st.booleans()):
        image[...] = image.ravel()[0]  # constant pictures
    color = data.draw(st.sampled_from(["rgb", "bgr"]))
    crop = data.draw(st.one_of(st.none(), st.tuples(st.integers(1, h), st.integers(1, w))))
    settings_: dict[str, Any] = {"resize": (h, w), "crop": crop, "color_order": color, **GREY}
    check(ops.preprocess, plain_preprocess, image, atol=2e-5, **settings_)


@settings(max_examples=30, deadline=None)
@given(sides, sides, sides, sides, st.integers(0, 255))
def test_a_constant_picture_stays_constant(H: int, W: int, h: int, w: int, grey: int) -> None:
    out = ops.preprocess(np.full((H, W), grey, np.uint8), resize=(h, w), **GREY)
    expected = (grey / 255 - np.array(GREY["mean"])) / np.array(GREY["std"])
    np.testing.assert_allclose(
        out, np.broadcast_to(expected[:, None, None], out[0].shape)[None], atol=2e-5
    )


@settings(max_examples=40, deadline=None)
@given(st.data(), sides, sides)
def test_descriptors_are_those_of_the_reference_in_every_form(
    data: st.DataObject, h: int, w: int
) -> None:
    N = data.draw(st.integers(1, 2))
    features = []
    for level in range(data.draw(st.integers(1, 3))):
        grid = (h, w) if level == 0 else (data.draw(sides), data.draw(sides))
        features.append(data.draw(values((N, data.draw(st.integers(1, 40)), *grid))))
    options: dict[str, Any] = {"variant": "average"}
    if data.draw(st.booleans()):
        dim = st.integers(1, 70)
        options = {"pre_dim": data.draw(dim), "target_dim": data.draw(dim)}
    check(ops.patch_aggregation, plain_aggregation, features, atol=tolerance(*features), **options)


@settings(max_examples=30, deadline=None)
@given(st.data(), sides, sides)
def test_nan_spreads_to_the_patches_that_see_it_and_no_further(
    data: st.DataObject, h: int, w: int
) -> None:
    feature = data.draw(values((1, 5, h, w)))
    y, x = data.draw(st.integers(0, h - 1)), data.draw(st.integers(0, w - 1))
    feature[0, data.draw(st.integers(0, 4)), y, x] = np.nan
    out = ops.patch_aggregation([feature], pre_dim=1, target_dim=1)[0, :, :, 0]
    seen = np.zeros((h, w), bool)
    seen[max(0, y - 1) : y + 2, max(0, x - 1) : x + 2] = True
    np.testing.assert_array_equal(np.isnan(out), seen)


@settings(max_examples=40, deadline=None)
@given(st.data(), sides, sides, sides, sides)
def test_maps_are_those_of_the_reference_in_every_form(
    data: st.DataObject, h: int, w: int, H: int, W: int
) -> None:
    scores = data.draw(values((data.draw(st.integers(1, 2)), h, w)))
    sigma = data.draw(st.sampled_from([0.0, 0.3, 1.0, 4.0]))
    maps, maxima = check(
        ops.anomaly_map, plain_map, scores, size=(H, W), sigma=sigma, atol=tolerance(scores)
    )
    np.testing.assert_array_equal(maxima, maps.max(axis=(1, 2)))


@settings(max_examples=30, deadline=None)
@given(st.data(), sides, sides, st.sampled_from(BOUNDED))
def test_maps_scale_with_powers_of_two_bit_for_bit(
    data: st.DataObject, h: int, w: int, kind: str
) -> None:
    # Nothing in the kernel knows a magnitude: only under- and overflow would show.
    scores = KINDS[kind](np.random.default_rng(data.draw(seeds)), (1, h, w)).astype(np.float32)
    scores[np.abs(scores) < 1e-20] = 0
    maps, maxima = ops.anomaly_map(scores, size=(20, 23))
    large, largest = ops.anomaly_map(scores * np.float32(1024), size=(20, 23))
    safe = np.abs(maps) > 1e-30
    np.testing.assert_array_equal((maps * np.float32(1024))[safe], large[safe])
    np.testing.assert_array_equal(largest, large.max(axis=(1, 2)))
    assert maxima.shape == (1,)


@settings(max_examples=30, deadline=None)
@given(st.data(), sides, sides, st.sampled_from([np.nan, np.inf, -np.inf]))
def test_scores_that_are_not_finite_are_refused_wherever_they_are(
    data: st.DataObject, h: int, w: int, bad: float
) -> None:
    scores = data.draw(values((2, h, w)))
    y, x = data.draw(st.integers(0, h - 1)), data.draw(st.integers(0, w - 1))
    scores[1, y, x] = bad
    with pytest.raises(ValueError, match=rf"in map 1 at row {y}, column {x}"):
        ops.anomaly_map(scores, size=(8, 8))
