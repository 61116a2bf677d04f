"""The approximate index beside exact search, over a memory bank that is not subsampled (MTD).

    python benchmarks/ivfpq.py
    python benchmarks/ivfpq.py --tiles 629 --defaults

ResNet-18 layers 2+3 (384 dims) at 224 px; all 784 patches of each of the first 209 good tiles are
bank rows. Every second test picture, good and not, is scored exactly and with the defaults of
``plan_index``; a quarter of these (``--every``) with other settings, one number changed at a time.
Searches of single frames are timed in turn, all contenders in one run. Fails where a distance is
smaller than the exact one.
"""

from __future__ import annotations

import argparse
import gc
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mtd_patchcore import DIM, Progress, resnet18
from numpy.typing import NDArray
from report import load, median_interval, mtd_pictures, write_result

from pyad_edge import ops, read_image
from pyad_edge.backends.onnxruntime import OnnxRuntimeBackend
from pyad_edge.engine_manifest import IvfPqSettings
from pyad_edge.export.methods.patchcore import PatchCoreModel, fit, make_settings
from pyad_edge.export.methods.patchcore.index import plan_index, train_index
from pyad_edge.export.metrics import image_auroc
from pyad_edge.heads.approximate_index import ApproximateBank
from pyad_edge.heads.memory_bank import MemoryBankHead, PatchScores, embed
from pyad_edge.preprocessing import to_batch

SIZE = 224
TILES = 209
TIMED_FRAMES = 16
PAUSE = 0.01  # seconds before a timed search: faiss's threads spin for a while after theirs
AROUND: tuple[dict[str, int], ...] = (
    {"nprobe": 4},
    {"nprobe": 8},
    {"nprobe": 32},
    {"candidates": 16},
    {"candidates": 256},
    {"pq_m": 48},
)

Array = NDArray[np.float32]
Levels = Sequence[Array]


def main() -> None:
    options = _arguments()
    ops.set_num_threads(options.threads)
    train, test, defective = mtd_pictures()
    test, defective = test[::2], defective[::2]
    backbone = resnet18()
    model = fit(
        train[: options.tiles], backbone, _settings(), threads=options.threads, progress=Progress()
    )
    backend = OnnxRuntimeBackend(backbone.model, outputs=backbone.layers, threads=options.threads)
    levels = [backend.run(to_batch([read_image(path)], model.preprocessing)) for path in test]
    M, D = model.bank.shape
    print(f"bank {M:,} x {D}, level {ops.cpu_level()} (load {load()})", flush=True)

    exact, megabytes, seconds = _opened(lambda: MemoryBankHead(model.bank, model.head))
    right = _scores(exact, levels)
    auroc = image_auroc(defective, _images(right))
    exact_row = {"image_auroc": auroc, "open_megabytes": megabytes, "open_seconds": seconds}
    print(f"  exact: AUROC {auroc:.4f}, opens with {megabytes:.0f} MB", flush=True)

    heads, rows = [exact], []
    trained: dict[tuple[int, int, int], tuple[NDArray[np.uint8], float]] = {}
    for n, change in enumerate(({}, *(() if options.defaults else AROUND))):
        plan = plan_index(_settings(**change), M=M, D=D, neighbors=model.head.neighbors)
        assert plan is not None
        key = (plan.nlist, plan.m, plan.nbits)
        if key not in trained:
            start = time.perf_counter()
            data = train_index(model.bank, plan, seed=0)
            trained[key] = data, time.perf_counter() - start
        data, train_seconds = trained[key]
        head, megabytes, seconds = _opened(lambda d=data, p=plan: _approximate(model, d, p))
        every = 1 if n == 0 else options.every
        guess = _scores(head, levels[::every])
        rows.append(
            {
                **plan.model_dump(),
                "index_megabytes": data.nbytes / 1e6,
                "train_seconds": train_seconds,
                "open_megabytes": megabytes,
                "open_seconds": seconds,
                **_missed(right[::every], guess, defective[::every]),
            }
        )
        if n == 0:  # on the pictures that the other settings have, to compare with them
            some = slice(None, None, options.every)
            rows[0]["some"] = _missed(right[some], guess[some], defective[some])
        heads.append(head)
        print(f"  {_line(rows[-1])}", flush=True)

    print(f"timing (load {load()})", flush=True)
    times = _times(heads, levels, options.rounds)
    exact_row["ms"] = [round(v, 2) for v in median_interval(times[:, 0])]
    for n, row in enumerate(rows, 1):
        row["ms"] = [round(v, 2) for v in median_interval(times[:, n])]
        row["exact/index"] = [round(v, 3) for v in median_interval(times[:, 0] / times[:, n])]
        print(f"  {_line(row)}: {row['ms'][0]:.1f} ms, exact / this {row['exact/index']}")
    write_result(
        "ivfpq" if options.tiles == TILES else f"ivfpq-{options.tiles}",
        {"size": SIZE, "bank": [M, D], "queries": 784, "exact": exact_row, "rows": rows},
        threads=options.threads,
        out=options.out,
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--tiles", type=int, default=TILES, help="good pictures in the bank")
    parser.add_argument("--defaults", action="store_true", help="no other settings of the index")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--every", type=int, default=4, help="of the pictures, for other settings")
    parser.add_argument("--rounds", type=int, default=32, help="of timed searches")
    parser.add_argument("--out", type=Path)
    return parser.parse_args()


def _settings(**index: int) -> Any:
    return make_settings(
        resize=(SIZE, SIZE),
        pre_dim=DIM,
        target_dim=DIM,
        coreset=1.0,
        holdout=0.0,
        index="ivfpq",
        **index,
    )


def _approximate(
    model: PatchCoreModel, data: NDArray[np.uint8], plan: IvfPqSettings
) -> MemoryBankHead:
    bank = ApproximateBank(model.bank, data, plan)
    return MemoryBankHead(model.bank, model.head, approximate=bank)


def _opened(build: Callable[[], MemoryBankHead]) -> tuple[MemoryBankHead, float, float]:
    """A head, the memory in MB that it holds beside the rows, and the seconds it took to build."""
    gc.collect()
    before, start = _resident(), time.perf_counter()
    head = build()
    seconds = time.perf_counter() - start
    return head, (_resident() - before) / 1e6, seconds


def _resident() -> int:
    pages = Path("/proc/self/statm").read_text().split()[1]
    return int(pages) * 4096


def _scores(head: MemoryBankHead, levels: Sequence[Levels]) -> list[PatchScores]:
    return [head.score(picture) for picture in levels]


def _images(scores: Sequence[PatchScores]) -> NDArray[np.float64]:
    return np.array([float(score.image[0]) for score in scores])


def _missed(
    right: Sequence[PatchScores], guess: Sequence[PatchScores], defective: NDArray[np.bool_]
) -> dict[str, Any]:
    """Recall and relative errors, of good and of defective pictures; image AUROC of both searches.

    Raises:
        SystemExit: if a distance is smaller than that of the exact search.
    """
    wanted = np.stack([score.distances.ravel() for score in right])
    found = np.stack([score.distances.ravel() for score in guess])
    if (found < wanted).any():
        raise SystemExit("a distance is smaller than the exact one")
    errors = (found - wanted) / np.maximum(wanted, 0.01 * wanted.mean(dtype=np.float64))
    images = np.abs(_images(guess) - _images(right)) / _images(right)
    result: dict[str, Any] = {"pictures": len(right)}
    for name, chosen in (("good", ~defective), ("defective", defective)):
        result[name] = {
            "recall_at_1": float((found == wanted)[chosen].mean()),
            "patch_mean": float(errors[chosen].mean()),
            "patch_max": float(errors[chosen].max()),
            "image_mean": float(images[chosen].mean()),
            "image_max": float(images[chosen].max()),
        }
    result["image_auroc"] = image_auroc(defective, _images(guess))
    result["exact_image_auroc"] = image_auroc(defective, _images(right))
    return result


def _times(
    heads: Sequence[MemoryBankHead], levels: Sequence[Levels], rounds: int
) -> NDArray[np.float64]:
    """Milliseconds (rounds, heads) of searching one frame's patches."""
    chosen = levels[:: len(levels) // TIMED_FRAMES][:TIMED_FRAMES]
    frames = [embed(picture, heads[0].settings).reshape(-1, DIM) for picture in chosen]
    times = np.empty((rounds, len(heads)))
    for head in heads:
        head._bank.search(frames[0])
    for r in range(rounds):
        for n, head in enumerate(heads):
            time.sleep(PAUSE)
            start = time.perf_counter()
            head._bank.search(frames[r % len(frames)])
            times[r, n] = (time.perf_counter() - start) * 1e3
    return times


def _line(row: dict[str, Any]) -> str:
    good, bad = row["good"], row["defective"]
    return (
        f"m {row['m']}, nprobe {row['nprobe']}, candidates {row['candidates']} "
        f"({row['index_megabytes']:.1f} MB): recall {good['recall_at_1']:.4f} good "
        f"{bad['recall_at_1']:.4f} defective, picture errors {good['image_mean']:.4f} "
        f"{bad['image_mean']:.4f}, AUROC {row['image_auroc']:.4f} "
        f"(exact {row['exact_image_auroc']:.4f})"
    )


if __name__ == "__main__":
    main()
