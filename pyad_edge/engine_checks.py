"""What an engine of each method must hold, beyond the file format.

``structure`` looks at the manifest alone, before any tensor is touched; ``contents`` at tensors
whose SHA-256 has been checked. Both return what is wrong as half a sentence, or None.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from pyad_edge.engine_correlation_checks import check_correlation, check_correlation_contents
from pyad_edge.engine_cosine_checks import check_cosine, check_cosine_contents
from pyad_edge.engine_manifest import Manifest
from pyad_edge.engine_memory_bank_checks import check_memory_bank, check_memory_bank_contents
from pyad_edge.engine_score_map_checks import check_score_map, check_score_map_contents

__all__ = ["METHODS", "MethodChecks"]


@dataclass(frozen=True)
class MethodChecks:
    """The two checks of one method."""

    structure: Callable[[Manifest], str | None]
    contents: Callable[[Manifest, Mapping[str, NDArray[Any]]], str | None]


METHODS: Mapping[str, MethodChecks] = {
    "patchcore": MethodChecks(check_memory_bank, check_memory_bank_contents),
    "reconpatch": MethodChecks(check_memory_bank, check_memory_bank_contents),
    "recontrast": MethodChecks(check_cosine, check_cosine_contents),
    "grad": MethodChecks(check_score_map, check_score_map_contents),
    "fod": MethodChecks(check_correlation, check_correlation_contents),
}
