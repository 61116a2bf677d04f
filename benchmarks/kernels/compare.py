"""Times a kernel beside its peers: interleaved, after checking that all of them are right.

A kernel's file has a ``main()`` that makes a :class:`Benchmark`, gives it cases and calls
``finish()``. Run alone, the file reads its own command line; ``benchmarks/run.py`` opens one
:class:`Session` for all files and calls their ``main()`` one after another.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from session import Row, Session, open_session, parser, shared_session
from timing import interleaved, interval

# After session, which makes the folder above importable.
from features import Features, NoFeatures  # isort: skip
from report import RESULTS  # isort: skip

__all__ = ["RESULTS", "Benchmark", "Contender", "Session", "Times", "parser", "shared_session"]

Contender = tuple[str, Callable[[], Any], float]
Times = dict[str, NDArray[np.float64]]


class Benchmark:
    """The cases of one kernel.

    Args:
        title: ``<kernel>: <what it does>``.
        wait: returns when the device has finished; none for the CPU.
    """

    def __init__(self, title: str, *, wait: Callable[[], None] | None = None) -> None:
        self.session, self._shared = open_session(title)
        self.options = self.session.options
        self.kernel = title.split(":", 1)[0].strip()
        self._wait = wait
        print(f"\n{title}")
        print(
            f"{'case':<34} {'contender':<40}{'ms':>11}{'p90':>11}  ratio [95 %]{'':<14}"
            f"{'error':<9}{'rate':>16}  of ceiling"
        )

    def case(
        self,
        name: str,
        expected: np.ndarray,
        contenders: Sequence[Contender],
        *,
        flop: float | Mapping[str, float] | None = None,
        moved: float | None = None,
        ceiling: str | Mapping[str, str] | None = None,
        scale: Mapping[str, float] | None = None,
    ) -> Times:
        """Check and time one case.

        Args:
            name: printed in the table.
            expected: the reference's result.
            contenders: (name, function, largest allowed error), ours first.
            flop: operations of the plain algorithm, a multiply-add counted as two; by name where
                contenders differ.
            moved: bytes that must be read and written at least. Where both are stated, the one
                that takes longer at its ceiling is the bound.
            ceiling: which peak bounds ``flop`` (ceilings.py), for all contenders or by their
                names; default: ``fma``, the float32 peak of the level in use.
            scale: by name: a contender that does only 1 / scale of the work, because all of it
                would take minutes; its time is multiplied, and its name must say so.

        Returns:
            milliseconds of every round, by contender.

        Raises:
            SystemExit: if ours is wrong.
        """
        right: list[Contender] = []
        for contender, run, tolerance in contenders:
            error = _error(run(), expected)
            if error <= tolerance:
                right.append((contender, run, error))
                continue
            if run is contenders[0][1]:
                raise SystemExit(
                    f"{name}: error {error:.3g} of {contender} is above {tolerance:.3g}; a wrong "
                    "kernel is not timed."
                )
            self.session.skip(
                f"{self.kernel}, {name}, {contender}",
                f"not timed: error {error:.3g} > {tolerance:.3g}",
            )
        times = interleaved(
            [run for _, run, _ in right],
            rounds=self.options.rounds,
            seconds=self.options.seconds,
            wait=self._wait,
        )
        times *= [(scale or {}).get(contender, 1.0) for contender, _, _ in right]
        ratios = times / times[:, :1]
        for index, (contender, _, error) in enumerate(right):
            low, high = interval(ratios[:, index])
            ms = float(np.median(times[:, index]))
            row = Row(
                self.kernel,
                name,
                contender,
                ms,
                float(np.percentile(times[:, index], 90)),
                float(np.median(ratios[:, index])),
                low,
                high,
                error,
                len(times),
                *self._rate(
                    contender,
                    ms,
                    flop[contender] if isinstance(flop, Mapping) else flop,
                    moved,
                    ceiling,
                ),
            )
            self.session.rows.append(row)
            print(_line(row), flush=True)
        return {contender: times[:, index] for index, (contender, *_) in enumerate(right)}

    def compare(self, case: str, times: Times, slow: str, fast: str) -> None:
        """Note how many times faster one contender was than another, round by round."""
        if slow in times and fast in times:
            ratios = times[slow] / times[fast]
            low, high = interval(ratios)
            self.note(
                case,
                form=fast,
                **{
                    f"times faster than {slow}": round(float(np.median(ratios)), 2),
                    "low": round(low, 2),
                    "high": round(high, 2),
                },
            )

    def note(self, case: str, **figures: Any) -> None:
        """Print and keep figures that are no times, as the candidates of a screen."""
        self.session.notes.append({"kernel": self.kernel, "case": case, **figures})
        print(f"{case}: " + ", ".join(f"{k} {v}" for k, v in figures.items()), flush=True)

    def skip(self, what: str, why: str) -> None:
        """Say that a case or a peer took no part."""
        self.session.skip(f"{self.kernel}, {what}", why)

    def features(self) -> Features | None:
        """Real features; None, said and kept, where there are none."""
        try:
            return self.session.features()
        except NoFeatures as reason:
            self.skip("real features", str(reason))
            return None

    def finish(self) -> None:
        """Write the JSON file, if this file runs alone and one was asked for."""
        if not self._shared and self.options.json is not None:
            self.session.write(self.options.json)

    def _rate(
        self,
        contender: str,
        ms: float,
        flop: float | None,
        moved: float | None,
        ceiling: str | Mapping[str, str] | None,
    ) -> tuple[float | None, str | None, str | None, float | None]:
        peak = "fma"
        if ceiling is not None:
            peak = ceiling if isinstance(ceiling, str) else ceiling.get(contender, peak)
        bounds = []  # ms at the ceiling, work, unit, ceiling
        for work, name, unit in (
            (flop, peak, "GOP/s" if "int8" in peak else "GFLOP/s"),
            (moved, "copy", "GB/s"),
        ):
            if work is not None:
                most = self.session.ceilings.of(name, moved) if self._wait is None else None
                least = 0.0 if most is None else work / most[1] / 1e6
                bounds.append((least, work, unit, "" if most is None else most[0]))
        if not bounds:
            return None, None, None, None
        least, work, unit, named = max(bounds)
        return work / ms / 1e6, unit, named or None, least / ms if named else None


def _error(result: Any, expected: np.ndarray) -> float:
    for name in ("cpu", "get"):  # device arrays of torch and CuPy
        result = getattr(result, name)() if hasattr(result, name) else result
    return float(np.abs(np.asarray(result, np.float64) - expected).max())


def _line(row: Row) -> str:
    interval = f"[{row.low:.2f}, {row.high:.2f}]"
    text = (
        f"{row.case:<34} {row.name:<40}{row.ms:>11.3f}{row.p90:>11.3f}  "
        f"{row.ratio:>6.2f} {interval:<18}{row.error:<9.1e}"
    )
    if row.giga is not None:
        text += f"{row.giga:>8.1f} {row.unit:<7}"
    if row.fraction is not None:
        text += f"  {row.fraction:.0%} of {row.ceiling}"
    return text
