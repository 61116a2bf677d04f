"""Levels side by side on streams: who waits for whom, and that the values are those of one list."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from tiny_models import three_levels, tiny_backbone

torch = pytest.importorskip("torch")

from pyad_edge.backends.torch_branches import branches  # noqa: E402
from pyad_edge.backends.torch_graph import Plan, load_network  # noqa: E402


def test_each_picture_after_the_first_has_a_stream() -> None:
    """Three levels: b is pooled from a, c from b; d, e, f follow; g joins d and e, h g and f."""
    reads = [("a",), ("a",), ("b",), ("b",), ("c",), ("d", "e"), ("g", "f")]
    writes = [("d",), ("b",), ("e",), ("c",), ("f",), ("g",), ("h",)]
    found = branches("a", {"a", "b", "c"}, reads, writes)
    assert found.count == 3
    assert found.stream_of == (0, 1, 1, 2, 2, 0, 0)
    assert found.waits == ((), ("a",), (), ("b",), (), ("e",), ("f",))
    assert found.crossing == {"a", "b", "e", "f"}


def test_a_value_that_is_no_picture_makes_no_stream() -> None:
    """A residual: both branches follow the stem."""
    reads = [("a",), ("s",), ("s",), ("u", "v")]
    writes = [("s",), ("u",), ("v",), ("w",)]
    found = branches("a", {"a"}, reads, writes)
    assert (found.count, set(found.stream_of)) == (1, {0})
    assert found.crossing == set()


def plan_of(model: bytes, output: str, example: Any) -> Plan:
    network = load_network(model, torch=torch)
    return Plan(network, example, [output], torch=torch, constants={})


class Device:
    """Streams that note who waited for what; work is done at once, in the order of the calls."""

    def __init__(self, count: int) -> None:
        self.streams = [Stream(self, n) for n in range(count)]
        self.current = 0
        self.cuda = self

    @contextmanager
    def stream(self, stream: Stream) -> Iterator[None]:
        before, self.current = self.current, stream.number
        yield
        self.current = before


class Stream:
    def __init__(self, device: Device, number: int) -> None:
        self.device, self.number, self.seen = device, number, {number}

    def record_event(self) -> frozenset[int]:
        return frozenset(self.seen)

    def wait_event(self, event: frozenset[int]) -> None:
        assert self.device.current == self.number
        self.seen |= event

    def wait_stream(self, stream: Stream) -> None:
        self.seen |= stream.seen


def test_streams_give_the_values_of_the_list_and_are_joined() -> None:
    image = torch.from_numpy(np.random.default_rng(1).normal(size=(2, 3, 16, 24))).float()
    plan = plan_of(three_levels(), "out", torch.zeros_like(image))
    assert plan.branches.count == 3
    device = Device(3)
    (found,) = plan.run_on(image, device.streams, torch=device)
    (wanted,) = plan(image)
    assert torch.equal(found, wanted)
    assert found.std() > 0.1
    assert device.streams[0].seen == {0, 1, 2}
    assert device.streams[2].seen == {0, 2}  # its picture comes from stream 0


def test_every_value_of_another_stream_is_waited_for() -> None:
    plan = plan_of(three_levels(), "out", torch.zeros(1, 3, 16, 16))
    made = {"image": 0}
    for n, (_, bound, outputs) in enumerate(plan._steps):
        stream = plan.branches.stream_of[n]
        foreign = {name for name, value in bound if value is None and name}
        foreign = {name for name in foreign if made[name] != stream}
        assert set(plan.branches.waits[n]) == foreign
        made[outputs[0]] = stream


def test_a_backbone_has_one_stream() -> None:
    plan = plan_of(tiny_backbone((8, 16)), "layer3", torch.zeros(1, 3, 32, 32))
    assert plan.branches.count == 1
