"""Frame ids: every trigger answered once, in order, under its right name."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyad_edge.streaming import Fault, FaultCode, Grab, StreamSettings
from pyad_edge.streaming.sequence import Numbered, Sequencer

IMAGE = np.zeros((8, 8), np.uint8)
OUTAGE = Fault(FaultCode.HANG, "[stream] it hung.")


def told(items: list[Numbered]) -> list[tuple[int, str, int]]:
    return [(i.frame_id, i.fault.code.value if i.fault else "ok", i.triggers) for i in items]


def run(ids: list[int | None], **settings: object) -> list[tuple[int, str, int]]:
    """Push ids a millisecond apart, then end."""
    sequencer = Sequencer("cam", StreamSettings(**settings))
    out: list[Numbered] = []
    for n, number in enumerate(ids):
        out += sequencer.push(Grab(IMAGE, frame_id=number), now=n * 1e-3)
    return told(out + sequencer.finish())


@pytest.mark.parametrize("reorder", [0, 1, 3])
def test_a_gap_is_missing_in_its_place(reorder: int) -> None:
    assert run([5, 6, 8, 9, 12], reorder=reorder) == [
        (5, "ok", 1), (6, "ok", 1), (7, "missing", 1), (8, "ok", 1), (9, "ok", 1),
        (10, "missing", 1), (11, "missing", 1), (12, "ok", 1),
    ]  # fmt: skip


def test_a_frame_behind_its_successor_is_late_in_its_place() -> None:
    assert run([0, 2, 1, 3]) == [(0, "ok", 1), (1, "late", 1), (2, "ok", 1), (3, "ok", 1)]


def test_a_frame_that_was_reported_missing_answers_for_no_second_trigger() -> None:
    assert run([0, 2, 3, 1, 4]) == [
        (0, "ok", 1), (1, "missing", 1), (2, "ok", 1), (3, "ok", 1), (1, "late", 0), (4, "ok", 1),
    ]  # fmt: skip


def test_a_second_time_is_a_duplicate_even_while_held() -> None:
    assert run([0, 0, 2, 2, 3]) == [
        (0, "ok", 1), (0, "duplicate", 0), (2, "duplicate", 0), (1, "missing", 1), (2, "ok", 1),
        (3, "ok", 1),
    ]  # fmt: skip


def test_what_is_held_is_let_go_in_time() -> None:
    sequencer = Sequencer("cam", StreamSettings(reorder=3, reorder_ms=50))
    sequencer.push(Grab(IMAGE, frame_id=0), 0.0)
    assert sequencer.push(Grab(IMAGE, frame_id=2), 1.0) == []
    assert sequencer.flush(1.049) == []
    assert told(sequencer.flush(1.051)) == [(1, "missing", 1), (2, "ok", 1)]
    assert sequencer.flush(9.0) == []


def test_a_jump_of_the_counter_is_one_fault_for_all() -> None:
    assert run([0, 5_000], max_gap=100) == [(0, "ok", 1), (1, "missing", 4_999), (5_000, "ok", 1)]


def test_a_counter_that_starts_again_is_said_and_followed() -> None:
    assert run([1000, 1, 2]) == [
        (1000, "ok", 1), (1, "missing", 0), (1, "ok", 1), (2, "ok", 1),
    ]  # fmt: skip


def test_without_ids_frames_are_counted() -> None:
    assert run([None, None, None]) == [(0, "ok", 1), (1, "ok", 1), (2, "ok", 1)]


def test_no_image_is_unreadable() -> None:
    sequencer = Sequencer("cam", StreamSettings())
    (item,) = sequencer.push(Grab(None, frame_id=3, error="[x] half of it came."), 0.0)
    assert item.fault == Fault(FaultCode.UNREADABLE, "[x] half of it came.")


@pytest.mark.parametrize(
    ("counter", "after", "expected"),
    [
        ("device", 4, [(2, "hang", 1), (3, "hang", 1), (4, "ok", 1)]),
        ("device", 2, [(2, "ok", 1)]),
        ("device", 0, [(0, "ok", 1)]),
        ("session", 7, [(7, "ok", 1)]),
    ],
)
def test_what_an_outage_cost_has_its_name(
    counter: str, after: int, expected: list[tuple[int, str, int]]
) -> None:
    sequencer = Sequencer("cam", StreamSettings())
    for number in (0, 1):
        sequencer.push(Grab(IMAGE, frame_id=number), 0.0)
    assert sequencer.outage(OUTAGE) == []
    sequencer.connected(counter)  # type: ignore[arg-type]
    assert told(sequencer.push(Grab(IMAGE, frame_id=after), 1.0)) == expected


def test_an_outage_lets_go_what_is_held() -> None:
    sequencer = Sequencer("cam", StreamSettings())
    sequencer.push(Grab(IMAGE, frame_id=0), 0.0)
    sequencer.push(Grab(IMAGE, frame_id=2), 0.0)
    assert told(sequencer.outage(OUTAGE)) == [(1, "missing", 1), (2, "ok", 1)]


@given(
    st.lists(st.sampled_from(["good", "drop", "twice", "swap"]), min_size=1, max_size=60),
    st.integers(0, 4),
)
def test_any_mixture_answers_for_every_trigger_once(events: list[str], reorder: int) -> None:
    ids: list[int] = [0]
    number = 1
    for event in events:
        if event == "good":
            ids.append(number)
        elif event == "twice":
            ids += [number, number]
        elif event == "swap":
            ids += [number + 1, number]
            number += 1
        number += 1
    ids.append(number)
    answers = [
        frame for frame, _, triggers in run(ids, reorder=reorder, reorder_ms=1e6) if triggers
    ]
    assert answers == list(range(number + 1))
