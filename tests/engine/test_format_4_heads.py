"""Heads of format 4: what must agree in engines of each method."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from engine_factory import small_engine
from engine_refusals import ENGINES, index, refused

from pyad_edge.engine_manifest import Aggregation


def test_methods_and_heads_belong_together() -> None:
    bank, cosine = small_engine(), ENGINES["recontrast"]
    refused(bank, "needs cosine distances, not 'memory_bank'", method="recontrast")
    refused(cosine, "needs a memory bank, not 'cosine_distance'", method="patchcore")
    refused(cosine, "needs a memory bank, not 'cosine_distance'", method="reconpatch")
    refused(cosine, "needs a score map, not 'cosine_distance'", method="grad")
    refused(ENGINES["grad"], "needs cosine distances, not 'score_map'", method="recontrast")
    refused(cosine, "needs correlations, not 'cosine_distance'", method="fod")
    refused(ENGINES["fod"], "needs a score map, not 'correlation'", method="grad")
    refused(ENGINES["grad"], "needs a memory bank, not 'score_map'", method="patchcore")
    refused(bank, r"added \('sum'\), not aggregated as 'official'", method="reconpatch")
    training = bank[0].training.model_copy(update={"coreset_ratio": None})
    refused(bank, "no coreset_ratio says", training=training)
    refused(cosine, "has a coreset_ratio, but no memory bank", training=bank[0].training)


def test_a_sum_has_no_dimensions() -> None:
    made = ENGINES["reconpatch"]
    for dims in ((8, None), (None, 8), (8, 8)):
        aggregation = Aggregation(variant="sum", pre_dim=dims[0], target_dim=dims[1])
        head = made[0].memory_bank.model_copy(update={"aggregation": aggregation})
        refused(made, "'sum' aggregation has dimensions", head=head)


@pytest.mark.parametrize(
    ("pairs", "reason"),
    [
        (((0, 2), (1, 4)), r"pair \(1, 4\) points outside of its 4 outputs"),
        (((0, 2), (3, 3), (1, 3)), r"pair \(3, 3\) compares an output with itself"),
        (((0, 2), (1, 2)), "no pair reads its output 3"),
    ],
)
def test_pairs_name_outputs(pairs: tuple[tuple[int, int], ...], reason: str) -> None:
    made = ENGINES["recontrast"]
    refused(made, reason, head=made[0].head.model_copy(update={"pairs": pairs}))


@pytest.mark.parametrize("name", ["recontrast", "grad", "fod"])
def test_engines_without_a_bank_have_none_of_it(name: str) -> None:
    made, ensemble = ENGINES[name], ENGINES["ensemble"][0]
    refused(made, "unknown tensor 'bank/features'", {"bank/features": np.ones((2, 8), np.float32)})
    refused(made, "field 'members', which belongs to memory banks", members=ensemble.members)
    refused(made, "field 'fusion', which belongs to memory banks", fusion=ensemble.fusion)
    refused(made, "field 'index', which belongs to memory banks", index=index())
    scores = made[1]["calibration/scores"]
    refused(made, "not sorted", {"calibration/scores": scores[::-1].copy()})
    refused(made, "not the one", {"network/onnx": np.frombuffer(b"other", np.uint8)})


def test_a_score_map_is_one_output_of_ascending_levels() -> None:
    made = ENGINES["grad"]
    backbone = made[0].backbone.model_copy(update={"outputs": ("score_map", "level34")})
    refused(made, "has 2 outputs, but a score map is one", backbone=backbone)
    for levels in ((68, 34), (34, 34)):
        head = made[0].head.model_copy(update={"levels": levels})
        refused(made, rf"levels \({levels[0]}, {levels[1]}\) do not ascend", head=head)
    for name in ("calibration/map_maxima", "calibration/scores", "golden/scores"):
        below = np.sort(made[1][name] - np.float32(9))
        refused(made, f"'{name}' has values below 0, which no score map has", {name: below})


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"sigmas": None}, "level 1 has not all of queries, sigmas and keys"),
        ({"queries": None, "sigmas": None, "keys": 1}, "level 1 has not all of queries"),
        ({"queries": None, "sigmas": None}, r"level 1 has not what the score 'rec\*div' is made"),
        ({"errors": None}, r"level 1 has not what the score 'rec\*div' is made"),
        ({"errors": 0}, r"read the outputs \[0, 0, 1, 2, 4, 5\] of 6, not each of them once"),
        ({"errors": 9}, r"read the outputs \[0, 1, 2, 4, 5, 9\] of 6"),
        ({"keys": 3}, "not each of them once"),
        ({"grid": (2, 3)}, "correlations are of 2 x 3 patches, but its network takes 32 x 32"),
        ({"grid": (4, 2)}, "correlations are of 4 x 2 patches, but its network takes 32 x 32"),
        (
            {"grid": (4, 4)},
            r"'reference/keys/1' should be float32 of shape \(heads 1 = 2, 16, dims",
        ),
    ],
)
def test_levels_of_correlations_agree(change: dict[str, Any], reason: str) -> None:
    made = ENGINES["fod"]
    levels = made[0].head.model_dump()["levels"]
    changed = (levels[0], levels[1] | change)
    head = type(made[0].head).model_validate({**made[0].head.model_dump(), "levels": changed})
    refused(made, reason, head=head)


def test_correlations_hold_for_one_number_of_patches() -> None:
    """Of another picture size the softmax would mean something else."""
    made = ENGINES["fod"]
    network = made[0].network.model_copy(update={"input_size": (64, 32)})
    refused(
        made, "correlations are of 4 x 4 patches, but its network takes 64 x 32", network=network
    )
    network = made[0].network.model_copy(update={"grid": (2, 2)})
    refused(made, r"grid \(2, 2\) is not that of its first level", network=network)
    short = made[1]["reference/keys/1"][:, :3]
    refused(made, "'reference/keys/1' should be float32", {"reference/keys/1": short})
    for name in ("calibration/scores", "golden/scores"):
        below = np.sort(made[1][name] - np.float32(9))
        refused(made, f"'{name}' has values below 0, which no error", {name: below})
