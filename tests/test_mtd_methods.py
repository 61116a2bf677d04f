"""The benchmark of all methods: its result file grows row by row, and the pages show it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import mtd_methods as module
import mtd_methods_table as pages
import pytest


def row(name: str, seed: int, auroc: float, **more: Any) -> dict[str, Any]:
    figures = {"image_auroc": auroc, "pixel_auroc": 0.9, "aupro": 0.8}
    about = {
        "train_seconds": 10.0 + seed,
        "backbones": ["resnet18"],
        "settings": {"iterations": 400, "batch": 16},
        "commit": "abc",
        "load": 1.0 + seed,
        "machine": {"processor": "P", "threads": 1, "cores": 2},
    }
    return {"row": name, "seed": seed, **figures, **about, **more}


@pytest.mark.parametrize("page", sorted(pages.PAGES))
def test_pages_show_the_result_file(page: str) -> None:
    text = (pages.ROOT / page).read_text()
    assert pages.with_table(text, module.known(module.RESULT), pages.PAGES[page]) == text


def test_rows_are_added_one_by_one_and_replaced(tmp_path: Path) -> None:
    file = tmp_path / "rows.json"
    assert module.known(file) == []
    for name, seed, auroc in (
        ("recontrast", 0, 0.7),
        ("patchcore", 1, 0.6),
        ("patchcore", 0, 0.5),
        ("recontrast", 0, 0.8),
    ):
        module.add(file, row(name, seed, auroc))
    found = [(own["row"], own["seed"], own["image_auroc"]) for own in module.known(file)]
    assert found == [("patchcore", 0, 0.5), ("patchcore", 1, 0.6), ("recontrast", 0, 0.8)]
    assert [path.name for path in tmp_path.iterdir()] == ["rows.json"]
    assert json.loads(file.read_text())["benchmark"] == "mtd_methods"


def test_a_row_is_mean_and_deviation_over_its_seeds() -> None:
    rows = [row("recontrast", 0, 0.90), row("recontrast", 1, 0.92), row("recontrast", 2, 0.94)]
    text = pages.table(rows, ("patchcore", "recontrast"))
    assert "| PatchCore | | 0 | not run | | | | |" in text
    expected = "| ReContrast | resnet18 | 3 | 0.9200 ± 0.0200 | 0.9000 ± 0.0000 | 0.8000 ± 0.0000 "
    assert expected + "| 11 s | 400 iterations, batch 16 |" in text
    assert "load 1.0 to 3.0" in text
    refined = row("refinement", 0, 0.9, refines="reconpatch-512")
    assert "| ReConPatch, 512 dims, with refinement | resnet18 | 1 | 0.9000 |" in pages.table(
        [refined], ("refinement",)
    )


def test_every_row_has_a_name_and_a_place_in_a_page() -> None:
    assert set(pages.NAMES) == set(module.ROWS)
    assert {name for names in pages.PAGES.values() for name in names} == set(module.ROWS)
