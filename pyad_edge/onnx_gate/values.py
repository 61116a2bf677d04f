"""What the gate knows of a value between two nodes, and of the node that is asked for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from numpy.typing import NDArray

from pyad_edge.onnx_gate.errors import GateError
from pyad_edge.onnx_gate.limits import MAX_FOLDED
from pyad_edge.onnx_gate.model import Node

__all__ = ["Call", "Value", "axis_of", "broadcast", "of", "sized"]

Shape = tuple[int, ...]
_T = TypeVar("_T")


@dataclass(frozen=True, eq=False)
class Value:
    """A value for one picture.

    Attributes:
        shape: its sides, all known.
        data: its numbers, where they are few and do not depend on the picture; shapes may depend
            on them.
    """

    shape: Shape
    data: NDArray[Any] | None = None


@dataclass(eq=False)
class Call:
    """A node with what it is given.

    Attributes:
        node: the operator.
        inputs: its values; None where an optional one is left out.
        opset: version of ONNX's operators.
        work: multiplications that it takes; rules add to it.
    """

    node: Node
    inputs: tuple[Value | None, ...]
    opset: int
    work: int = 0

    def has(self, place: int) -> bool:
        """Whether there is such an input."""
        return place < len(self.inputs) and self.inputs[place] is not None

    def value(self, place: int = 0) -> Value:
        """An input that must be there."""
        found = self.inputs[place] if place < len(self.inputs) else None
        if found is None:
            raise GateError(f"its {self.node.title} lacks its input {place}")
        return found

    def shape(self, place: int = 0) -> Shape:
        """Sides of an input that must be there."""
        return self.value(place).shape

    def known(self, place: int) -> NDArray[Any]:
        """Numbers of an input on which the shape of the output depends, in one row."""
        found = self.value(place)
        if found.data is None:
            raise GateError(
                f"nobody can tell how large the output of its {self.node.title} gets: that depends "
                "on the picture"
            )
        return found.data.reshape(-1)

    def integers(self, place: int, name: str) -> list[int] | None:
        """Whole numbers of an input or, in older operators, an attribute; None: in neither."""
        if not self.has(place):
            return self.attribute(name, list) if name in self.node.attributes else None
        found = self.known(place)
        if found.dtype.kind not in "iu":
            raise GateError(f"its {self.node.title} wants whole numbers as its input {place}")
        return [int(number) for number in found]

    def attribute(self, name: str, kind: type[_T], default: _T | None = None) -> _T:
        """An attribute of that type, or its default."""
        found = self.node.attributes.get(name, default)
        if not isinstance(found, kind):
            raise GateError(f"its {self.node.title} has no usable attribute '{name}'")
        return found

    def whole(self, name: str, count: int, default: int, *, least: int) -> list[int]:
        """A list of so many whole numbers, none below ``least``."""
        found = self.attribute(name, list, [default] * count)
        if len(found) != count or any(not isinstance(n, int) or n < least for n in found):
            raise GateError(f"its {self.node.title} has no usable attribute '{name}'")
        return found

    def refuse(self, why: str) -> GateError:
        """An error about this node."""
        return GateError(f"its {self.node.title} {why}")


def of(data: NDArray[Any]) -> Value:
    """A value whose numbers are known."""
    return sized(data.shape, data)


def sized(shape: Sequence[int], data: NDArray[Any] | None = None) -> Value:
    """A value; its numbers are kept if they are few."""
    few = data is not None and data.size <= MAX_FOLDED
    return Value(tuple(int(side) for side in shape), data if few else None)


def broadcast(call: Call, shapes: Sequence[Shape]) -> Shape:
    """The common shape by NumPy's rule."""
    rank = max(len(shape) for shape in shapes)
    sides = []
    for axis in range(rank):
        found = {s[axis - rank + len(s)] for s in shapes if axis - rank + len(s) >= 0} - {1}
        if len(found) > 1:
            raise call.refuse(f"combines shapes that do not fit: {', '.join(map(str, shapes))}")
        sides.append(found.pop() if found else 1)
    return tuple(sides)


def axis_of(call: Call, axis: int, rank: int) -> int:
    """An axis from 0; negative ones count from the end."""
    if not -rank <= axis < max(rank, 1):
        raise call.refuse(f"has the axis {axis} of a value with {rank} axes")
    return axis % max(rank, 1)
