"""How large a network may be. The largest that our exporters write stay far below all of these."""

from __future__ import annotations

__all__ = [
    "MAX_ATTRIBUTES",
    "MAX_ELEMENTS",
    "MAX_FIELDS",
    "MAX_FOLDED",
    "MAX_INITIALIZERS",
    "MAX_NAME_BYTES",
    "MAX_NODES",
    "MAX_OPSET",
    "MAX_RANK",
    "MAX_TEXT_BYTES",
    "MAX_TOTAL_ELEMENTS",
    "MAX_WEIGHT_BYTES",
    "MAX_WORK",
    "MIN_OPSET",
]

MAX_FIELDS = 500_000  # protobuf fields in one file: bounds the reader's time
MAX_NODES = 20_000
MAX_INITIALIZERS = 20_000
MAX_ATTRIBUTES = 64  # of one node; also inputs and outputs, of which Concat has most
MAX_NAME_BYTES = 1024
MAX_TEXT_BYTES = 1 << 20  # documentation, metadata
MAX_RANK = 8
MAX_WEIGHT_BYTES = 1 << 31  # of one tensor; protobuf itself ends there
MAX_FOLDED = 4096  # elements of values that are computed here, because shapes depend on them

# For one picture. A value of 2^29 float32 takes 2 GiB.
MAX_ELEMENTS = 1 << 29  # of one value between two nodes
MAX_TOTAL_ELEMENTS = 1 << 33  # of all of them
MAX_WORK = 1 << 46  # multiplications: about a minute of one good core

MIN_OPSET, MAX_OPSET = 7, 25
