"""FOD's page shows its result file."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("torch")
import mtd_fod as module
import mtd_fod_table as pages


def test_the_page_shows_the_result_file() -> None:
    text = pages.PAGE.read_text()
    assert pages.with_tables(text, module.known(module.RESULT)) == text


def test_a_line_is_mean_and_deviation_over_seeds_for_every_score() -> None:
    def row(seed: int, auroc: float) -> dict[str, Any]:
        figures = {"image_auroc": auroc, "pixel_auroc": 0.5, "aupro": 0.25}
        kinds = dict.fromkeys(pages.DEFECTS, auroc)
        score = {**figures, "by_defect": kinds}
        about = {"commit": "abc", "machine": {"processor": "P", "threads": 1}, "steps": 150}
        return {
            "row": "resnet18",
            "seed": seed,
            "scores": {"rec": score, "rec*div": score},
            **about,
        }

    text = pages.tables([row(0, 0.6), row(1, 0.8)])
    line = "| FOD, ResNet-18 | rec\\*div | 2 | 0.7000 ± 0.1414 | 0.5000 ± 0.0000 | 0.2500 ± 0.0000"
    assert f"{line} | 150 steps |" in text
    assert "| FOD, ResNet-18 | rec | 0.700 | 0.700 | 0.700 | 0.700 | 0.700 |" in text
    assert "| PatchCore, ResNet-18 | distance | 3 |" in text
