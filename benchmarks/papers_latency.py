"""The papers' latencies beside ours and the public algorithm's on this machine.

    python benchmarks/papers_latency.py                     # CPU
    python benchmarks/papers_latency.py --device cuda       # needs the extra [torch] and a GPU

A paper's figure belongs to its device: beside it stand, measured in one run on the machine that is
named, the public PatchCore algorithm (torch and faiss, ``peers/official.py``) and pyad_edge with
the same weights, bank and frames, from the uint8 frame to scores and map. WideResNet-50-2 layers
2+3, 224 px, 1,024 dims, a bank of 1,638 rows: 1 % of 209 pictures, the mean of MVTec AD. The
weights are random, since no published ones come with this repository: times only, but scores are
compared before any clock. GRAD and FOD have benchmarks of their own (grad_latency.py,
fod_latency.py), whose figures the page's table takes.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent / "peers"))

import numpy as np
import timm
import torch
from report import load, median_interval, mtd_pictures, write_result
from safetensors.torch import save_file

from pyad_edge import Runtime, ops
from pyad_edge.export.backbones import resolve_backbone
from pyad_edge.export.methods.patchcore import (
    calibrate,
    export_engine,
    fit,
    golden_frames,
    make_settings,
)
from pyad_edge.export.onnx import export_backbone
from pyad_edge.export.papers.published import latency_claims
from pyad_edge.preprocessing import to_batch

SIZE, DIM, ROWS, FITTED, CALIBRATED = 224, 1024, 1638, 24, 4
PATCHES = (SIZE // 8) ** 2
# Largest relative difference of a picture's score from the public form's in float32 on the CPU; on
# GPUs convolutions have fewer bits (TF32, or what --precision says).
TOLERANCE = {"cpu": 1e-3, "cuda": 0.02}
BLOCK, SETTLE = 6, 2


CLAIMS = latency_claims()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--precision", help="of ours, on cuda; the public algorithm stays float32")
    parser.add_argument("--threads", type=int, default=2, help="of everybody")
    parser.add_argument("--rounds", type=int, default=10, help="blocks of each")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    ops.set_num_threads(options.threads)
    found = measure(options)
    claims = [dataclasses.asdict(claim) for claim in CLAIMS]
    for claim in claims:
        ours = f"{found['ours']['ms']:.2f} ms" if claim["method"] == "patchcore" else "not measured"
        print(f"{claim['where']}: {claim['printed']} on {claim['device']}; here: {ours}")
    name = "papers_latency" if options.device == "cpu" else "papers_latency_cuda"
    content = {"claims": claims, "patchcore": found}
    write_result(name, content, threads=options.threads, out=options.out)


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """PatchCore's public form and ours, block by block in turn."""
    from contenders import frames_of
    from official import official

    torch.manual_seed(0)
    network = timm.create_model("wide_resnet50_2", features_only=True, out_indices=(2, 3)).eval()
    with tempfile.TemporaryDirectory() as name:
        engine = make_engine(Path(name), network)
        backend = "onnxruntime" if options.device == "cpu" else "torch"
        runtime = Runtime(
            engine,
            backend=backend,
            precision=options.precision,
            device=options.device,
            threads=options.threads,
        )
    frames = frames_of((SIZE, SIZE))
    preprocessing = runtime.engine.manifest.preprocessing
    batches = [to_batch([frame], preprocessing) for frame in frames]
    bank = np.array(runtime.engine.tensors["bank/features"])
    forms = {
        f"eager{', channels last' if last else ''}": official(
            network, bank, threads=options.threads, channels_last=last, device=options.device
        )
        for last in (False, True)
    }
    plain = official(network, bank, threads=options.threads, channels_last=False)
    expected = [float(plain(batch)[0][0]) for batch in batches]
    tolerance = TOLERANCE[options.device]
    worst = _difference([runtime.infer(frame).score for frame in frames], expected)
    for form, run in forms.items():
        theirs = _difference([float(run(batch)[0][0]) for batch in batches], expected)
        if not theirs <= tolerance:
            raise SystemExit(f"{form}: scores differ by {theirs:.1e}; not timed.")
    if not worst <= tolerance:
        raise SystemExit(f"scores differ by {worst:.1e}, more than {tolerance}; not timed.")
    runs: dict[str, Callable[[int], object]] = {"ours": lambda i: runtime.infer(frames[i])}
    for form, run in forms.items():
        runs[form] = lambda i, run=run: run(batches[i])  # type: ignore[misc]
    busy = load()
    blocks: dict[str, list[float]] = {name: [] for name in runs}
    for number in range(options.rounds + 1):  # the first is not counted
        for name, timed in runs.items():
            times = []
            for i in range(BLOCK):
                start = time.perf_counter()
                timed((number * BLOCK + i) % len(frames))
                times.append((time.perf_counter() - start) * 1e3)
            if number:
                blocks[name].append(float(np.median(times[SETTLE:])))
    fastest = min(forms, key=lambda form: np.median(blocks[form]))
    ratio, low, high = median_interval(np.array(blocks[fastest]) / np.array(blocks["ours"]))
    gpu = torch.cuda.get_device_name() if options.device == "cuda" else None
    result = {
        "device": gpu or f"this machine's CPU, {options.threads} threads",
        "size": SIZE,
        "bank": list(bank.shape),
        "weights": "random",
        "backend": dict(runtime.info["backend"]),
        "score_difference": worst,
        "tolerance": tolerance,
        "load": busy,
        "ours": {"ms": float(np.median(blocks["ours"]))},
        "official": {"ms": float(np.median(blocks[fastest])), "form": fastest},
        "times_ours": ratio,
        "interval": [low, high],
    }
    print(f"ours {result['ours']}, public algorithm {result['official']}, {ratio:.2f} times ours")
    return result


def _difference(scores: list[float], expected: list[float]) -> float:
    """Largest relative difference; NaN if there is one."""
    return float(np.abs(np.array(scores) / np.array(expected) - 1).max())


def make_engine(folder: Path, network: torch.nn.Module) -> Path:
    """An engine of this network on MTD's pictures, official embedding and score."""
    train, _, _ = mtd_pictures()
    weights, onnx, engine = (folder / f"wrn50{end}" for end in (".safetensors", ".onnx", ".pyad"))
    save_file({k: v.contiguous() for k, v in network.state_dict().items()}, weights)
    export_backbone("wide_resnet50_2", weights=weights, layers="2,3", out=onnx)
    settings = make_settings(
        resize=(SIZE, SIZE),
        pre_dim=DIM,
        target_dim=DIM,
        coreset=(ROWS + 0.5) / (FITTED * PATCHES),
        scoring="maximum",
        holdout=0.0,
    )
    model = fit(train[:FITTED], resolve_backbone(onnx), settings)
    pipeline = model.pipeline()
    calibration = calibrate(pipeline, train[FITTED : FITTED + CALIBRATED])
    golden = golden_frames(train)
    return export_engine(engine, model, pipeline, calibration, golden=golden, fingerprint="0" * 64)


if __name__ == "__main__":
    main()
