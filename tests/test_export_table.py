"""The table of docs/export.md is that of the result file, and what the page claims holds there."""

from __future__ import annotations

import export_table as module
import pytest

from pyad_edge.backends.registry import golden_tolerance


def test_the_page_shows_the_result_file() -> None:
    page = module.PAGE.read_text()
    assert module.with_table(page) == page


def test_fp32_gives_every_verdict_and_what_a_network_does_not_bear_is_called_refused() -> None:
    rows = module.rows()
    if not rows:
        pytest.skip("benchmarks/export_agreement.py has not run yet")
    for row in rows:
        place = row["method"], row["target"], row["precision"]
        if "frames" not in row:
            assert row.get("not_run") or row["refused"], place
            continue
        borne = row["score_relative"] <= golden_tolerance(row["precision"], 1e-3)
        if row["precision"] in ("fp32", "fp16"):
            assert row["faults"] == [], place
            assert borne, place
        elif not borne:  # 8 bits, which a network may not bear: the page says refused
            assert row["faults"], place
            assert ", refused" in module.table([row]), place
        if row["precision"] == "fp32":
            assert row["flips"] == [], place
        if row["not_run"] is None:
            assert row["frames"] == 354, place


def test_what_only_was_built_says_so() -> None:
    row = {"method": "grad", "target": "tensorrt-rtx", "precision": "bf16", "bytes": 2_000_000}
    row |= {"commit": "abc", "machine": {"processor": "P", "level": "L", "versions": {}}}
    assert "| grad | tensorrt-rtx | bf16 | built, not run |" in module.table([row])
    assert module.table([]) == "Not run yet."
