"""How good ReContrast is after how many iterations, judged without a test picture.

    python benchmarks/recontrast_curve.py --size 128 --iterations 2000

Trains on four fifths of Magnetic Tile Defects' train/good and scores the rest, as it is and with
synthetic defects (structural, and textures from the photographs in ``shared``), at several points
of one training; PatchCore with the same network, pictures and size stands beside it. A small size
makes the paper's number of iterations affordable on a CPU: compare with PatchCore at that size
only. Writes benchmarks/results/recontrast_curve.json after every point.
"""

from __future__ import annotations

import argparse
import copy
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from mtd_patchcore import resnet18_weights
from report import RESULTS, commit, load, machine, shared

from pyad_edge import ops
from pyad_edge.engine import read_engine
from pyad_edge.engine_manifest import Preprocessing
from pyad_edge.export.data import load_dataset
from pyad_edge.export.methods.patchcore import make_settings as patchcore_settings
from pyad_edge.export.methods.recontrast.backbone import build_encoder
from pyad_edge.export.methods.recontrast.batch_norm import give_statistics
from pyad_edge.export.methods.recontrast.engine import export_model
from pyad_edge.export.methods.recontrast.model import ReContrast
from pyad_edge.export.methods.recontrast.settings import make_settings
from pyad_edge.export.methods.recontrast.trainer import Trainer
from pyad_edge.export.onnx import export_backbone
from pyad_edge.export.synthetic import SyntheticSettings
from pyad_edge.export.synthetic_textures import Textures
from pyad_edge.export.train import train_patchcore
from pyad_edge.export.training.device import seed_everything
from pyad_edge.export.training.pictures import PictureSource
from pyad_edge.export.training.sampling import Batches
from pyad_edge.export.validation import scorer, split_validation, validate
from pyad_edge.opening import build_pipeline

RESULT = RESULTS / "recontrast_curve.json"
POINTS = (50, 100, 200, 400, 700, 1000, 1500, 2000)


def figures(pipeline: Any, held: tuple[Path, ...], textures: Textures) -> dict[str, Any]:
    """Validation figures by kind of synthetic defect."""
    return {
        kind: validate(
            scorer(pipeline),
            held,
            preprocessing=pipeline.preprocessing,
            settings=SyntheticSettings(kinds=(kind,)),
            textures=textures,
        ).to_dict()
        for kind in ("structural", "texture")
    }


def patchcore(fit: tuple[Path, ...], size: int, threads: int) -> Any:
    """PatchCore's pipeline on the same pictures."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name, "parts")
        folder.mkdir()
        for path in fit:
            (folder / path.name).symlink_to(path.resolve())
        backbone, out = Path(name, "r18.onnx"), Path(name, "part.pyad")
        export_backbone("resnet18", weights=resnet18_weights(), layers="2,3", out=backbone)
        train_patchcore(
            folder,
            out,
            settings=patchcore_settings(resize=(size, size), aggregation="average"),
            backbone=[str(backbone)],
            threads=threads,
        )
        return build_pipeline(read_engine(out), threads=threads)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--iterations", type=int, default=2000)
    parser.add_argument("--rise", type=float, default=0.1, help="share in which alpha rises")
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="bf16")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, default=RESULT)
    options = parser.parse_args()
    ops.set_num_threads(options.threads)
    torch.set_num_threads(options.threads)
    fit, held = split_validation(load_dataset(shared("data", "mtd")).train, fraction=0.2, seed=0)
    textures = Textures(shared("data", "natural"))
    size = (options.size, options.size)
    settings = make_settings(
        resize=size,
        iterations=options.iterations,
        alpha_rise=options.rise,
        precision=options.precision,
    )
    content: dict[str, Any] = {
        "benchmark": "recontrast_curve",
        "settings": settings.model_dump(mode="json"),
        "pictures": [len(fit), len(held)],
        "commit": commit(),
        "machine": machine(options.threads),
        "points": [],
    }

    def keep() -> None:
        options.out.write_text(json.dumps(content, indent=1) + "\n")

    content["patchcore"] = figures(patchcore(fit, options.size, options.threads), held, textures)
    keep()
    encoder = build_encoder("resnet18", weights=resnet18_weights())
    preprocessing = Preprocessing(
        resize=size, crop=None, mean=encoder.mean, std=encoder.std, color_order="rgb"
    )
    source = PictureSource(fit, preprocessing)
    seed_everything(settings.seed)
    numbers = range(len(source))
    give_statistics(
        encoder.module,
        (torch.from_numpy(source.batch(numbers[i : i + 16])) for i in numbers[::16]),
    )
    trainer = Trainer(ReContrast(encoder.module, encoder.shape), settings)
    order = Batches(len(source), batch=settings.batch, seed=settings.seed)
    losses: list[float] = []
    start = time.perf_counter()
    for iteration in range(settings.iterations):
        pictures = torch.from_numpy(source.batch(order.batch_at(iteration)))
        losses.append(trainer.step(iteration, pictures))
        if iteration + 1 in POINTS or iteration + 1 == settings.iterations:
            exported = export_model(
                copy.deepcopy(trainer.model).eval(),
                settings,
                backbone="resnet18",
                weights_sha256=encoder.weights_sha256,
                preprocessing=preprocessing,
            )
            pipeline = exported.pipeline(threads=options.threads)
            point = {
                "iteration": iteration + 1,
                "loss": sum(losses[-20:]) / 20,
                "seconds": time.perf_counter() - start,
                "load": load(),
                **figures(pipeline, held, textures),
            }
            content["points"].append(point)
            keep()
            print(point, flush=True)


if __name__ == "__main__":
    main()
