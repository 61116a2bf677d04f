"""GRAD's page shows its result files."""

from __future__ import annotations

import pytest

pytest.importorskip("torch")
import grad_table as pages


def test_the_page_shows_the_result_files() -> None:
    text = pages.PAGE.read_text()
    assert pages.with_tables(text) == text


def test_levels_that_were_trained_shorter_are_named() -> None:
    settings = {
        "inside": 0.5,
        "diffusion_steps": 4000,
        "samples": 160,
        "patches": 64,
        "precision": "fp32",
        "diffusion_steps_68": 200,
        "samples_68": 24,
        "steps_68": 300,
        "steps_136": 5000,
    }
    row = {
        "row": "fused-68-136",
        "seed": 0,
        "settings": settings,
        "pictures": 320,
        "commit": "abc",
        "machine": {"threads": 1},
        "command": "python benchmarks/mtd_grad.py --data box --rows fused-68-136 --seeds 0",
    }
    found = pages._source([row])
    assert "PatchDiffs of 4,000 steps, 160 windows each, 50% of them normal but for a" in found
    assert "detectors of 5,000 steps with 64 positive patches" in found
    assert "(level 68: 200 steps, 24 windows, 300 steps)" in found
    assert "`python benchmarks/mtd_grad.py --data box`, commits abc." in found
