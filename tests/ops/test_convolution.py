"""convolution beside its reference, in every form, on every level."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from ops.harness import every_form, poisoned_outputs

from pyad_edge import ops
from pyad_edge.reference.convolution import convolution as reference

UNIT = 2.0**-24


def normal(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).standard_normal(shape, np.float32)


# Batch, C, H, W; K, P, Q; settings.
CASES: list[tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]] = [
    ((1, 3, 37, 29), (24, 7, 7), {"stride": (2, 2), "padding": (3, 3, 3, 3)}),
    ((2, 1, 12, 9), (5, 4, 2), {"padding": (1, 0, 2, 1)}),
    ((2, 40, 14, 11), (50, 3, 3), {"padding": (1, 1, 1, 1)}),
    ((1, 64, 19, 17), (32, 3, 3), {"padding": (2, 1, 0, 2), "clip": (0.0, 6.0)}),
    ((2, 24, 9, 10), (48, 3, 3), {"stride": (2, 1), "padding": (0, 1, 1, 0)}),
    ((3, 33, 8, 15), (17, 1, 1), {"stride": (2, 2)}),
]


@pytest.mark.parametrize(("picture", "filters", "settings"), CASES)
@pytest.mark.parametrize("form", ["automatic", "direct", "winograd"])
def test_sums_of_products(
    picture: tuple[int, ...], filters: tuple[int, ...], settings: dict[str, Any], form: str
) -> None:
    x = normal(*picture)
    w, b = normal(filters[0], picture[1], *filters[1:]), normal(filters[0])
    square = filters[1:] == (3, 3) and settings.get("stride", (1, 1)) == (1, 1)
    if form == "winograd" and not square:
        pytest.skip("a form of 3 by 3 windows at stride 1")
    wanted = reference(x, w, b, **settings)
    free = {name: value for name, value in settings.items() if name != "clip"}
    sizes = reference(abs(x), abs(w), abs(b), **free)
    bound = UNIT * (w[0].size + 3) * sizes
    if square and form != "direct":
        bound = np.maximum(bound, 2.0**-18 * sizes.max())
    first: dict[str, bytes] = {}
    for where in every_form():
        with poisoned_outputs():
            found = ops.convolution(x[:, :, :, ::-1][:, :, :, ::-1], w, b, **settings, form=form)  # type: ignore[arg-type]
        assert (abs(found - wanted) <= bound).all(), where
        level = where.split()[0]  # threads change no bit
        assert first.setdefault(level, found.tobytes()) == found.tobytes(), where
        alone = ops.convolution(x[-1:], w, b, **settings, form=form)  # type: ignore[arg-type]
        assert alone.tobytes() == found[-1:].tobytes(), where


def needs_bf16() -> None:
    if not ops.has_bf16():
        pytest.skip("this processor has no AVX512_BF16")


def bf16(x: np.ndarray) -> np.ndarray:
    """To nearest even."""
    bits = np.ascontiguousarray(x, np.float32).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) & np.uint32(0xFFFF0000)).view(np.float32)


@pytest.mark.parametrize(("picture", "filters", "settings"), CASES)
@pytest.mark.parametrize("form", ["direct", "winograd"])
def test_products_in_bf16(
    picture: tuple[int, ...], filters: tuple[int, ...], settings: dict[str, Any], form: str
) -> None:
    needs_bf16()
    if form == "winograd" and (filters[1:] != (3, 3) or "stride" in settings):
        pytest.skip("a form of 3 by 3 windows at stride 1")
    whole = np.random.default_rng(sum(picture)).integers
    x, w = normal(*picture), normal(filters[0], picture[1], *filters[1:])
    b = normal(filters[0])
    # Numbers that 8 bits hold, transformed ones too: nothing is rounded.
    exact = (
        whole(-4, 5, picture).astype(np.float32),
        4 * whole(-3, 4, w.shape).astype(np.float32),
        whole(-9, 9, filters[0]).astype(np.float32),
    )
    planes_in_float32 = picture[1] < 16 and settings.get("stride", (1, 1))[1] % 2 != 0
    rounded = (x, w) if planes_in_float32 else (bf16(x), bf16(w))
    free = {name: value for name, value in settings.items() if name != "clip"}
    sizes = reference(abs(x), abs(w), abs(b), **free)
    first: dict[str, bytes] = {}
    for where in every_form():
        level = where.split()[0]
        if not level.startswith("avx512"):
            with pytest.raises(ValueError, match=f"AVX512_BF16.* got level {level}"):
                ops.convolution(x, w, b, **settings, precision="bf16")
            continue
        with poisoned_outputs():
            found = ops.convolution(*exact, **settings, form=form, precision="bf16")  # type: ignore[arg-type]
        np.testing.assert_array_equal(found, reference(*exact, **settings))
        found = ops.convolution(x, w, b, **settings, form=form, precision="bf16")  # type: ignore[arg-type]
        assert first.setdefault("bf16", found.tobytes()) == found.tobytes(), where
        if form == "direct":  # the products are exact, the sums are float32
            wanted, bound = reference(*rounded, b, **settings), UNIT * (w[0].size + 3) * sizes
        else:
            wanted, bound = reference(x, w, b, **settings), 2.0**-7 * sizes.max()
        assert (abs(found - wanted) <= bound).all(), where
    assert first


def test_large_and_tiny_numbers_keep_their_relative_error() -> None:
    w = normal(16, 16, 3, 3)
    for scale in (1e30, 1e-30):
        x = normal(1, 16, 12, 12) * np.float32(scale)
        wanted = reference(x, w, padding=(1, 1, 1, 1))
        found = ops.convolution(x, w, padding=(1, 1, 1, 1))
        sizes = reference(abs(x), abs(w), padding=(1, 1, 1, 1))
        assert (abs(found - wanted) <= 2.0**-18 * sizes.max()).all()
    assert not ops.convolution(np.zeros((1, 16, 8, 8), np.float32), w).any()


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_shows(bad: float) -> None:
    x = normal(1, 16, 12, 12)
    x[0, 3, 6, 6] = bad
    found = ops.convolution(x, normal(16, 16, 3, 3), padding=(1, 1, 1, 1), form="winograd")
    assert not np.isfinite(found[0, :, 5:8, 5:8]).any()
    assert np.isfinite(found[0, :, :4, :4]).all()


@pytest.mark.parametrize(
    ("arrays", "settings", "error", "sentence"),
    [
        ({"pictures": np.zeros((1, 3, 8, 8))}, {}, TypeError, "pictures of float32, got float64"),
        ({"bias": np.zeros(2, np.float32)}, {}, ValueError, "a bias .K,. that fit"),
        ({"pictures": normal(1, 4, 8, 8)}, {}, ValueError, r"fit pictures \(1, 4, 8, 8\)"),
        ({"pictures": normal(3, 8, 8)}, {}, ValueError, "pictures of 4 axes"),
        ({}, {"stride": (17, 1)}, ValueError, "strides of 1 to 16"),
        ({}, {"padding": (3, 0, 0, 0)}, ValueError, "less than the window, got 3 for 3"),
        ({}, {"clip": (1.0, 0.0)}, ValueError, "bounds in order"),
        ({}, {"precision": "int8"}, ValueError, "precision fp32 or bf16, got 'int8'"),
        ({}, {"form": "fft"}, ValueError, "got 'fft'"),
        ({}, {"form": "winograd", "stride": (2, 2)}, ValueError, "at stride 1"),
        ({"pictures": normal(1, 3, 2, 8)}, {}, ValueError, "holds a window of 3 x 3"),
    ],
)
def test_what_does_not_fit(
    arrays: dict[str, Any], settings: dict[str, Any], error: type[Exception], sentence: str
) -> None:
    given = {"pictures": normal(1, 3, 8, 8), "weights": normal(5, 3, 3, 3), **arrays}
    with pytest.raises(error, match=sentence):
        ops.convolution(**given, **settings)
