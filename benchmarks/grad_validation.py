"""GRAD's settings on held-out training pictures of MTD with synthetic defects.

    python benchmarks/grad_validation.py --folder DIR --level 68 --variants base beta=2 beta=30

One detector a variant, trained as those of Table 4 in ``mtd_grad.py`` are, on the windows that it
generated (new ones of the same PatchDiffs, where the variant asks for others), scores the good
pictures that the training holds out, as they are and with a synthetic defect. A variant is
``base`` or ``SETTING=VALUE``, several joined by commas. The test set is never looked at.
"""

from __future__ import annotations

import argparse
import json
import shutil
import time
from pathlib import Path
from typing import Any

import torch
from mtd_grad import ABLATION_STEPS, SETTINGS, SHORT
from mtd_methods import Lines
from report import RESULTS, commit, load, machine, shared

from pyad_edge import ops
from pyad_edge.engine_manifest import Preprocessing
from pyad_edge.export.methods.grad.engine import export_model
from pyad_edge.export.methods.grad.fit import fit
from pyad_edge.export.methods.grad.settings import make_settings
from pyad_edge.export.methods.grad.work import WorkFolder
from pyad_edge.export.training.pictures import PictureSource
from pyad_edge.export.training.stages import open_data
from pyad_edge.export.validation import scorer, validate

RESULT = RESULTS / "grad_validation.json"
SHORTER = {"detector_steps": ABLATION_STEPS}


def values_of(variant: str) -> dict[str, Any]:
    """``beta=2,queue=1024`` as settings."""
    if variant == "base":
        return {}
    pairs = (part.split("=") for part in variant.split(","))
    return {name: json.loads(value) for name, value in pairs}


def measure(variant: str, *, level: int, seed: int, folder: Path, threads: int) -> dict[str, Any]:
    start = time.perf_counter()
    own: dict[str, Any] = SHORT | SETTINGS["mtd"] | SHORTER | values_of(variant)
    settings = make_settings(levels=(level,), seed=seed, **own)
    pictures = open_data(
        shared("data", "mtd"),
        holdout=settings.holdout,
        seed=seed,
        resize=settings.resize,
        crop=settings.crop,
    )
    preprocessing = Preprocessing(
        resize=settings.resize, crop=None, mean=(0.5,) * 3, std=(0.5,) * 3, color_order="rgb"
    )
    work = folder / f"validation-{level}-{variant}"
    work.mkdir(exist_ok=True)
    made = folder / f"mtd-seed{seed}"
    for kind in ("samples", "patchdiff"):
        for file in made.glob(f"{kind}-{level}-*.safetensors"):
            if not (work / file.name).exists():
                shutil.copyfile(file, work / file.name)
    model, fits = fit(
        PictureSource(pictures.fit, preprocessing),
        PictureSource(pictures.held, preprocessing),
        settings,
        identity={"method": "grad", "fingerprint": pictures.fingerprint},
        work=WorkFolder(work, resume=True),
        device=torch.device("cpu"),
        progress=Lines(),
    )
    pipeline = export_model(model, settings, preprocessing=preprocessing).pipeline(threads=threads)
    found = validate(scorer(pipeline), pictures.held, preprocessing=preprocessing, seed=seed)
    return {
        "variant": variant,
        "level": level,
        "seed": seed,
        **found.to_dict(),
        "steps": fits[0].report.steps,
        "windows_reused": list(fits[0].reused),
        "seconds": time.perf_counter() - start,
        "settings": settings.model_dump(mode="json"),
        "commit": commit(),
        "load": load(),
        "machine": machine(threads),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--level", type=int, choices=(34, 68, 136), default=68)
    parser.add_argument("--variants", nargs="+", default=["base"])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, default=RESULT)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    ops.set_num_threads(options.threads)
    for variant in options.variants:
        done = measure(
            variant,
            level=options.level,
            seed=options.seed,
            folder=options.folder,
            threads=options.threads,
        )
        same = (variant, options.level, options.seed)
        rows = json.loads(options.out.read_text())["rows"] if options.out.exists() else []
        rows = [r for r in rows if (r["variant"], r["level"], r["seed"]) != same] + [done]
        options.out.write_text(
            json.dumps({"benchmark": "grad_validation", "rows": rows}, indent=1) + "\n"
        )
        print(f"{variant} level {options.level}: {done['image_auroc']:.4f}, "
              f"{done['pixel_auroc']:.4f}, {done['aupro']:.4f}", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
