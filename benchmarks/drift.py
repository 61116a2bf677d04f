"""The drift monitor's false alarms and delays, simulated from measured pictures.

    python benchmarks/drift.py

Good pictures are photographed anew, with a lamp that varies by 2 % and a sensor's noise of one
level, and with a drift in each case. Their measures are computed once; streams draw them at random,
so that millions of parts cost no pictures. Three kinds of pictures:

    lamp    MTD's good tiles under one lamp: its six times of exposure, which file names tell, are
            brought to one. Tiles differ by themselves as they do.
    mixed   the same tiles as they are: exposures from 1 to 2.3, mixed at random
    demo    generated parts

and three kinds of streams:

    same    the line goes on with parts of the kind that was learned: both draw from all pictures
    held    the pictures of the stream are others than those learned, each of which is learned once
    lots    as same, in lots of 25 parts that resemble each other in brightness

Scores are drawn from one continuous distribution: the charts know their ranks only, so which one
makes no difference. Drifts leave scores alone, so that only the charts of inputs can find them. All
parts pass; the chart of rejects takes no part.
"""

from __future__ import annotations

import argparse
import math
import re
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from drift_runs import CHARTS, Stream, Table, first_alarms
from numpy.typing import NDArray
from report import mtd_pictures, write_result

from pyad_edge.drift.light import LIGHTS, MEASURES, light_moves
from pyad_edge.drift.limits import FALSE_ALARMS, HORIZON, binomial_upper
from pyad_edge.drift.statistics import displacement, measure_frame
from pyad_edge.export.demo.part import make_part

SIZE, LAMP, NOISE = 256, 0.02, 1.0
SHAPE, WITHIN = 200, 200
STREAMS = (("same", 2000), ("held", 300), ("lots", 2000))
Picture = NDArray[np.float32]


def moved(dx: float, dy: float) -> Callable[[Picture], Picture]:
    """A picture moved by some pixels; what comes into view repeats the border."""
    matrix = np.array([[1, 0, dx], [0, 1, dy]], np.float32)

    def move(picture: Picture) -> Picture:
        size = (picture.shape[1], picture.shape[0])
        return np.asarray(
            cv2.warpAffine(picture, matrix, size, borderMode=cv2.BORDER_REPLICATE), np.float32
        )

    return move


def blurred(sigma: float) -> Callable[[Picture], Picture]:
    return lambda picture: np.asarray(cv2.GaussianBlur(picture, (0, 0), sigma), np.float32)


def dimmed(picture: Picture) -> Picture:
    """A tenth less; what is saturated stays so, as nobody knows how much of it was cut off."""
    return np.where(picture >= 250, picture, picture * np.float32(0.9))


CASES: dict[str, Callable[[Picture], Picture]] = {
    "good": lambda picture: picture,
    "gain +10 %": lambda picture: picture * np.float32(1.1),
    "gain -10 %": dimmed,
    "blur 1 px": blurred(1.0),
    "blur 1.5 px": blurred(1.5),
    "shift 8 px right": moved(8, 0),
    "shift 6 px up": moved(0, -6),
}


def tiles(*, one_lamp: bool) -> list[Picture]:
    """MTD's good tiles, 256 x 256, grey."""
    train, test, defect = mtd_pictures()
    files = [*train, *(file for file, bad in zip(test, defect, strict=True) if not bad)]
    pictures = [
        cv2.resize(
            cv2.imread(str(file), cv2.IMREAD_GRAYSCALE), (SIZE, SIZE), interpolation=cv2.INTER_AREA
        ).astype(np.float32)
        for file in files
    ]
    if not one_lamp:
        return pictures
    exposures = np.array([int(re.match(r"exp(\d)", file.name)[1]) for file in files])  # type: ignore[index]
    levels = np.log([picture.mean() for picture in pictures])
    middle = levels[exposures == 4].mean()
    return [
        picture * np.float32(math.exp(middle - levels[exposures == exposure].mean()))
        for picture, exposure in zip(pictures, exposures, strict=True)
        if exposure > 0  # one picture only
    ]


def generated(count: int) -> list[Picture]:
    """Parts of the demo."""
    return [
        make_part(np.random.default_rng((7, n)), size=SIZE)[0].astype(np.float32)
        for n in range(count)
    ]


def photograph(picture: Picture, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Another picture of the same view."""
    light = picture * np.float32(rng.normal(1.0, LAMP))
    noisy = light + NOISE * rng.standard_normal(picture.shape, dtype=np.float32)
    return np.clip(np.rint(noisy), 0, 255).astype(np.uint8)


def measure(pictures: list[Picture]) -> tuple[dict[str, Table], Table]:
    """Measures of every picture in every case; and how far more and less light move the good ones.

    Returns:
        By case, by measure: (n,). By chart of light: (n, measures).
    """
    rng, tables, template = np.random.default_rng(2), dict[str, Table](), None
    moves: dict[str, list[list[float]]] = {name: [] for name in LIGHTS}
    for case, change in CASES.items():
        rows, thumbnails = [], []
        for picture in pictures:
            frame = photograph(change(picture), rng)
            found = measure_frame(frame, full_scale=255.0)
            rows.append(dict(found.values))
            thumbnails.append(found.thumbnail)
            if case == "good":
                lit = light_moves(frame, found.values, full_scale=255.0, mosaic=False)
                for name, move in lit.items():
                    moves[name].append(move)
        stack = np.array(thumbnails)
        # The mean picture comes from frames of its own, as the monitor's does.
        if template is None:
            again = [photograph(p, rng) for p in pictures[:: max(1, len(pictures) // SHAPE)]]
            template = np.mean(
                [measure_frame(f, full_scale=255.0).thumbnail for f in again], axis=0
            ).astype(np.float32)
        places = displacement(stack, template)
        tables[case] = {name: np.array([row[name] for row in rows]) for name in rows[0]}
        tables[case] |= {"position_x": places[:, 0], "position_y": places[:, 1]}
        print(case, len(pictures), flush=True)
    return tables, {name: np.array(rows) for name, rows in moves.items()}


def cost() -> dict[str, Any]:
    """Microseconds of measuring one frame: as charts are fed, and while learning."""
    found: dict[str, Any] = {}
    for name, shape in (("mono", (SIZE, SIZE)), ("colour", (SIZE, SIZE, 3))):
        frame = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
        template = measure_frame(frame, full_scale=255.0).thumbnail
        times: dict[str, list[float]] = {"charts": [], "learning": []}
        for _ in range(400):
            begin = time.perf_counter()
            values = measure_frame(frame, full_scale=255.0)
            displacement(values.thumbnail, template)
            middle = time.perf_counter()
            light_moves(frame, values.values, full_scale=255.0, mosaic=False)
            times["charts"].append(middle - begin)
            times["learning"].append(time.perf_counter() - begin)
        found[name] = {k: round(1e6 * float(np.median(v)), 1) for k, v in times.items()}
    print(found, flush=True)
    return found


def delays(stream: Stream, onsets: int) -> list[dict[str, Any]]:
    """Parts until the first alarm of any chart, for every drift."""
    rows = []
    for case in CASES:
        if case == "good":
            continue
        parts, by = [], Counter[str]()
        for seed in range(onsets):
            found = first_alarms(stream, case, before=300, after=1000, seed=seed)
            # An alarm before the drift is a false one; it is counted apart.
            after = {name: at - 300 for name, at in found.items() if at > 300}
            name = min(after, key=lambda name: after[name])
            parts.append(after[name])
            by[name] += 1
        median, high = (float(v) for v in np.quantile(parts, (0.5, 0.95), method="higher"))
        late = sum(at > WITHIN for at in parts)
        rows.append(
            {
                "case": case,
                "onsets": onsets,
                "median": median if math.isfinite(median) else None,
                "p95": high if math.isfinite(high) else None,
                "within_200": 1.0 - late / onsets,
                "within_200_at_least": 1.0 - binomial_upper(late, onsets, confidence=0.95),
                "chart": by.most_common(1)[0][0],
            }
        )
        print(rows[-1], flush=True)
    return rows


def false_alarms(stream: Stream, runs: int) -> dict[str, Any]:
    """Charts that alarm in 100,000 good parts, over runs with references of their own."""
    counts: Counter[str] = Counter()
    for seed in range(runs):
        found = first_alarms(stream, "good", before=HORIZON, after=0, seed=10_000 + seed)
        counts.update(name for name, at in found.items() if math.isfinite(at))
    alarms = sum(counts.values())
    found = {"parts": runs * HORIZON, "runs": runs, "alarms": alarms, "by_chart": dict(counts)}
    # Alarms of one run hang together; this bound is of runs with any, which are fewer.
    found["per_100000"] = alarms / runs
    found["per_100000_at_most"] = poisson_upper(alarms) / runs
    print(found, flush=True)
    return found


def poisson_upper(count: int) -> float:
    """Upper 95 % bound of the mean that a count came from."""
    low, high = float(count), count + 10.0 * math.sqrt(count + 1.0)
    for _ in range(60):
        mean = 0.5 * (low + high)
        terms = [math.exp(j * math.log(mean) - mean - math.lgamma(j + 1)) for j in range(count + 1)]
        low, high = (mean, high) if math.fsum(terms) > 0.05 else (low, mean)
    return high


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--onsets", type=int, default=200, help="of every drift")
    parser.add_argument("--runs", type=int, default=20, help="of 100,000 good parts")
    parser.add_argument("--parts", type=int, default=800, help="that are generated for demo")
    parser.add_argument("--only", nargs="*", help="of lamp, mixed, demo")
    parser.add_argument("--out", type=Path, help="JSON file instead of benchmarks/results")
    options = parser.parse_args()
    makers: dict[str, Callable[[], list[Picture]]] = {
        "lamp": lambda: tiles(one_lamp=True),
        "mixed": lambda: tiles(one_lamp=False),
        "demo": lambda: generated(options.parts),
    }
    cv2.setNumThreads(1)
    rows = []
    for name in options.only or makers:
        pictures = makers[name]()
        tables, moves = measure(pictures)
        for kind, learn in STREAMS:
            print(name, kind, learn, flush=True)
            stream = Stream(tables, moves, kind=kind, learn=learn)
            rows.append(
                {
                    "pictures": name,
                    "count": len(pictures),
                    "brightness_deviation": float(tables["good"]["brightness"].std()),
                    "stream": kind,
                    "learn": learn,
                    "false_alarms": false_alarms(stream, options.runs),
                    "delays": delays(stream, options.onsets),
                }
            )
    about = {"allowed": FALSE_ALARMS, "charts": list(CHARTS), "measures_of_light": list(MEASURES)}
    content = {**about, "microseconds": cost(), "rows": rows}
    write_result("drift", content, threads=1, out=options.out)


if __name__ == "__main__":
    main()
