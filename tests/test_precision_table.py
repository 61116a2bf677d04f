"""The tables of docs/backends.md are those of the result files, and its claims hold there."""

from __future__ import annotations

import precision_table as module

from pyad_edge.backends.registry import golden_tolerance


def test_the_page_shows_the_result_files() -> None:
    page = module.PAGE.read_text()
    assert module.with_tables(page) == page


def test_tolerances_are_about_twice_the_largest_error_measured() -> None:
    found = module.result("scores")
    assert found is not None
    for precision in ("fp16", "bf16", "int8"):
        errors = [r["score_error_max"] for r in found["rows"] if r["precision"] == precision]
        assert 1.9 * max(errors) <= golden_tolerance(precision, 1e-3) <= 2.3 * max(errors)


def test_bf16_keeps_the_auroc_within_two_thousandths() -> None:
    found = module.result("scores")
    assert found is not None
    exact = {
        (row["network"], row["size"]): row["image_auroc"]
        for row in found["rows"]
        if (row["backend"], row["precision"]) == ("onnxruntime", "fp32")
    }
    rows = [row for row in found["rows"] if row["precision"] == "bf16"]
    assert len(rows) == 8
    for row in rows:
        assert abs(row["image_auroc"] - exact[row["network"], row["size"]]) <= 0.002


def test_numbers_are_short() -> None:
    assert [module.number(v) for v in (0.0, 8.6e-7, 0.00134, 0.1279)] == [
        "0",
        "9e-07",
        "0.0013",
        "0.13",
    ]
