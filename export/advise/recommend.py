"""Which candidate to take, and why, by rules that docs/choose.md states."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pyad_edge.export.advise.judge import Judged, difference
from pyad_edge.export.advise.settings import AdviseSettings

__all__ = ["Advice", "recommend"]

FEW = 30  # held-out pictures: with fewer, differences of 0.05 AUROC are mostly chance
UNLIKELY = 0.05  # a count of false rejects that is less probable than this is said
MEANT = 0.01  # AUROC: on defects that are not the user's a smaller difference means nothing
AS_FAST = 0.05  # a difference of medians that no user notices, and that another run may turn round
NOT_YOURS = (
    "Synthetic defects are not your defects: they rank candidates and do not say how many real "
    "defects are found. Put pictures of real ones into test/<defect> and run pyad-edge eval before "
    "you rely on an engine."
)


@dataclass(frozen=True)
class Advice:
    """What is recommended.

    Attributes:
        candidate: its name; None: none is fast enough.
        command: that makes its engine from all pictures.
        reasons: sentences, in the order of the rules.
    """

    candidate: str | None
    command: str | None
    reasons: tuple[str, ...]


def recommend(
    judged: Sequence[Judged], settings: AdviseSettings, *, data: Path, held: int
) -> Advice:
    """Choose by these rules.

    1. A candidate must meet the latency with 99 of 100 frames.
    2. Of these, the one with the highest image AUROC is the best, and all whose difference from it
       has a 95 % interval that reaches below 0.01 are as good.
    3. Of those, the fastest by the median; where others take at most a twentieth longer, the one of
       them with the highest AUROC.

    Args:
        judged: at least one.
        settings: with the latency.
        data: folder that the command names.
        held: pictures that were held out.
    """
    limit = settings.latency * 1e3
    within = [one for one in judged if one.latency.p99 <= limit]
    if not within:
        reasons = (_too_slow(judged, limit), *_doubts(judged, settings, held), NOT_YOURS)
        return Advice(None, None, reasons)
    best = max(within, key=lambda one: one.auroc.value)
    alike = [one for one in within if not _ahead(best, one)]
    fastest = min(one.latency.p50 for one in alike)
    as_fast = [one for one in alike if one.latency.p50 <= (1 + AS_FAST) * fastest]
    chosen = max(as_fast, key=lambda one: one.auroc.value)
    candidate = chosen.scored.candidate
    reasons = (
        f"{len(within)} of {len(judged)} candidates answer within {limit:g} ms (p99).",
        _best(best, alike, within, chosen),
        *_slower_and_better(judged, chosen, limit),
        *_short_training(candidate.note),
        *_rejects(chosen, settings, held),
        *_doubts(alike, settings, held),
        NOT_YOURS,
    )
    return Advice(candidate.name, candidate.command(data, settings), reasons)


def _ahead(better: Judged, other: Judged) -> bool:
    """Whether one finds more, beyond chance and beyond what synthetic defects can mean."""
    return difference(better, other).low > MEANT


def _too_slow(judged: Sequence[Judged], limit: float) -> str:
    fastest = min(judged, key=lambda one: one.latency.p99)
    return (
        f"No candidate answers within {limit:g} ms: the fastest, {fastest.name}, takes "
        f"{fastest.latency.p99:.1f} ms (p99). Try a smaller --size, another --backend or "
        "--precision, or a faster machine."
    )


def _slower_and_better(judged: Sequence[Judged], chosen: Judged, limit: float) -> list[str]:
    best = max(judged, key=lambda one: one.auroc.value)
    if best.latency.p99 <= limit or not _ahead(best, chosen):
        return []
    return [
        f"{best.name} would find more of them (AUROC {best.auroc.value:.3f}) but takes "
        f"{best.latency.p99:.1f} ms (p99)."
    ]


def _short_training(note: str) -> list[str]:
    if not note:
        return []
    return [
        f"It was trained briefly ({note}), and so is the command below; more steps may make it "
        "better."
    ]


def _best(best: Judged, alike: Sequence[Judged], within: Sequence[Judged], chosen: Judged) -> str:
    own = best.auroc
    start = (
        f"{best.name} has the highest AUROC on synthetic defects, {own.value:.3f} "
        f"[{own.low:.3f}, {own.high:.3f}]"
    )
    if len(within) == 1:
        return f"{start}, and no other is left to compare it with."
    if len(alike) == 1:
        return f"{start}, ahead of each other one by more than chance explains."
    others = ", ".join(f"{one.name} ({one.auroc.value:.3f})" for one in alike if one is not best)
    which = "it" if chosen is best else chosen.name
    return (
        f"{start}; {others} cannot be told from it by these pictures (95 % intervals of the "
        f"differences reach below {MEANT:g}), and of them all none is faster than {which} (median "
        f"{chosen.latency.p50:.1f} ms) by more than {AS_FAST:.0%}."
    )


def _rejects(chosen: Judged, settings: AdviseSettings, held: int) -> list[str]:
    """A sentence where more good pictures were rejected than the threshold promises."""
    threshold = chosen.scored.runtime.threshold
    sure = max(settings.false_reject, threshold.guaranteed_false_reject or 0.0)
    found = chosen.scored.false_rejects
    if _at_least(found, held, sure) >= UNLIKELY:
        return []
    return [
        f"It rejects {found} of {held} held-out good pictures, more than its threshold promises "
        f"({sure:.1%}, from {threshold.normal_pictures} calibration pictures): the good pictures "
        "differ among themselves more than those that it was calibrated on. Add pictures of other "
        "shifts, lots and light before you train."
    ]


def _doubts(alike: Sequence[Judged], settings: AdviseSettings, held: int) -> list[str]:
    doubts = []
    if held < FEW:
        doubts.append(
            f"Only {held} good pictures were held out, with {held * settings.defects} defects: too "
            f"few to tell close candidates apart. {FEW} held-out pictures need about "
            f"{math.ceil(FEW / settings.held_out)} good ones in all."
        )
    if len(alike) > 1 and all(one.auroc.value == 1.0 for one in alike):
        doubts.append(
            "These candidates find every synthetic defect, so the defects are too easy to rank "
            "them, and an interval of no width is no certainty."
        )
    return doubts


def _at_least(found: int, of: int, rate: float) -> float:
    """Probability that at least ``found`` of ``of`` independent events of this rate happen."""
    return 1.0 - sum(math.comb(of, k) * rate**k * (1.0 - rate) ** (of - k) for k in range(found))
