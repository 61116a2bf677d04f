"""What the graph of an engine is made for."""

from __future__ import annotations

from dataclasses import dataclass

from pyad_edge.errors import SettingError
from pyad_edge.ops._checks import whole_number
from pyad_edge.preprocessing import MAX_SIDE, MIN_SIDE

__all__ = ["OPSETS", "PipelineSettings"]

OPSETS = (17, 21)  # the oldest and the newest that graphs are written in
MAX_BATCH = 256


@dataclass(frozen=True)
class PipelineSettings:
    """Sizes that a graph has for good, and how its search is cut.

    Attributes:
        frame_size: (H, W) of the frames that will come; None: of the engine's training pictures
            where it knows their size, else of its golden frames.
        batch: frames that one run takes; None: any number, the axis "N".
        chunk_rows: bank rows that are compared with all patches at a time: the search's largest
            tensor has patches times ``chunk_rows`` numbers.
        opset: version of the operator set ``ai.onnx``; a network inside that needs a newer one
            raises it.
        exact_search: whether an engine with an approximate index may be exported with exact
            search: such an index has no form in standard operators. Scores then differ from the
            engine's by what the index misses.

    Raises:
        SettingError: if a value cannot be used.
    """

    frame_size: tuple[int, int] | None = None
    batch: int | None = 1
    chunk_rows: int = 2048
    opset: int = 17
    exact_search: bool = False

    def __post_init__(self) -> None:
        """Refuse what cannot be used."""
        if self.frame_size is not None:
            if len(self.frame_size) != 2:
                raise SettingError(
                    f"[export onnx] expected frame_size as (height, width), got {self.frame_size}."
                )
            for name, side in zip(("height", "width"), self.frame_size, strict=True):
                _check(f"frame_size's {name}", side, MIN_SIDE, MAX_SIDE)
        if self.batch is not None:
            _check("batch", self.batch, 1, MAX_BATCH)
        _check("chunk_rows", self.chunk_rows, 16, 1 << 20)
        _check("opset", self.opset, *OPSETS)


def _check(name: str, value: object, low: int, high: int) -> None:
    try:
        whole_number("export onnx", name, value, low, high)
    except (TypeError, ValueError) as error:
        raise SettingError(str(error)) from None
