from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import latency_table
import pytest
from latency_table import PAGE, with_tables

MACHINE = {"processor": "a processor", "threads": 2, "level": "avx2", "versions": {"torch": "2.0"}}
ABOUT = {"machine": MACHINE, "command": "python x.py", "commit": "abc", "load": 0.5}


def contender(ms: float, **more: Any) -> dict[str, Any]:
    return {"form": "a form", "ms": ms, "p90": ms, "p99": ms, "score_difference": 1e-6, **more}


def test_every_figure_of_the_page_comes_from_the_result_files() -> None:
    text = PAGE.read_text()
    assert with_tables(text) == text, "run: python benchmarks/latency_table.py"


def test_ratios_stand_beside_what_was_aimed_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slower = contender(20.0, times_ours=2.0, interval=[1.9, 2.1])
    cell = {
        "name": "anomalib-small-fp32-1",
        "peer": "anomalib",
        "bank": "small",
        "precision": "fp32",
        "together": 1,
        "patch_distance_difference": 2e-6,
        "contenders": {"pyad_edge": contender(10.0), "anomalib, OpenVINO": slower},
        "tried": {
            "anomalib, torch": {
                "compiled": {"failed": "no compiler"},
                "eager": {"ms": 9.0, "error": 0},
            }
        },
    }
    auroc = [{"bank": "large", "pyad_edge, fp32": 0.75}]
    content = ABOUT | {"cells": [cell], "image_auroc": auroc}
    (tmp_path / "peers.here.json").write_text(json.dumps(content))
    monkeypatch.setattr(latency_table, "RESULTS", tmp_path)
    page = with_tables(PAGE.read_text())
    assert "| 819 | fp32 | 1 | pyad_edge | a form | 10.00 | 10.00 |  |  | 1e-06 |" in page
    assert (
        "| anomalib, OpenVINO | a form | 20.00 | 20.00 | 2.00 [1.90, 2.10] | 1.6 | 1e-06 |" in page
    )
    assert "| pyad_edge, fp32 |  | 0.7500 |" in page
    assert "| compiled | not timed | did not run |" in page
    assert page.count("Not run yet.") == 3


def test_what_was_not_measured_has_no_figure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    claim = {"where": "a paper", "printed": "1 ms", "device": "a GPU", "conditions": "224 px"}
    claims = [claim | {"method": method} for method in ("patchcore", "reconpatch", "grad", "fod")]
    found = {
        "device": "this machine",
        "size": 224,
        "bank": [1638, 1024],
        "weights": "random",
        "score_difference": 1e-6,
        "ours": {"ms": 50.0},
        "official": {"ms": 200.0, "form": "eager"},
        "times_ours": 4.0,
        "interval": [3.9, 4.1],
    }
    content = ABOUT | {"claims": claims, "patchcore": found}
    (tmp_path / "papers_latency.here.json").write_text(json.dumps(content))
    monkeypatch.setattr(latency_table, "RESULTS", tmp_path)
    page = with_tables(PAGE.read_text())
    assert "| a paper | patchcore | 1 ms | a GPU | 224 px | 200.0 ms | 50.0 ms |" in page
    for method in ("reconpatch", "grad", "fod"):
        assert f"| a paper | {method} | 1 ms | a GPU | 224 px |  | not measured |" in page
    row = {"detectors": "grad compact", "backend": "onnxruntime", "precision": "fp32"}
    for name, more in (
        ("grad", {"rows": [row | {"infer": {"p50_ms": 4.0}}]}),
        ("fod", {"median_ms": {"end_to_end": 170.0}}),
    ):
        (tmp_path / f"{name}_latency.here.json").write_text(json.dumps(ABOUT | more))
    page = with_tables(PAGE.read_text())
    assert (
        "| a paper | grad | 1 ms | a GPU | 224 px |  | compact 4.0 ms (a processor, 2 threads) |"
        in page
    )
    assert "| a paper | fod | 1 ms | a GPU | 224 px |  | 170 ms (a processor, 2 threads) |" in page


def test_the_page_s_aims_are_those_that_the_benchmark_fails_at() -> None:
    import latency

    aims = {name: pair for name, pair in latency.TARGETS.items() if pair != (None, None)}
    assert aims == latency_table.NETWORK_AIMS
