"""A camera's states by a clock that the test holds."""

from __future__ import annotations

import random

import pytest
from pydantic import ValidationError

from pyad_edge.streaming import FaultCode, State, StreamSettings
from pyad_edge.streaming.link import Action, Link, SteadyClock

SETTINGS = StreamSettings(jitter=0, backoff_first_s=1, backoff_max_s=5, open_timeout_s=3)


def make(settings: StreamSettings = SETTINGS) -> Link:
    link = Link(settings, random_source=random.Random(0))
    assert link.poll(0.0)[0] is Action.CONNECT
    link.connecting(0.0)
    return link


def test_from_connecting_to_streaming_to_stale_and_back() -> None:
    link = make()
    assert link.state is State.CONNECTING
    link.opened(1.0)
    link.answered(1.5, frame=True)
    assert link.state is State.STREAMING
    assert link.poll(3.4)[0] is Action.NONE
    assert link.state is State.STREAMING
    assert link.poll(3.5)[0] is Action.NONE
    assert link.state is State.STALE
    link.answered(4.0, frame=False)
    assert link.state is State.STREAMING


def test_a_driver_that_does_not_answer_is_abandoned_then_tried_again() -> None:
    link = make()
    link.opened(0.0)
    link.answered(0.0, frame=True)
    action, code, reason = link.poll(5.0)
    assert (action, code) == (Action.ABANDON, FaultCode.HANG)
    assert "5 s" in reason
    link.failed(5.0, code, reason)
    assert link.state is State.LOST
    assert link.poll(5.9)[0] is Action.NONE
    assert link.poll(6.0)[0] is Action.CONNECT


def test_a_driver_that_hangs_while_opening_is_abandoned() -> None:
    link = make()
    assert link.poll(2.9)[0] is Action.NONE
    assert link.poll(3.0)[:2] == (Action.ABANDON, FaultCode.HANG)


def test_triggered_cameras_may_be_silent_for_hours_others_not() -> None:
    quiet, running = make(), make(SETTINGS.model_copy(update={"silent_after_s": 10.0}))
    for link in (quiet, running):
        link.opened(0.0)
        for second in range(3600):
            link.answered(float(second), frame=False)
    assert quiet.poll(3600.0)[0] is Action.NONE
    assert running.poll(3600.0)[:2] == (Action.ABANDON, FaultCode.DISCONNECTED)


def test_pauses_double_to_the_cap_and_start_again_after_a_frame() -> None:
    link, now, pauses = make(), 0.0, []
    for _ in range(5):
        link.failed(now, FaultCode.DISCONNECTED, "gone")
        start = now
        while link.poll(now)[0] is not Action.CONNECT:
            now += 0.5
        pauses.append(now - start)
        link.connecting(now)
    assert pauses == [1.0, 2.0, 4.0, 5.0, 5.0]
    link.opened(now)
    link.answered(now, frame=True)
    link.failed(now, FaultCode.DISCONNECTED, "gone")
    assert link.poll(now + 1.0)[0] is Action.CONNECT


def test_jitter_only_shortens() -> None:
    settings = SETTINGS.model_copy(update={"jitter": 0.5})
    seen = set()
    for seed in range(20):
        link = Link(settings, random_source=random.Random(seed))
        link.failed(0.0, FaultCode.DISCONNECTED, "gone")
        assert link.poll(0.499)[0] is Action.NONE
        assert link.poll(1.0)[0] is Action.CONNECT
        seen.add(link._retry_at)
    assert len(seen) == 20


def test_attempts_are_counted() -> None:
    link = make(SETTINGS.model_copy(update={"max_attempts": 2}))
    link.failed(0.0, FaultCode.DISCONNECTED, "gone")
    assert not link.exhausted
    link.failed(9.0, FaultCode.DISCONNECTED, "gone")
    assert link.exhausted


def test_settings_out_of_order_are_refused() -> None:
    with pytest.raises(ValidationError, match="read_timeout_s < stale_after_s < lost_after_s"):
        StreamSettings(stale_after_s=9.0)
    with pytest.raises(ValidationError, match="backoff_first_s <= backoff_max_s"):
        StreamSettings(backoff_first_s=60.0)


def test_time_that_the_process_did_not_have_is_not_held_against_drivers() -> None:
    clock = SteadyClock(0.05)
    assert [clock.tick(t) for t in (100.0, 100.05, 100.1)] == pytest.approx([0.0, 0.05, 0.1])
    assert clock.tick(3_700.1) == pytest.approx(0.3)  # an hour asleep
    assert clock.tick(3_700.15) == pytest.approx(0.35)
