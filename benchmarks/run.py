"""All kernels beside their peers, in one interleaved run.

    python benchmarks/run.py --save
    python benchmarks/run.py --kernels nearest_neighbors greedy_coreset --threads 1
    python benchmarks/run.py --device cuda --json FILE

Prints machine and versions; per contender milliseconds, 90th percentile, ratio to ours with its
95 % interval, largest error, rate, and what part of the ceiling measured in the same run that is.
A kernel whose result is not the reference's ends the run: it is not timed.
"""

from __future__ import annotations

import argparse
import importlib
import platform
import sys
from pathlib import Path

KERNELS = (
    "preprocess",
    "patch_aggregation",
    "nearest_neighbors",
    "rerank",
    "greedy_coreset",
    "anomaly_map",
    "cosine_distance_map",
    "density_weights",
    "correlation_divergence",
)

sys.path.insert(0, str(Path(__file__).resolve().parent / "kernels"))

from compare import RESULTS, Session, parser, shared_session  # noqa: E402


def main(arguments: list[str] | None = None) -> Session:
    """Run the benchmarks that the command line names; returns what they found.

    Raises:
        SystemExit: if a kernel is wrong.
    """
    options = _parser().parse_args(arguments)
    if options.device == "cuda":
        _require_cuda()
    session = Session(options)
    with shared_session(session):
        for kernel in options.kernels or KERNELS:
            name = kernel if options.device == "cpu" else f"cuda_{kernel}"
            try:
                module = importlib.import_module(name)
            except ModuleNotFoundError as error:
                missing = error.name == name
                why = f"no benchmark on {options.device}" if missing else f"needs {error.name}"
                session.skip(kernel, why)
                continue
            module.main()
    if options.json is not None:
        session.write(options.json)
    if options.save:
        about = session.machine
        host = f"{platform.machine()}-{about['level']}-{about['cores']}cores"
        session.write(RESULTS / f"kernels.{host}.json")
    return session


def _require_cuda() -> None:
    try:
        torch = importlib.import_module("torch")
    except ImportError as error:
        raise SystemExit("[run] --device cuda needs torch, which is not installed.") from error
    if not torch.cuda.is_available():
        raise SystemExit("[run] --device cuda needs a CUDA device, and torch sees none here.")


def _parser() -> argparse.ArgumentParser:
    made = parser(__doc__ or "")
    made.add_argument("--kernels", nargs="+", choices=KERNELS, help="default: all")
    made.add_argument("--save", action="store_true", help="write to benchmarks/results/ too")
    made.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    return made


if __name__ == "__main__":
    main()
