"""All kernels beside their peers, in one interleaved run.

    python benchmarks/run.py --save
    python benchmarks/run.py --kernels nearest_neighbors greedy_coreset --threads 1
    python benchmarks/run.py --device cuda --json FILE

Prints machine and versions; per contender milliseconds, 90th percentile, ratio to ours with its
95 % interval, largest error, rate, and what part of the ceiling measured in the same run that is.
A kernel whose result is not the reference's is not timed; the others are, and the run fails and
saves nothing. The file of --json is written anew after each kernel.
"""

from __future__ import annotations

import argparse
import importlib
import platform
import sys
import traceback
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
    "convolution",
)
# A device may be lent for minutes: what matters most comes first.
FIRST_ON_CUDA = ("nearest_neighbors", "greedy_coreset")

sys.path.insert(0, str(Path(__file__).resolve().parent / "kernels"))

from compare import RESULTS, Session, parser, shared_session  # noqa: E402

from pyad_edge import ops  # noqa: E402


def main(arguments: list[str] | None = None) -> Session:
    """Run the benchmarks that the command line names; returns what they found.

    Raises:
        SystemExit: if a kernel is wrong, or its benchmark ended with another error.
    """
    options = _parser().parse_args(arguments)
    kernels = options.kernels or KERNELS
    if options.device == "cuda":
        _require_cuda()
        kernels = options.kernels or sorted(KERNELS, key=lambda kernel: kernel not in FIRST_ON_CUDA)
    session = Session(options)
    with shared_session(session):
        for kernel in kernels:
            _run(session, kernel)
            if options.json is not None:
                session.write(options.json)
    if session.failed:
        raise SystemExit(f"[run] failed: {', '.join(session.failed)}; the lines above say why.")
    if options.save:
        about = session.machine
        host = f"{platform.machine()}-{about['level']}-{about['cores']}cores"
        session.write(RESULTS / f"kernels.{host}.json")
    return session


def _run(session: Session, kernel: str) -> None:
    """Run one kernel's benchmark; an error ends it alone."""
    device = session.options.device
    name = kernel if device == "cpu" else f"cuda_{kernel}"
    level = ops.cpu_level()
    try:
        try:
            module = importlib.import_module(name)
        except ModuleNotFoundError as error:
            missing = error.name == name
            session.skip(kernel, f"no benchmark on {device}" if missing else f"needs {error.name}")
            return
        module.main()
    except (Exception, SystemExit) as error:
        if not isinstance(error, SystemExit):
            traceback.print_exc()
        session.failed[kernel] = f"{type(error).__name__}: {error}"
        print(f"{kernel}: FAILED, {session.failed[kernel]}", flush=True)
        ops.set_cpu_level(level)  # it may have been timing another


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
