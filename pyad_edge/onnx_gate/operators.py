"""The operators that a network may use, each with the rule for the shapes that it makes.

They compute numbers from numbers. None reads a file, runs a graph, draws lots, keeps a state or
handles text. An operator without a rule is refused: how large its output gets would not be known.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from pyad_edge.onnx_gate import (
    rules_elementwise,
    rules_layout,
    rules_reductions,
    rules_sources,
    rules_windows,
)
from pyad_edge.onnx_gate.values import Call, Value

__all__ = ["OPERATORS"]

OPERATORS: Mapping[str, Callable[[Call], list[Value]]] = {
    **rules_elementwise.RULES,
    **rules_layout.RULES,
    **rules_reductions.RULES,
    **rules_sources.RULES,
    **rules_windows.RULES,
}
