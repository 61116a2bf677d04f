"""The input gate on real pictures: false alarms, what it finds, and what it costs.

    python benchmarks/gate.py

Good pictures of MTD, generated parts, and 1,000 photographs; each also made black, white, blurred
(Gaussian of 2 pixels), and torn: the upper part is another picture's, which the gate has not seen.
Limits come from the centre of the first picture, as they come from an engine's golden picture.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from report import mtd_pictures, shared, write_result

from pyad_edge import read_image
from pyad_edge.export.demo.part import write_dataset
from pyad_edge.export.methods.patchcore import golden_frames
from pyad_edge.streaming.gate import Gate, GateReference, GateSettings

SETTINGS = GateSettings(wrong_size=False)  # MTD and photographs come in many sizes
CODES = ("black", "white", "frozen", "torn", "blurred")
Picture = NDArray[np.uint8]


def spoiled(
    picture: Picture, other: Picture, rng: np.random.Generator
) -> Iterator[tuple[str, Picture]]:
    """The picture with each fault."""
    yield "black", (picture // 25).astype(np.uint8)
    yield "white", np.maximum(picture, 252)
    yield "blurred", cv2.GaussianBlur(picture, (0, 0), 2.0).astype(np.uint8)
    H, W = (min(a, b) for a, b in zip(picture.shape[:2], other.shape[:2], strict=True))
    torn = picture[:H, :W].copy()
    seam = int(H * rng.uniform(0.2, 0.8))
    torn[:seam] = other[:seam, :W]
    yield "torn", torn


def examine(paths: list[Path]) -> dict[str, Any]:
    """Rates of one set of pictures; a fresh gate for each spoiled one, as nothing came before."""
    rng = np.random.default_rng(0)
    reference = GateReference.of(golden_frames(paths[:1])[0], SETTINGS)
    line = Gate(SETTINGS, reference, camera="line")
    alarms: Counter[str] = Counter()
    found: Counter[str] = Counter()
    other = read_image(paths[-1])
    for path in paths:
        picture = read_image(path)
        fault = line.check(picture)
        if fault is not None:
            alarms[fault.code.value] += 1
        for kind, bad in spoiled(picture, other, rng):
            fault = Gate(SETTINGS, reference, camera="line").check(bad)
            found[kind] += fault is not None and fault.code.value == kind
        other = picture
    return {
        "pictures": len(paths),
        "limits": line.limits(),
        "false_alarms": {code: alarms[code] for code in CODES},
        "found": {code: found[code] / len(paths) for code in CODES if code != "frozen"},
    }


def cost() -> dict[str, float]:
    """Milliseconds a frame; frames change, as a camera's do, so none lies in a cache."""
    rng = np.random.default_rng(0)
    result = {}
    for name, shape in (("640x480 colour", (480, 640, 3)), ("640x480 mono", (480, 640))):
        frames = [rng.integers(0, 256, shape, dtype=np.uint8) for _ in range(16)]
        gate = Gate(GateSettings(), GateReference(), camera="line")
        times = []
        for n in range(500):
            start = time.perf_counter()
            gate.check(frames[n % len(frames)])
            times.append((time.perf_counter() - start) * 1e3)
        result[name] = float(np.median(times))
    return result


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--out", type=Path, help="JSON file instead of benchmarks/results")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    train, test, defect = mtd_pictures()
    good = [path for path, bad in zip(test, defect, strict=True) if not bad]
    with tempfile.TemporaryDirectory() as name:
        data = write_dataset(Path(name), seed=5, train=200, good=100, per_defect=1, size=256)
        parts = sorted((data / "train" / "good").iterdir())
        sets = {
            "MTD, good": train + good,
            "MTD, defects": [path for path, bad in zip(test, defect, strict=True) if bad],
            "generated parts": parts + sorted((data / "test" / "good").iterdir()),
            "photographs": sorted(shared("data", "natural").iterdir()),
        }
        content: dict[str, Any] = {"sets": {}, "milliseconds": cost()}
        for title, paths in sets.items():
            content["sets"][title] = examine(paths)
            print(title, content["sets"][title])
    print(content["milliseconds"])
    write_result("gate", content, threads=1, out=options.out)


if __name__ == "__main__":
    main()
