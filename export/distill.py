"""Distils ResNet-18's layer2 and layer3 into `edge18`. The recipe and its results: distill.md.

    python -m pyad_edge.export.distill --natural DIR --teacher FILE --out edge18.onnx \
        --work DIR --budget 76m --seed 0
"""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer

from pyad_edge.export import student as edge18
from pyad_edge.export import textures
from pyad_edge.export.distill_pictures import ahead, batches, load_naturals, normalised
from pyad_edge.export.distill_validation import SURFACE, evaluate, load_teacher, validation_sets

if TYPE_CHECKING:
    import torch

    Batch = list[tuple[torch.Tensor, list[torch.Tensor]]]  # per worker: pictures, answers

WORKERS = 2  # cores to train on


@dataclass(frozen=True)
class Settings:
    """What shapes a run; `budget` is seconds of training on the wall clock."""

    budget: float
    seed: int = 0
    textures: int = 2400
    learning_rate: float = 2e-3
    weight_decay: float = 0.02
    average: float = 0.9995
    reuse: int = 3
    buffer: int = 160
    freeze_norms_at: float = 0.8
    patch_weight: float = 0.7


def loss_of(
    pre: torch.Tensor, target: torch.Tensor, scale: torch.Tensor, patch_weight: float
) -> torch.Tensor:
    """Error of one level: per standardised channel, plus per patch vector relative to its picture.

    Args:
        pre: (N, C, h, w) float32, the student's pre-activation, in units of `scale`.
        target: (N, C, h, w) float32, the teacher's feature after ReLU.
        scale: (C,) deviation of the teacher's channels.
        patch_weight: Weight of the second part.

    Returns:
        Scalar.
    """
    import torch
    from torch.nn.functional import avg_pool2d

    scale = scale.view(-1, 1, 1)
    wanted = target / scale
    # Where the teacher is silent any negative answer is right; where it is not, looking at the
    # pre-activation keeps a gradient on units that are wrongly off.
    error = torch.where(wanted > 0, pre - wanted, pre.relu())
    # PatchCore averages 3x3 positions and compares unscaled channels, within one product: what
    # counts is the error against the variation inside the picture, however faint its contrast.
    patches = avg_pool2d(target, 3, 1, 1, count_include_pad=False)
    varies = (patches - patches.mean((2, 3), keepdim=True)).square().sum(1).mean((1, 2))
    miss = avg_pool2d(error * scale, 3, 1, 1, count_include_pad=False).square().sum(1).mean((1, 2))
    relative = (miss / (varies + 0.05 * varies.mean())).mean()
    return error.square().mean() + patch_weight * relative


def save_state(path: Path, tensors: dict[str, torch.Tensor], note: dict[str, Any]) -> None:
    """Writes a safetensors file in one step, so that a reader never meets half a file."""
    from safetensors.torch import save_file

    temporary = path.with_suffix(".tmp")
    save_file(
        {k: v.detach().clone().contiguous() for k, v in tensors.items()},
        temporary, metadata={"note": json.dumps(note)},
    )  # fmt: skip
    temporary.replace(path)


def export(out: Path, student: torch.nn.Module, scales: list[torch.Tensor]) -> None:
    """Folds the student and writes the ONNX file in one step."""
    weights = edge18.fold(student, tuple(s.numpy() for s in scales))
    temporary = out.with_suffix(".tmp")
    temporary.write_bytes(edge18.onnx_student(weights).SerializeToString())
    temporary.replace(out)


def train(
    settings: Settings, *, natural: Path, teacher_file: Path, out: Path, work: Path
) -> dict[str, float]:
    """Runs the recipe; a state file in `work` is taken up as the starting point of a new cycle.

    Returns:
        The last validation figures, see `evaluate`.
    """
    import torch

    torch.manual_seed(settings.seed)
    work.mkdir(parents=True, exist_ok=True)
    log = (work / "log.txt").open("a", buffering=1)
    naturals, held_out = load_naturals(natural)
    made = np.random.default_rng([settings.seed, 1])
    surfaces = [textures.texture(made, SURFACE) for _ in range(settings.textures)]
    sets = validation_sets(held_out, settings.seed)
    teacher = load_teacher(teacher_file)
    model = edge18.torch_student().to(memory_format=torch.channels_last)
    mean_model = edge18.torch_student().to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(
        model.parameters(), settings.learning_rate, weight_decay=settings.weight_decay
    )
    state_file, steps, trained = work / "state.safetensors", 0, 0.0
    if resumed := state_file.exists():
        from safetensors import safe_open

        with safe_open(state_file, "pt") as state:
            note = json.loads(state.metadata()["note"])
            tensors = {k: state.get_tensor(k) for k in state.keys()}  # noqa: SIM118
        scales = [tensors.pop(f"scale{i}") for i in (2, 3)]
        model.load_state_dict({k.removeprefix("model."): v for k, v in tensors.items()
                               if k.startswith("model.")})  # fmt: skip
        mean_model.load_state_dict({k.removeprefix("mean."): v for k, v in tensors.items()
                                    if k.startswith("mean.")})  # fmt: skip
        steps, trained = note["steps"], note["trained"]
    rng = np.random.default_rng([settings.seed, 0, steps])
    source = ahead(batches(np.random.default_rng([settings.seed, 3, steps]), naturals, surfaces))
    if not resumed:
        mean_model.load_state_dict(model.state_dict())
        with torch.inference_mode():
            probe = [teacher(normalised(next(source)).bfloat16()) for _ in range(24)]
        scales = [
            torch.cat([p[i].float().transpose(0, 1).flatten(1) for p in probe], 1).std(1) + 1e-3
            for i in (0, 1)
        ]

    def checkpoint() -> dict[str, float]:
        tensors = {f"model.{k}": v for k, v in model.state_dict().items()}
        tensors |= {f"mean.{k}": v for k, v in mean_model.state_dict().items()}
        tensors |= {"scale2": scales[0], "scale3": scales[1]}
        save_state(state_file, tensors, {"steps": steps, "trained": trained})
        export(out, mean_model, scales)
        figures = evaluate(teacher, mean_model, scales, sets)
        print(json.dumps({"steps": steps, "minutes": round(trained / 60, 1)} | {
            k: round(v, 4) for k, v in figures.items()}), file=log)  # fmt: skip
        return figures

    def answered(image: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
        with torch.inference_mode():
            answers = teacher(image)
        # Cloned out of inference mode, so that the loss may save them for its backward pass.
        return image, [a.clone() for a in answers]

    parameters = list(model.parameters())

    def gradients(part: tuple[torch.Tensor, list[torch.Tensor]]) -> tuple[float, Any]:
        image, targets = part
        with torch.autocast("cpu", torch.bfloat16):
            pre = model(image)
        loss = torch.zeros(())
        for p, t, scale in zip(pre, targets, scales, strict=True):
            loss = loss + loss_of(p.float(), t.float(), scale, settings.patch_weight)
        return loss.item(), torch.autograd.grad(loss, parameters)

    # Each worker takes its share of a batch through the whole net on one core. They meet once per
    # step instead of at every operator, which on a shared machine is several times faster.
    workers = ThreadPoolExecutor(WORKERS, initializer=torch.set_num_threads, initargs=(1,))
    buffer: list[Batch] = []
    start, last_saved, running, cycle = time.monotonic(), time.monotonic(), 0.0, 0
    before = trained
    while (elapsed := time.monotonic() - start) < settings.budget:
        fraction = elapsed / settings.budget
        trained = before + elapsed
        warm = min(1.0, (cycle + 1) / 200)
        rate = settings.learning_rate * warm * (0.5 + 0.5 * np.cos(np.pi * fraction)) + 1e-6
        for group in optimizer.param_groups:
            group["lr"] = rate
        model.train()
        if fraction > settings.freeze_norms_at:
            for module in model.modules():
                if isinstance(module, torch.nn.BatchNorm2d):
                    module.eval()
        # The teacher's answers are kept and met again `reuse` times on average.
        if cycle % settings.reuse == 0 or len(buffer) < 8:
            image = normalised(next(source)).bfloat16()
            half = len(image) // WORKERS
            picked: Batch = list(workers.map(answered, image.split(half)[:WORKERS]))
            if len(buffer) < settings.buffer:
                buffer.append(picked)
            else:
                buffer[rng.integers(len(buffer))] = picked
        else:
            picked = buffer[rng.integers(len(buffer))]
        results = list(workers.map(gradients, picked))
        for parameter, *parts in zip(parameters, *(r[1] for r in results), strict=True):
            parameter.grad = torch.stack(parts).mean(0)
        torch.nn.utils.clip_grad_norm_(parameters, 2.0)
        optimizer.step()
        loss = sum(r[0] for r in results) / WORKERS
        steps, cycle = steps + 1, cycle + 1
        keep = min(settings.average, (1 + steps) / (10 + steps))
        with torch.no_grad():
            own = model.state_dict()
            for name, value in mean_model.state_dict().items():
                if value.is_floating_point():
                    value.lerp_(own[name], 1 - keep)
        running += (loss - running) * (0.02 if cycle > 50 else 0.2)
        if cycle % 100 == 0:
            print(f"{steps} {trained / 60:.1f} min lr {rate:.5f} loss {running:.4f}", file=log)
        if time.monotonic() - last_saved > 180:
            checkpoint()
            last_saved = time.monotonic()
    return checkpoint()


def seconds(text: str) -> float:
    """'90s', '60m', '1.5h' or plain seconds."""
    unit = {"s": 1, "m": 60, "h": 3600}
    return float(text[:-1]) * unit[text[-1]] if text[-1] in unit else float(text)


def main(
    natural: Annotated[Path, typer.Option(help="folder of *.jpg photographs")],
    teacher: Annotated[Path, typer.Option(help="resnet18 to layer3, safetensors")],
    out: Annotated[Path, typer.Option(help="ONNX file to write")],
    work: Annotated[Path, typer.Option(help="folder for the log and the resumable state")],
    budget: Annotated[str, typer.Option(help="training time: 90s, 60m, 1.5h")] = "80m",
    seed: Annotated[int, typer.Option(help="seed of weights, crops and textures")] = 0,
    learning_rate: Annotated[float, typer.Option(help="peak of the cosine")] = 2e-3,
    freeze_norms_at: Annotated[
        float, typer.Option(help="share of the budget after which batch norm keeps its statistics")
    ] = 0.8,
) -> None:
    """Distils edge18 and prints its held-out figures as JSON."""
    settings = Settings(
        budget=seconds(budget),
        seed=seed,
        learning_rate=learning_rate,
        freeze_norms_at=freeze_norms_at,
    )
    figures = train(settings, natural=natural, teacher_file=teacher, out=out, work=work)
    typer.echo(json.dumps(figures))


if __name__ == "__main__":
    typer.run(main)
