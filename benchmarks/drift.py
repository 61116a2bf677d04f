"""The drift monitor's false alarms and delays, simulated from measured pictures.

    python benchmarks/drift.py

Good pictures that the engine's bank has not seen are photographed anew: a fresh lamp (2 %) and
sensor noise (one level), and in each case a drift. Their measures and scores are computed once;
streams then draw them at random, so that millions of parts cost no inference. Calibration scores
are drawn from the same held-out pictures, anew for each run. The charts' sums are computed in one
go. All parts are good or drifted good ones: the chart of rejects takes no part.
"""

from __future__ import annotations

import argparse
import math
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from report import shared, write_result

from pyad_edge import Runtime, ops
from pyad_edge.drift.charts import KS_EVERY, KS_WINDOW, ks_distance
from pyad_edge.drift.limits import (
    HORIZON,
    allowance,
    cusum_limit,
    ks_limit,
    long_run_variance,
    normal_scores,
    share_of,
)
from pyad_edge.drift.statistics import displacement, measure_frame
from pyad_edge.export.demo.part import make_part
from pyad_edge.export.methods.patchcore import make_settings
from pyad_edge.export.progress import progress_bar
from pyad_edge.export.train import train_patchcore

SIZE, LAMP, NOISE = 256, 0.02, 1.0
SHAPE = 200
CALIBRATION = 100
Picture = NDArray[np.float32]
Table = dict[str, NDArray[np.float64]]


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


CASES: dict[str, Callable[[Picture], Picture]] = {
    "good": lambda picture: picture,
    "gain +10 %": lambda picture: picture * np.float32(1.1),
    "gain -10 %": lambda picture: picture * np.float32(0.9),
    "blur 1 px": blurred(1.0),
    "blur 1.5 px": blurred(1.5),
    "shift 8 px right": moved(8, 0),
    "shift 6 px up": moved(0, -6),
}


def mtd(count: int) -> list[Picture]:
    """Good tiles as they are, brightness of 32 % deviation from tile to tile included."""
    files = sorted((shared("data", "mtd") / "train" / "good").iterdir())
    chosen = np.random.default_rng(0).permutation(len(files))[:count]
    pictures = (cv2.imread(str(files[n]), cv2.IMREAD_COLOR) for n in chosen)
    return [
        cv2.resize(p, (SIZE, SIZE), interpolation=cv2.INTER_AREA).astype(np.float32)
        for p in pictures
    ]


def held_light(pictures: list[Picture]) -> list[Picture]:
    """The same tiles under one lamp: brought to one mean brightness."""
    level = float(np.median([picture.mean() for picture in pictures]))
    return [picture * np.float32(level / picture.mean()) for picture in pictures]


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


def fit(pictures: list[Picture], folder: Path) -> Runtime:
    """An engine of these pictures, as the command makes it."""
    good, rng = folder / "train" / "good", np.random.default_rng(1)
    good.mkdir(parents=True)
    for n, picture in enumerate(pictures):
        cv2.imwrite(str(good / f"{n:04d}.png"), photograph(picture, rng)[..., ::-1])
    with progress_bar() as progress:
        train_patchcore(
            folder, folder / "part.pyad", settings=make_settings(resize=(SIZE, SIZE)),
            backbone="edge18", progress=progress,
        )  # fmt: skip
    return Runtime(folder / "part.pyad")


def measure(runtime: Runtime, pictures: list[Picture], shots: int) -> dict[str, Table]:
    """Measures and score of every picture in every case, photographed ``shots`` times."""
    rng, tables, template = np.random.default_rng(2), {}, None
    for case, change in CASES.items():
        rows, thumbnails = [], []
        for n, picture in enumerate(pictures * shots):
            frame = photograph(change(picture), rng)
            found = measure_frame(frame, full_scale=255.0)
            score = float(runtime.infer(frame).score) if n < len(pictures) else math.nan
            rows.append({**found.values, "score": score})
            thumbnails.append(found.thumbnail)
        stack = np.array(thumbnails)
        # The mean picture comes from frames of its own, as the monitor's does.
        template = stack[:SHAPE].mean(axis=0) if template is None else template
        places = displacement(stack, template)
        tables[case] = {name: np.array([row[name] for row in rows]) for name in rows[0]}
        tables[case] |= {"position_x": places[:, 0], "position_y": places[:, 1]}
        print(case, flush=True)
    return tables


def first_alarm(z: NDArray[np.float64], k: float, h: float) -> float:
    """Frames until one side of the CUSUM passes h; infinity if it does not."""
    best = math.inf
    for side in (z, -z):
        total = np.cumsum(side - k)
        over = total - np.minimum.accumulate(np.minimum(total, 0.0)) > h
        best = min(best, int(over.argmax()) + 1 if over.any() else math.inf)
    return best


def run(
    tables: dict[str, Table], case: str, *, before: int, after: int, learn: int, seed: int
) -> dict[str, float]:
    """One stream: a reference is learned, then come good parts, then drifted ones.

    Returns:
        By chart: frames from the drift on (``after`` > 0) or from the first good part to the alarm.
    """
    rng = np.random.default_rng(seed)
    good, bad = tables["good"], tables[case]
    names = tuple(good)
    charts = (*names, "score_ks", "rejects")
    scored = np.flatnonzero(np.isfinite(good["score"]))
    held = rng.permutation(scored)
    calibration, rest = held[:CALIBRATION], held[CALIBRATION:]
    learned = rng.integers(len(good["brightness"]), size=learn)
    first = rng.integers(len(good["brightness"]), size=before)
    then = rng.integers(len(good["brightness"]), size=after)
    scores = np.concatenate(
        [good["score"][rng.choice(rest, before)], bad["score"][rng.choice(rest, after)]]
    )
    spread = {
        name: long_run_variance(
            normal_scores(
                good["score"][rng.choice(rest, learn)] if name == "score" else good[name][learned],
                np.sort(good[name][scored if name == "score" else learned]),
            )
        )
        for name in names
    }
    found = {}
    for name in names:
        if name == "score":
            reference, pictures = np.sort(good["score"][calibration]), float(CALIBRATION)
            values = scores
        else:
            reference, pictures = np.sort(good[name][learned]), learn / spread[name]
            values = np.concatenate([good[name][first], bad[name][then]])
        z = normal_scores(values, reference) / math.sqrt(spread[name])
        k, h = allowance(pictures), cusum_limit(pictures, share_of(name, charts) / 2)
        found[name] = first_alarm(z, k, h)
    ordered = np.sort(good["score"][calibration])
    limit = ks_limit(
        CALIBRATION, KS_WINDOW / spread["score"], looks=HORIZON / KS_EVERY,
        false_alarms=share_of("score_ks", charts),
    )  # fmt: skip
    looks = range(KS_WINDOW, scores.size + 1, KS_EVERY)
    found["score_ks"] = next(
        (float(n) for n in looks if ks_distance(scores[n - KS_WINDOW : n], ordered) > limit),
        math.inf,
    )
    return {name: at - before if after else at for name, at in found.items()}


def delays(tables: dict[str, Table], learn: int, onsets: int) -> list[dict[str, Any]]:
    """Parts until the first alarm of any chart, for every drift."""
    rows = []
    for case in CASES:
        if case == "good":
            continue
        runs = [
            run(tables, case, before=300, after=2000, learn=learn, seed=seed)
            for seed in range(onsets)
        ]
        # An alarm before the drift is a false one; it is counted apart.
        runs = [{n: at if at > 0 else math.inf for n, at in one.items()} for one in runs]
        parts = np.array([min(one.values()) for one in runs])
        by = [min(one, key=lambda name, one=one: one[name]) for one in runs]
        median, high = (float(v) for v in np.quantile(parts, (0.5, 0.95), method="higher"))
        rows.append(
            {
                "case": case,
                "onsets": onsets,
                "median": median if math.isfinite(median) else None,
                "p95": high if math.isfinite(high) else None,
                "within_200": float((parts <= 200).mean()),
                "chart": max(set(by), key=by.count),
            }
        )
        print(rows[-1], flush=True)
    return rows


def false_alarms(tables: dict[str, Table], learn: int, runs: int) -> dict[str, Any]:
    """Charts that alarm in 100,000 good parts, over runs with references of their own."""
    counts: dict[str, int] = {}
    for seed in range(runs):
        for name, at in run(
            tables, "good", before=HORIZON, after=0, learn=learn, seed=10_000 + seed
        ).items():
            counts[name] = counts.get(name, 0) + math.isfinite(at)
    alarms = sum(counts.values())
    found = {"parts": runs * HORIZON, "runs": runs, "alarms": alarms, "by_chart": counts}
    print(found, flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--fit", type=int, default=200, help="pictures of the engine")
    parser.add_argument("--held", type=int, default=200, help="pictures of the stream")
    parser.add_argument("--shots", type=int, default=4, help="of each held picture, for measures")
    parser.add_argument("--onsets", type=int, default=100)
    parser.add_argument("--runs", type=int, default=20, help="of 100,000 good parts")
    parser.add_argument("--only", nargs="*", help="of mtd, held, demo")
    parser.add_argument("--out", type=Path, help="JSON file instead of benchmarks/results")
    options = parser.parse_args()
    count, rows = options.fit + options.held, []
    makers: dict[str, Callable[[], list[Picture]]] = {
        "mtd": lambda: mtd(count),
        "held": lambda: held_light(mtd(count)),
        "demo": lambda: generated(count),
    }
    for name in options.only or makers:
        pictures = makers[name]()
        folder = Path(tempfile.mkdtemp())
        try:
            runtime = fit(pictures[: options.fit], folder)
            tables = measure(runtime, pictures[options.fit :], options.shots)
        finally:
            shutil.rmtree(folder)
        for learn in (500, 2000):
            rows.append(
                {
                    "stream": name,
                    "fitted_on": options.fit,
                    "pictures": options.held,
                    "calibration": CALIBRATION,
                    "learn": learn,
                    "false_alarms": false_alarms(tables, learn, options.runs),
                    "delays": delays(tables, learn, options.onsets),
                }
            )
    write_result("drift", {"rows": rows}, threads=ops.num_threads(), out=options.out)


if __name__ == "__main__":
    main()
