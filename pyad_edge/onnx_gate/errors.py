"""What the gate says when it refuses a network."""

from __future__ import annotations

__all__ = ["GateError"]


class GateError(ValueError):
    """A network that is refused; the message is half a sentence: what was found in it.

    Whoever called the gate says which file it was, and the way out.
    """
