"""An extension of griffe: roles of docstrings, such as :class:`Engine`, as plain code."""

from __future__ import annotations

import re
from typing import Any

import griffe


class Roles(griffe.Extension):
    """Drops the role, and the path that a tilde hides."""

    def on_instance(self, *, obj: Any, **_: Any) -> None:
        """Rewrite an object's docstring."""
        if obj.docstring is not None:
            text = re.sub(r":\w+:`~[\w.]*?(\w+)`", r"`\1`", obj.docstring.value)
            obj.docstring.value = re.sub(r":\w+:`([^`]+)`", r"`\1`", text)
