"""The papers' figures: transcribed completely, and consistent with the means that they print."""

from __future__ import annotations

import statistics

import pytest

from pyad_edge.export.datasets import DATASETS
from pyad_edge.export.papers.protocols import METHODS
from pyad_edge.export.papers.published import (
    PAPERS,
    Column,
    columns,
    latency_claims,
    published,
)

METRICS = {
    "image_auroc", "pixel_auroc", "aupro", "f1_max", "accuracy",
    "structural_auroc", "logical_auroc", "mean_auroc",
}  # fmt: skip
TEXTURES = {"carpet", "grid", "leather", "tile", "wood"}
COUNTS = {"mvtec": 15, "visa": 12, "btad": 3, "loco": 5, "mvtec3d-rgb": 10}
# Papers that print a mean which is not that of the categories that they print.
INCONSISTENT = {
    ("fod", "7", "btad", "fod", "image_auroc"),
    ("grad", "1", "loco", "grad", "image_auroc"),
    ("recontrast", "A2", "mvtec", "recontrast", "pixel_auroc"),
    ("recontrast", "A2", "mvtec", "recontrast", "aupro"),
}
WITH_CATEGORIES = [column for column in columns() if column.categories]


def key(column: Column) -> tuple[str, ...]:
    return (column.paper, column.table, column.dataset, column.method, column.metric)


def name(column: Column) -> str:
    return "-".join((*key(column), column.variant))


def tolerance(column: Column) -> float:
    """Categories and mean are each rounded to half of their last digit."""
    return 0.5 * (10.0**-column.decimals + 10.0**-column.mean_decimals) + 1e-9


@pytest.mark.parametrize("column", WITH_CATEGORIES, ids=name)
def test_a_printed_mean_is_that_of_the_printed_categories(column: Column) -> None:
    assert len(column.categories) == COUNTS[column.dataset]
    mean = statistics.fmean(column.categories.values())
    consistent = abs(mean - column.mean) <= tolerance(column)
    assert consistent == (key(column) not in INCONSISTENT)
    if column.mean_of_categories is not None:
        assert not consistent
        assert mean == pytest.approx(column.mean_of_categories, abs=0.01)
        assert column.note is not None
    for group, printed in column.groups.items():
        own = [v for k, v in column.categories.items() if (k in TEXTURES) == (group == "textures")]
        assert statistics.fmean(own) == pytest.approx(printed, abs=tolerance(column)), group


def test_every_inconsistency_is_marked_in_the_files() -> None:
    assert {key(c) for c in columns() if c.mean_of_categories is not None} == INCONSISTENT


@pytest.mark.parametrize("column", columns(), ids=name)
def test_a_column_says_what_it_is(column: Column) -> None:
    assert column.paper in PAPERS
    assert column.method in METHODS
    assert column.dataset in DATASETS
    assert column.metric in METRICS
    assert column.table
    assert column.variant
    assert column.setting
    assert all(50 < value <= 100 for value in (column.mean, *column.categories.values()))


def test_no_column_is_there_twice() -> None:
    found = [name(column) for column in columns()]
    assert len(found) == len(set(found))


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        # Read off the papers' pages once more, apart from how the files were made.
        (published("mvtec", "patchcore", "image_auroc", coreset=0.25), ("S1", 99.1, 96.6)),
        (published("mvtec", "patchcore", "aupro", coreset=0.01), ("S3", 93.1, 92.9)),
        (published("mvtec", "reconpatch", "image_auroc", coreset=0.01), ("5", 99.56, 97.49)),
        (published("mvtec", "recontrast", "image_auroc"), ("1", 99.5, 98.6)),
        (published("mvtec", "fod", "pixel_auroc"), ("6", 98.3, 98.6)),
    ],
)
def test_the_column_beside_ours(found: Column | None, expected: tuple[str, float, float]) -> None:
    assert found is not None
    table, mean, pill = expected
    assert (found.table, found.mean) == (table, pytest.approx(mean))
    assert found.categories["pill"] == pytest.approx(pill)


def test_own_paper_share_and_network_choose_the_column() -> None:
    large = published("mvtec", "patchcore", "aupro", backbone="wide_resnet101_2", coreset=0.01)
    assert large is not None
    assert (large.table, large.mean) == ("S4", 94.4)
    small = published("mvtec", "recontrast", "image_auroc", backbone="resnet18")
    assert small is not None
    assert (small.table, small.mean) == ("A5", 98.7)
    quoted = published("loco", "patchcore", "image_auroc")
    assert quoted is not None
    assert (quoted.paper, quoted.table, quoted.mean) == ("grad", "1", 79.3)
    few = published("mvtec", "patchcore", "image_auroc", coreset=0.1, shots=5)
    assert few is not None
    assert (few.table, few.figure(None)) == ("S5", "90.8 ± 0.8")
    assert published("mvtec", "patchcore", "image_auroc", shots=3) is None
    assert published("mtd", "grad", "image_auroc") is None


def test_figures_have_the_digits_of_the_paper() -> None:
    fod = published("mvtec", "fod", "image_auroc")
    assert fod is not None
    assert (fod.figure("carpet"), fod.figure("pill"), fod.figure(None)) == ("100.0", "98.4", "99.2")
    assert fod.figure("toaster") == "-"


def test_latencies_name_their_device() -> None:
    for claim in latency_claims():
        value, unit = claim.printed.split()
        factor = {"s": 1e3 * float(value), "ms": float(value), "fps": 1e3 / float(value)}
        assert claim.ms == pytest.approx(factor[unit], rel=1e-4)
        assert claim.device
        assert claim.conditions
    assert {claim.method for claim in latency_claims()} == {
        "patchcore", "reconpatch", "fod", "grad",
    }  # fmt: skip
