from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from ops.harness import check

from pyad_edge import ops
from pyad_edge.ops import AggregationPlan, output_dim
from pyad_edge.reference.patch_aggregation import patch_aggregation as plain

# (C, h, w) per level; pre_dim; target_dim
OFFICIAL: list[tuple[list[tuple[int, int, int]], int, int]] = [
    ([(8, 10, 10), (16, 5, 5)], 24, 24),
    ([(8, 10, 10), (16, 5, 5)], 16, 16),
    ([(6, 29, 17), (10, 15, 9)], 20, 33),
    ([(5, 6, 7), (7, 3, 4), (9, 2, 2)], 13, 17),  # dims that straddle levels
    ([(3, 4, 4), (5, 2, 2), (2, 1, 1)], 4, 2),
    ([(4, 5, 3)], 50, 40),  # more dims than values
    ([(4, 5, 3), (4, 5, 3)], 9, 18),  # the same grid
    ([(3, 3, 4), (2, 7, 6)], 10, 12),  # a deeper level on a finer grid
    ([(40, 3, 3), (60, 2, 2)], 7, 3),  # dims made of many channels
    ([(2, 1, 1), (3, 1, 1)], 5, 1),
    ([(16, 90, 62), (24, 45, 31)], 21, 37),
]


def maps(
    levels: list[tuple[int, int, int]], N: int = 2, seed: int = 0
) -> list[NDArray[np.float32]]:
    rng = np.random.default_rng(seed)
    return [rng.standard_normal((N, *level), np.float32) for level in levels]


@pytest.mark.parametrize(("levels", "pre_dim", "target_dim"), OFFICIAL)
def test_official_agrees_with_the_reference_in_every_form(
    levels: list[tuple[int, int, int]], pre_dim: int, target_dim: int
) -> None:
    check(
        ops.patch_aggregation,
        plain,
        maps(levels),
        atol=2e-6,
        pre_dim=pre_dim,
        target_dim=target_dim,
    )


@pytest.mark.parametrize("levels", [case[0] for case in OFFICIAL])
def test_average_agrees_with_the_reference_in_every_form(
    levels: list[tuple[int, int, int]],
) -> None:
    (out,) = check(ops.patch_aggregation, plain, maps(levels), variant="average", atol=2e-6)
    assert out.shape[3] == sum(level[0] for level in levels)


@pytest.mark.parametrize(
    "levels",
    [
        [(64, 10, 10), (64, 5, 5)],
        [(33, 29, 17), (33, 15, 9), (33, 4, 3)],
        [(7, 3, 4), (7, 7, 6)],  # a deeper level on a finer grid
        [(40, 6, 6), (40, 6, 6)],
        [(5, 1, 1)],
    ],
)
def test_sum_agrees_with_the_reference_in_every_form(levels: list[tuple[int, int, int]]) -> None:
    (out,) = check(ops.patch_aggregation, plain, maps(levels), variant="sum", atol=2e-6)
    assert out.shape[3] == levels[0][0]


def test_sum_of_one_level_is_a_transposition() -> None:
    (level,) = maps([(19, 5, 7)])
    out = ops.patch_aggregation([level], variant="sum")
    assert out.tobytes() == np.ascontiguousarray(level.transpose(0, 2, 3, 1)).tobytes()


def test_sum_refuses_levels_of_different_channels() -> None:
    with pytest.raises(ValueError, match=r"equally many channels, got channels=\[8, 16\]"):
        ops.patch_aggregation(maps([(8, 4, 4), (16, 2, 2)]), variant="sum")


@pytest.mark.parametrize(
    ("levels", "pre_dim", "target_dim"),
    [
        ([(128, 28, 28), (256, 14, 14)], 384, 384),
        ([(64, 15, 13), (96, 8, 7), (40, 4, 4)], 100, 64),
    ],
)
def test_official_agrees_with_torch(
    levels: list[tuple[int, int, int]], pre_dim: int, target_dim: int
) -> None:
    torch = pytest.importorskip("torch")
    functional = torch.nn.functional
    features = maps(levels, N=1)
    h, w = levels[0][1:]
    pooled = []
    for feature in features:
        tensor = torch.from_numpy(feature).double()
        N, C, h_l, w_l = tensor.shape
        unfolded = functional.unfold(tensor, 3, padding=1).reshape(N, C * 9, h_l, w_l)
        resized = functional.interpolate(
            unfolded, size=(h, w), mode="bilinear", align_corners=False
        ).permute(0, 2, 3, 1)
        pooled.append(functional.adaptive_avg_pool1d(resized.reshape(-1, 1, C * 9), pre_dim))
    stacked = torch.cat(pooled, dim=1).reshape(h * w, 1, -1)
    expected = functional.adaptive_avg_pool1d(stacked, target_dim).reshape(1, h, w, target_dim)
    ours = ops.patch_aggregation(features, pre_dim=pre_dim, target_dim=target_dim)
    np.testing.assert_allclose(ours, expected.numpy(), atol=2e-6)


def test_wide_resnet_has_the_known_closed_form() -> None:
    features = maps([(512, 5, 6), (1024, 3, 3)], N=1)
    ours = ops.patch_aggregation(features, pre_dim=1024, target_dim=1024)[0]
    centre = np.full((3, 3), 0.1)
    centre[1, 1] = 0.2
    window = np.pad(features[0][0].astype(np.float64), ((0, 0), (1, 1), (1, 1)))
    first = np.einsum("cij,ij->c", window[:, 2:5, 3:6], centre)  # the patch at row 2, column 3
    np.testing.assert_allclose(ours[2, 3, :512], first, atol=1e-6)
    pairs = features[1][0].astype(np.float64).reshape(512, 2, 3, 3).mean(axis=1)
    # Row 2 of 5 is the middle row of 3; column 3 of 6 lies 3/4 of a step right of column 1.
    boxes = [
        np.pad(pairs, ((0, 0), (1, 1), (1, 1)))[:, 1:4, x : x + 3].mean((1, 2)) for x in (1, 2)
    ]
    np.testing.assert_allclose(ours[2, 3, 512:], 0.75 * boxes[0] + 0.25 * boxes[1], atol=1e-6)


@pytest.mark.parametrize("variant", ["official", "average", "sum"])
def test_batch_equals_single_pictures_bit_for_bit(variant: Any) -> None:
    levels = [(12, 14, 11), (12 if variant == "sum" else 20, 7, 6)]
    settings: dict[str, Any] = {"variant": variant}
    if variant == "official":
        settings |= {"pre_dim": 30, "target_dim": 41}
    features = maps(levels, N=4)
    together = ops.patch_aggregation(features, **settings)
    for n in range(4):
        alone = ops.patch_aggregation([f[n : n + 1] for f in features], **settings)
        assert alone.tobytes() == together[n].tobytes()


def test_plan_writes_into_out_and_equals_the_function() -> None:
    features = maps([(8, 9, 9), (16, 5, 5)])
    plan = AggregationPlan([8, 16], pre_dim=24, target_dim=20)
    assert plan.dim == output_dim([8, 16], pre_dim=24, target_dim=20) == 20
    out = np.full((2, 9, 9, 20), np.nan, np.float32)
    assert plan(features, out=out) is out
    expected = ops.patch_aggregation(features, pre_dim=24, target_dim=20)
    assert out.tobytes() == expected.tobytes()
    with pytest.raises(ValueError, match="writable C-contiguous"):
        plan(features, out=out[:, ::-1])


def test_output_dim_of_average_is_all_channels() -> None:
    assert output_dim([128, 256], variant="average") == 384


def test_nan_spreads_only_to_patches_that_see_it() -> None:
    features = maps([(4, 8, 8), (4, 4, 4)], N=1)
    features[0][0, 1, 2, 3] = np.nan
    out = ops.patch_aggregation(features, pre_dim=12, target_dim=12)
    seen = np.isnan(out[0]).any(axis=2)
    expected = np.zeros((8, 8), bool)
    expected[1:4, 2:5] = True
    np.testing.assert_array_equal(seen, expected)


def test_no_pictures_give_no_rows() -> None:
    out = ops.patch_aggregation(maps([(4, 8, 8), (4, 4, 4)], N=0), variant="average")
    assert out.shape == (0, 8, 8, 8)


LEVELS = maps([(4, 8, 8), (6, 4, 4)])


@pytest.mark.parametrize(
    ("features", "settings", "error", "words"),
    [
        ([], {"variant": "average"}, ValueError, "at least one level"),
        ([LEVELS[0].astype(np.float64)], {"variant": "average"}, TypeError, "got float64"),
        ([LEVELS[0][0]], {"variant": "average"}, ValueError, r"\(4, 8, 8\)"),
        ([LEVELS[0], LEVELS[1][:1]], {"variant": "average"}, ValueError, "hold 2 pictures"),
        (LEVELS, {}, ValueError, "pre_dim and target_dim"),
        (LEVELS, {"pre_dim": 0, "target_dim": 4}, ValueError, "got 0 and 4"),
        (LEVELS, {"variant": "average", "pre_dim": 4}, ValueError, "takes neither"),
        (LEVELS, {"variant": "mean"}, ValueError, "got 'mean'"),
    ],
)
def test_refuses_with_a_sentence(
    features: Any, settings: dict[str, Any], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words) as caught:
        ops.patch_aggregation(features, **settings)
    assert str(caught.value).startswith("[patch_aggregation]")


def test_plan_refuses_another_backbone() -> None:
    plan = AggregationPlan([4, 8], pre_dim=12, target_dim=12)
    with pytest.raises(ValueError, match=r"level 1 of shape \(N, 8, h, w\), got \(2, 6, 4, 4\)"):
        plan(LEVELS)
    with pytest.raises(ValueError, match="expected 2 levels of features, got 1"):
        plan(LEVELS[:1])
