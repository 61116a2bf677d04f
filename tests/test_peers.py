"""The peers' forms are what they say: equal to the oracle, and refused where they are not."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

sys.path.append(str(Path(__file__).resolve().parents[1] / "benchmarks" / "peers"))
for module in ("torch", "timm", "faiss", "scipy"):
    pytest.importorskip(module)

import child  # noqa: E402
import official  # noqa: E402
import papers_latency  # noqa: E402
import torch  # noqa: E402
from contenders import CELLS, largest_difference  # noqa: E402
from oracle import patchcore as oracle  # noqa: E402


def levels(pictures: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [
        torch.randn(pictures, 6, 8, 8, generator=generator),
        torch.randn(pictures, 10, 4, 4, generator=generator),
    ]


def test_a_batch_is_embedded_as_the_oracle_does_it_one_by_one() -> None:
    batch = levels(3)
    found = official.embed(batch, 12).reshape(3, 64, 12)
    for n in range(3):
        expected = oracle.embed([level[n : n + 1] for level in batch], 12, 12)
        torch.testing.assert_close(found[n], expected)


@pytest.mark.parametrize("channels_last", [False, True])
def test_the_official_form_scores_by_the_nearest_row(channels_last: bool) -> None:
    class Network(torch.nn.Module):
        def forward(self, batch: torch.Tensor) -> list[torch.Tensor]:
            return [level + batch.mean() * 0 for level in levels(len(batch))]

    bank = np.random.default_rng(1).standard_normal((20, 12), dtype=np.float32)
    run = official.official(Network(), bank, threads=1, channels_last=channels_last)
    scores, maps = run(np.zeros((2, 3, 64, 64), np.float32))
    queries = official.embed(levels(2), 12).numpy().reshape(2, 64, 12)
    expected = [oracle.image_score(q, bank) for q in queries]
    np.testing.assert_allclose(scores, expected, rtol=1e-5)
    assert maps.shape == (2, 64, 64)
    assert (maps.max(axis=(1, 2)) <= scores).all()


def test_cells_have_names_of_their_own() -> None:
    assert len({cell.name for cell in CELLS}) == len(CELLS) == 8
    assert {cell.embedding for cell in CELLS if cell.peer == "anomalib"} == {"average"}


def test_the_largest_difference_is_relative_and_sees_nan() -> None:
    def run(turn: int) -> list[float]:
        return [[1.0, 2.2], [4.0, 8.0]][turn]

    assert largest_difference(run, [[1.0, 2.0], [4.0, 8.0]]) == pytest.approx(0.1)
    assert np.isnan(largest_difference(lambda i: [[1.1], [float("nan")]][i], [[1.0], [1.0]]))


class Contenders:
    """Three forms of one group: right, wrong and broken."""

    cell = SimpleNamespace(precision="fp32", together=1)
    turns = 1

    def expected(self) -> list[list[float]]:
        return [[1.0]]

    def distances(self) -> float:
        return 0.0

    def groups(self) -> dict[str, dict[str, Any]]:
        def broken() -> Any:
            raise RuntimeError("no such operator")

        return {
            "pyad_edge": {
                "right": lambda: lambda _: [1.0],
                "wrong": lambda: lambda _: [1.1],
                "broken": broken,
            }
        }


def test_only_a_form_whose_scores_are_right_is_timed() -> None:
    found = child.choose(Contenders())  # type: ignore[arg-type]
    assert found["chosen"] == {"pyad_edge": "right"}
    tried = found["tried"]["pyad_edge"]
    assert tried["right"]["ms"] >= 0
    assert tried["wrong"].keys() == {"error"}
    assert tried["broken"] == {"failed": "RuntimeError: no such operator"}


def test_a_form_that_went_wrong_after_it_was_chosen_ends_the_run() -> None:
    with pytest.raises(SystemExit, match=r"differ by more than 0\.001"):
        child.time_chosen(Contenders(), {"pyad_edge": "wrong"}, 1)  # type: ignore[arg-type]


def test_blocks_are_counted_without_the_first_round() -> None:
    found = child.time_chosen(Contenders(), {"pyad_edge": "right"}, 2)  # type: ignore[arg-type]
    assert len(found["blocks"]["pyad_edge"]) == 2
    assert len(found["single"]["pyad_edge"]) == 2 * child.BLOCK
    assert found["errors"] == {"pyad_edge": 0.0}


def test_every_claim_in_milliseconds_is_the_figure_that_is_printed() -> None:
    units = {"ms": lambda v: v, "s": lambda v: v * 1e3, "fps": lambda v: 1e3 / v}
    for claim in papers_latency.CLAIMS:
        value, unit = claim.printed.split()
        assert claim.ms == pytest.approx(units[unit](float(value)))
        assert claim.device
        assert "Table" in claim.where
    assert {claim.method for claim in papers_latency.CLAIMS} == {
        "patchcore",
        "reconpatch",
        "grad",
        "fod",
    }
