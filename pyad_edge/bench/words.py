"""A command whose first argument may be the name of another command instead."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from typer.core import TyperCommand

__all__ = ["BenchCommand"]


class BenchCommand(TyperCommand):
    """``bench ENGINE``, or ``bench WORD`` for what the workshop adds.

    An engine whose file is called like a word is named ``./WORD``.

    Attributes:
        words: commands by word, made when one is used.
    """

    words: ClassVar[dict[str, Callable[[], Any]]] = {}

    def make_context(
        self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any
    ) -> Any:
        """Read the arguments, of whichever command the first one chooses."""
        if args and args[0] in self.words:
            other = self.words[args[0]]()
            return other.make_context(f"{info_name} {args[0]}", args[1:], parent=parent, **extra)
        return super().make_context(info_name, args, parent=parent, **extra)
