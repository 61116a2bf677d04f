"""An engine in rows for people: what ``pyad-edge info`` prints."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["engine_rows"]


def engine_rows(content: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(name, text) of each row, top to bottom.

    Args:
        content: an engine as :func:`pyad_edge.engine.describe` gives it.
    """
    training = content["training"]
    rows = [
        (
            "engine",
            f"{content['path']} ({content['bytes'] / 1e6:.1f} MB, "
            f"format {content['format_version']}, verified)",
        ),
        ("sha-256", content["file_sha256"]),
        ("method", f"{content['method']}, {_head(content)}"),
        ("backbone", _backbone(content["backbone"])),
        ("weights", content["backbone"]["weights_sha256"] or "not recorded"),
        (
            "input",
            f"{_size(content['network']['input_size'])} px, frames in "
            f"{content['preprocessing']['color_order'].upper()} order or mono, "
            f"{_size(content['network']['grid'])} patches",
        ),
    ]
    if content["bank"] is not None:
        made = f"{training['coreset_ratio']:g} of all patches, seed {training['seed']}"
        rows += [
            ("memory bank", f"{_bank(content['bank'])} ({made})"),
            ("search", content["search"]),
        ]
    rows += _ensemble(content)
    if "refinement" in content:
        rows.append(("refinement", _refinement(content["refinement"])))
    return [
        *rows,
        (
            "fitted on",
            f"{training['pictures']:,} pictures, fingerprint {training['fingerprint'][:16]}",
        ),
        ("score", content["score_meaning"]),
        ("threshold", content["threshold"]["statement"]),
        ("self-test", f"{content['golden_pictures']} golden pictures, checked at every open"),
        ("made with", ", ".join(f"{k} {v}" for k, v in content["created_with"].items())),
    ]


def _head(content: Mapping[str, Any]) -> str:
    head = content["head"]
    if head["type"] == "memory_bank":
        return f"scoring {head['scoring']}, aggregation {head['aggregation']['variant']}"
    if head["type"] == "score_map":
        levels = ", ".join(map(str, head["levels"]))
        return f"maximum of the score map of levels {levels}, fused by their {head['fusion']}"
    if head["type"] == "correlation":
        grids = " and ".join(f"{h} x {w}" for h, w in (level["grid"] for level in head["levels"]))
        return f"{head['score']} of the correlations of {grids} patches, maximum of the map"
    outputs = content["backbone"]["outputs"]
    pairs = ", ".join(f"{outputs[a]} - {outputs[b]}" for a, b in head["pairs"])
    return f"{head['score']} of the cosine distances of {len(head['pairs'])} pairs: {pairs}"


def _ensemble(content: Mapping[str, Any]) -> list[tuple[str, str]]:
    """A row for each further member, with its bank, and one for what becomes of their scores."""
    if "members" not in content:
        return []
    rows = [
        (
            f"member {i}",
            f"{member['name']}, {_backbone(member['backbone'])}; {_head(member)}; "
            f"{_size(member['network']['grid'])} patches; bank {_bank(member['bank'])}; "
            f"weights {member['backbone']['weights_sha256'] or 'not recorded'}",
        )
        for i, member in enumerate(content["members"], start=1)
    ]
    fusion = content["fusion"]
    spreads = zip(fusion["median"], fusion["mad"], strict=True)
    what = "; ".join(f"({median:.6g}, {mad:.6g})" for median, mad in spreads)
    text = (
        f"mean of the members' modified z-scores, beta {fusion['beta']:g}; (median, median "
        f"absolute deviation) of normal scores: {what}"
    )
    return [*rows, ("fusion", text)]


def _refinement(refinement: Mapping[str, Any]) -> str:
    sees = "the map and the picture" if refinement["picture"] else "the map"
    score = {"maximum": "the refined map's maximum", "keep": "as before it"}[refinement["score"]]
    return (
        f"a network draws the map again, from {sees}; the score is {score}; "
        f"sha-256 {refinement['onnx_sha256']}"
    )


def _backbone(backbone: Mapping[str, Any]) -> str:
    return f"{backbone['name']}: {', '.join(backbone['outputs'])}"


def _bank(bank: Mapping[str, int]) -> str:
    return f"{bank['rows']:,} rows x {bank['dimensions']}"


def _size(size: list[int]) -> str:
    return f"{size[1]} x {size[0]}"
