"""The simulated line: every trigger answered, every injected fault under its name."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from numpy.typing import NDArray
from stream_fakes import QUICK
from tiny_engine import TinyEngine

from pyad_edge import Runtime, read_image
from pyad_edge.errors import SettingError
from pyad_edge.streaming import inspect_sources
from pyad_edge.streaming.simulate import EXPECTED, Ledger, SimulatedLine

TRIGGERS = 2_000


@pytest.fixture(scope="module")
def pictures(tiny: TinyEngine) -> list[NDArray[np.uint8]]:
    rng = np.random.default_rng(0)
    part = read_image(next(iter(tiny.scores)))
    noisy = (part + rng.normal(0, 3, part.shape).round() for _ in range(16))
    return [picture.clip(0, 255).astype(np.uint8) for picture in noisy]


def make_line(pictures: list[NDArray[np.uint8]], *, share: float, window: int) -> SimulatedLine:
    return SimulatedLine(
        pictures,
        triggers=TRIGGERS,
        share=share,
        seed=1,
        period_s=0.0005,
        window=window,
    )


def test_every_trigger_is_answered_and_every_fault_named(
    tiny: TinyEngine, pictures: list[NDArray[np.uint8]]
) -> None:
    line = make_line(pictures, share=0.0125, window=8)
    ledger = Ledger(line)
    last = -1
    with inspect_sources(Runtime(tiny.path), line.device, settings=QUICK) as stream:
        for inspection in stream:
            ledger.add(inspection)
            line.answered(inspection)
            if inspection.triggers:
                assert inspection.frame_id == last + 1
                last = inspection.frame_id
            if ledger.answers + ledger.dropped >= TRIGGERS:
                break
    line.close()
    assert (ledger.answers, ledger.dropped, ledger.twice) == (TRIGGERS, 0, 0)
    assert ledger.unnamed == {}
    injected = Counter(line.plan.values())
    assert min(injected[kind] for kind in EXPECTED) == 25
    named = {kind: ledger.table[kind, code.value] for kind, code in EXPECTED.items()}
    assert named == dict(injected)
    assert ledger.table["none", "none"] == TRIGGERS - len(line.plan)


def test_live_answers_or_counts_every_trigger(
    tiny: TinyEngine, pictures: list[NDArray[np.uint8]]
) -> None:
    line = make_line(pictures, share=0.0, window=TRIGGERS)
    ledger = Ledger(line)
    with inspect_sources(
        Runtime(tiny.path), line.device, policy="live", settings=QUICK, gate=None
    ) as stream:
        for inspection in stream:
            ledger.add(inspection)
            if ledger.answers + ledger.dropped >= TRIGGERS:
                break
    line.close()
    assert ledger.answers + ledger.dropped == TRIGGERS
    assert ledger.dropped > 0
    assert ledger.twice == 0


def test_a_plan_that_does_not_fit_is_refused(pictures: list[NDArray[np.uint8]]) -> None:
    with pytest.raises(SettingError, match=r"at most 0\.0143"):
        make_line(pictures, share=0.02, window=8)
    with pytest.raises(SettingError, match="at least 8 pictures"):
        make_line(pictures[:7], share=0.01, window=8)
