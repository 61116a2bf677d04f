"""Parts of a network that may run side by side: those that look at different pictures."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

__all__ = ["Branches", "branches"]


@dataclass(frozen=True)
class Branches:
    """Streams of a network's steps.

    Attributes:
        count: of streams, 1 where there is nothing to run side by side.
        stream_of: of each step, 0 to count - 1.
        waits: of each step, values made on other streams that it waits for.
        crossing: all of these values.
    """

    count: int
    stream_of: tuple[int, ...]
    waits: tuple[tuple[str, ...], ...]
    crossing: frozenset[str]


def branches(
    source: str,
    pictures: Collection[str],
    reads: Sequence[Sequence[str]],
    writes: Sequence[Sequence[str]],
) -> Branches:
    """Give each use of a picture after its first one a stream of its own.

    A picture has three channels: the input, and what was pooled from it. What follows stays on its
    stream; where streams meet, the first one goes on. A network with one use of its input, such as
    a ResNet, has one stream: side by side its short branches would gain nothing.

    Args:
        source: name of the input, made on stream 0.
        pictures: names of values with three channels.
        reads, writes: names that each step reads and writes, in an order in which they can run.
    """
    made_on = {source: 0}
    used: set[str] = set()
    count, stream_of, waits = 1, [], []
    for names, outputs in zip(reads, writes, strict=True):
        stream = min((made_on[name] for name in names), default=0)
        if any(name in pictures and name in used for name in names):
            stream, count = count, count + 1
        used.update(names)
        made_on.update(dict.fromkeys(outputs, stream))
        stream_of.append(stream)
        waits.append(tuple(dict.fromkeys(n for n in names if made_on[n] != stream)))
    crossing = frozenset(name for names in waits for name in names)
    return Branches(count, tuple(stream_of), tuple(waits), crossing)
