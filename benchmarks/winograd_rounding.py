"""How much the rounding of factors to bfloat16 changes a convolution, by its form.

    python benchmarks/winograd_rounding.py

Rectified normal pictures, normal 3 x 3 filters over 128 channels. Factors are rounded to bfloat16
(in the Winograd forms after their transforms), all else is float64. Printed and written is the
norm of the difference from the plain convolution over its norm.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from report import RESULTS, write_result

Array = NDArray[np.float64]

# A^T, G and B^T of Lavin and Gray (2015), sections 4.1 and 4.3.
Matrix = list[list[float]]
FORMS: dict[str, tuple[Matrix, Matrix, Matrix]] = {
    "F(2x2, 3x3)": (
        [[1, 1, 1, 0], [0, 1, -1, -1]],
        [[1, 0, 0], [1 / 2, 1 / 2, 1 / 2], [1 / 2, -1 / 2, 1 / 2], [0, 0, 1]],
        [[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, 0, -1]],
    ),
    "F(4x4, 3x3)": (
        [[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]],
        [
            [1 / 4, 0, 0],
            [-1 / 6, -1 / 6, -1 / 6],
            [-1 / 6, 1 / 6, -1 / 6],
            [1 / 24, 1 / 12, 1 / 6],
            [1 / 24, -1 / 12, 1 / 6],
            [0, 0, 1],
        ],
        [
            [4, 0, -5, 0, 1, 0],
            [0, -4, -4, 1, 1, 0],
            [0, 4, -4, -1, 1, 0],
            [0, -2, -1, 2, 1, 0],
            [0, 2, -1, -2, 1, 0],
            [0, 4, 0, -5, 0, 1],
        ],
    ),
}
TILES, CHANNELS, FILTERS = 64, 128, 16


def bf16(x: Array) -> Array:
    """To nearest even."""
    bits = x.astype(np.float32).view(np.uint32)
    rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) & np.uint32(0xFFFF0000)
    halves: Array = rounded.view(np.float32).astype(np.float64)
    return halves


def direct(x: Array, w: Array) -> Array:
    windows = np.lib.stride_tricks.sliding_window_view(x, (3, 3), axis=(2, 3))
    result: Array = np.einsum("tcijyx,kcyx->tkij", windows, w, optimize=True)
    return result


def both_ways(matrix: Matrix, x: Array) -> Array:
    result: Array = np.einsum("ia,tcab,jb->tcij", matrix, x, matrix, optimize=True)
    return result


def main() -> None:
    rng = np.random.default_rng(0)
    w = rng.normal(size=(FILTERS, CHANNELS, 3, 3))
    rows = {}
    for name, (leave, weigh, enter) in FORMS.items():
        side = len(enter)
        x = np.maximum(rng.normal(size=(TILES, CHANNELS, side, side)), 0.0)
        wanted = direct(x, w)
        for form, rounded in (("exact", lambda v: v), ("bf16", bf16)):
            products = np.einsum(
                "tcij,kcij->tkij", rounded(both_ways(enter, x)), rounded(both_ways(weigh, w))
            )
            found = both_ways(leave, products)
            error = float(np.linalg.norm(found - wanted) / np.linalg.norm(wanted))
            if form == "exact":
                assert error < 1e-12, name  # the matrices are right
        rows[name] = error
        plain = direct(bf16(x), bf16(w))
        rows["direct"] = float(np.linalg.norm(plain - wanted) / np.linalg.norm(wanted))
    for name, error in rows.items():
        print(f"{name}: {100 * error:.2f} %")
    write_result(
        "winograd_rounding",
        {"relative_error": rows},
        threads=1,
        out=RESULTS / "winograd_rounding.json",
    )


if __name__ == "__main__":
    main()
