"""Published figures stand beside ours only where they are of the same thing."""

from __future__ import annotations

from typing import Any

import pytest

from pyad_edge.export.datasets import DATASETS
from pyad_edge.export.papers.published import published
from pyad_edge.export.papers.summary import summarise
from pyad_edge.export.papers.table import grids_of, markdown


def row(category: str, seed: int, value: float | None, **more: Any) -> dict[str, Any]:
    contender = {"method": more.pop("method", "patchcore"), "coreset": more.pop("coreset", 0.1)}
    figures = {"image_auroc": value, "pixel_auroc": value, "aupro": None, "f1_max": value}
    return {
        "category": category,
        "seed": seed,
        "shots": None,
        "label": "ours",
        "network": "resnet18",
        "schedule": "no training",
        "input": "256 px",
        "pictures": 10,
        "identity": {"contender": contender},
        **figures,
        **more,
    }


def all_of(dataset: str, method: str) -> list[str]:
    column = published(dataset, method, "image_auroc")
    assert column is not None
    return list(column.categories)


def test_means_are_over_categories_first_then_over_seeds() -> None:
    rows = [
        row("bottle", 0, 0.9),
        row("cable", 0, 0.7),
        row("bottle", 1, 1.0),
        row("cable", 1, 0.8),
    ]
    (line,) = summarise(rows, "mvtec")
    mean = line.figures["image_auroc"][None]
    assert mean.mean == pytest.approx(85.0)
    assert mean.spread == pytest.approx(50**0.5)  # of 80 and 90
    assert line.figures["image_auroc"]["cable"].text() == "75.00 ± 7.07"
    assert "aupro" not in line.figures


def test_a_seed_that_lacks_a_category_does_not_enter_the_mean() -> None:
    (line,) = summarise(
        [row("bottle", 0, 0.9), row("cable", 0, 0.7), row("bottle", 1, 1.0)], "mvtec"
    )
    assert line.figures["image_auroc"][None].text() == "80.00"


def test_some_categories_have_the_published_mean_of_these() -> None:
    (line,) = summarise([row("bottle", 0, 0.9), row("pill", 0, 0.7)], "mvtec")
    assert line.paper("image_auroc", "pill") == "96.0"  # PatchCore, Table S1
    assert line.paper("image_auroc", None) == "98.0"  # of 100 and 96.0
    assert "mean of these 2" in markdown(grids_of([line], "mvtec"))


def test_all_categories_have_the_printed_mean() -> None:
    (line,) = summarise([row(name, 0, 0.9) for name in all_of("mvtec", "patchcore")], "mvtec")
    assert line.paper("image_auroc", None) == "99.0"
    assert "| mean | 99.0 | 90.00 |" in markdown(grids_of([line], "mvtec"))


def test_a_mean_of_the_whole_set_never_stands_beside_a_part_of_it() -> None:
    own = {"method": "grad", "coreset": None}
    (part,) = summarise([row("bottle", 0, 0.9, **own)], "mvtec")
    assert part.paper("image_auroc", "bottle") == "-"
    assert part.paper("image_auroc", None) == "-"
    page = markdown(grids_of([part], "mvtec"))
    assert "98.7" not in page
    assert "GRAD" not in page  # nor its source
    (whole,) = summarise([row(n, 0, 0.9, **own) for n in all_of("mvtec", "patchcore")], "mvtec")
    assert whole.paper("image_auroc", None) == "98.7"  # GRAD, Table 2


def test_a_set_of_one_category_has_the_printed_mean_and_one_table() -> None:
    (line,) = summarise([row("mtd", 0, 0.8)], "mtd")
    assert line.paper("image_auroc", "mtd") == "97.9"
    (grid,) = grids_of([line], "mtd")
    assert grid.rows[0][:3] == ("ours\n10 pictures, no training", "97.9", "80.00")
    assert any("random 80/20 division" in note for note in grid.notes)


def test_an_inconsistent_mean_is_pointed_out() -> None:
    names = all_of("loco", "grad")
    lines = summarise([row(n, 0, 0.8, method="grad", coreset=None) for n in names], "loco")
    assert "Printed mean 87.5, of the printed categories 88.1" in markdown(grids_of(lines, "loco"))


def test_numbers_of_categories_are_those_of_the_papers() -> None:
    for dataset, method in (("mvtec", "fod"), ("visa", "recontrast"), ("btad", "fod"),
                            ("loco", "grad"), ("mvtec3d-rgb", "fod")):  # fmt: skip
        assert len(all_of(dataset, method)) == DATASETS[dataset].categories
