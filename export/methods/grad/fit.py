"""Train all detectors: generate windows level by level, learn from them, measure normal scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import torch

from pyad_edge.errors import DataError
from pyad_edge.export.methods.grad.batches import PatchBatches
from pyad_edge.export.methods.grad.detector import LEVELS, Detector, GradModel
from pyad_edge.export.methods.grad.patch_diff import generate, train_patchdiff
from pyad_edge.export.methods.grad.samples import Samples, load_samples, save_samples
from pyad_edge.export.methods.grad.settings import REACHES_OF, GradSettings
from pyad_edge.export.methods.grad.sheets import sample_sheet, weight_sheet, write_png
from pyad_edge.export.methods.grad.trainer import DetectorTrainer
from pyad_edge.export.methods.grad.windows import LevelPictures, level_pictures
from pyad_edge.export.methods.grad.work import WorkFolder, named
from pyad_edge.export.progress import ProgressCall, silent
from pyad_edge.export.training.device import seed_everything
from pyad_edge.export.training.loop import LoopReport, run_loop
from pyad_edge.export.training.pictures import PictureSource

__all__ = [
    "EPOCHS",
    "GENERATOR_SETTINGS",
    "PATCHDIFF_SETTINGS",
    "LevelFit",
    "fit",
    "generated_windows",
    "normal_maps",
    "steps_of",
    "train_detector",
    "usual_logits",
]

EPOCHS = 2000
PICTURES_A_STEP = 4  # positive ones
PATCHDIFF_SETTINGS = (
    "resize", "crop", "width", "diffusion_steps", "diffusion_batch", "diffusion_window",
    "diffusion_rate", "global_noise", "weighting", "precision", "holdout", "seed",
)  # fmt: skip
"""What a PatchDiff's weights follow from."""
GENERATOR_SETTINGS = (
    *PATCHDIFF_SETTINGS, "samples", "sample_window", "sampler", "sampling_steps", "inside",
    "exchanged", "alike", "shift",
)  # fmt: skip
"""What generated windows follow from; the others may change without generating anew."""
GENERATOR_FORM = 2
"""Of what the settings do not say. 1: windows and regions lay evenly, and few at the edges."""
NO_OTHERS: Mapping[int, GradSettings] = MappingProxyType({})
EVEN = 10  # pictures, as it were, whose logits are the same everywhere: few say little of a place
SMALLEST_DEVIATION = 1e-3  # logits; a level whose normal maxima do not differ must not divide by 0


@dataclass(frozen=True, eq=False)
class LevelFit:
    """A level's detector and how it was made.

    Attributes:
        level: 34, 68 or 136.
        detector: trained, on the CPU.
        report: of its training; reused: receptive fields whose windows were there already.
        settings: that it was trained with.
    """

    level: int
    detector: Detector
    report: LoopReport
    reused: tuple[int, ...]
    settings: GradSettings


def steps_of(settings: GradSettings, pictures: int) -> int:
    """Steps of a detector's training: as set, or 2,000 epochs of four normal pictures a step."""
    if settings.detector_steps is not None:
        return settings.detector_steps
    return EPOCHS * max(1, -(-pictures // PICTURES_A_STEP))


def fit(
    source: PictureSource,
    held: PictureSource,
    settings: GradSettings,
    *,
    identity: Mapping[str, Any],
    work: WorkFolder,
    device: torch.device,
    by_level: Mapping[int, GradSettings] = NO_OTHERS,
    progress: ProgressCall = silent,
) -> tuple[GradModel, tuple[LevelFit, ...]]:
    """Train the detectors of all levels.

    Args:
        source: pictures to train on.
        held: normal pictures that are not trained on; they give each level's mean and deviation.
        settings: see there.
        identity: which data this is.
        work: folder for windows, checkpoints, logs and pictures.
        device: to train on.
        by_level: settings of levels that are trained otherwise, such as shorter.
        progress: called with a stage for each part.

    Returns:
        The model on the CPU in evaluation mode, and what was done for each level.

    Raises:
        DataError: if a picture cannot be read, a loss is not finite, a checkpoint is of another
            training, or generated windows are damaged.
    """
    if len(source) < 2:
        raise DataError("[grad] expected at least 2 pictures to train on, got 1. Add some.")
    work.make()
    fits = []
    for level in sorted(settings.levels):
        own = by_level.get(level, settings)
        pictures = level_pictures(source, level, progress=named(progress, f"pictures {level}"))
        generated, reused = generated_windows(
            pictures, own, identity=identity, work=work, device=device, progress=progress
        )
        trainer, report = train_detector(
            pictures,
            generated,
            own,
            identity=identity,
            work=work,
            device=device,
            progress=named(progress, f"detector {level}"),
        )
        sheet = weight_sheet(trainer, pictures, generated, own, device=device)
        write_png(work.picture(f"weights-{level}"), sheet)
        fits.append(LevelFit(level, trainer.detector.cpu().eval(), report, reused, own))
    detectors = {each.level: each.detector for each in fits}
    model = GradModel(
        detectors,
        preset=settings.preset,
        input_size=settings.input_size,
        fusion=settings.fusion,
    )
    for index, maps in enumerate(normal_maps(model, held, progress=progress)):
        usual = usual_logits(maps)
        maxima = (maps - usual).flatten(1).amax(dim=1)
        model.usual(model.levels[index]).copy_(usual)
        model.means[index] = maxima.mean()
        model.deviations[index] = maxima.std().clamp_min(SMALLEST_DEVIATION)
    return model.eval(), tuple(fits)


def generated_windows(
    pictures: LevelPictures,
    settings: GradSettings,
    *,
    identity: Mapping[str, Any],
    work: WorkFolder,
    device: torch.device,
    progress: ProgressCall = silent,
) -> tuple[dict[int, Samples], tuple[int, ...]]:
    """Windows of a level's three PatchDiffs: those that lie there, or new ones.

    Returns:
        By receptive field; and which of them lay there.

    Raises:
        DataError: if a file is damaged, or a loss not finite.
    """
    made, reused = {}, []
    tone = {"grey": True} if pictures.grey else {}
    for reach in REACHES_OF[pictures.level]:
        name = f"{pictures.level}/{reach}"

        def identified(names: Sequence[str], part: str = f"patchdiff {name}") -> dict[str, Any]:
            chosen = settings.model_dump(mode="json", include=set(names))
            return {**identity, "part": part, "settings": chosen} | tone

        own = {**identified(GENERATOR_SETTINGS), "form": GENERATOR_FORM}
        file = work.samples(pictures.level, reach)
        samples = load_samples(file, identity=own)
        if samples is not None:
            reused.append(reach)
        else:
            network, _ = train_patchdiff(
                reach,
                pictures,
                settings,
                identity=identified(PATCHDIFF_SETTINGS),
                device=device,
                options=work.options(f"patchdiff-{pictures.level}-{reach}"),
                progress=named(progress, f"PatchDiff {name}"),
            )
            samples = generate(
                network,
                pictures,
                settings,
                device=device,
                progress=named(progress, f"windows {name}"),
            )
            save_samples(file, samples, identity=own)
        sheet = sample_sheet(pictures, samples)
        write_png(work.picture(f"samples-{pictures.level}-{reach}"), sheet)
        made[reach] = samples
    return made, tuple(reused)


def train_detector(
    pictures: LevelPictures,
    generated: Mapping[int, Samples],
    settings: GradSettings,
    *,
    identity: Mapping[str, Any],
    work: WorkFolder,
    device: torch.device,
    progress: ProgressCall = silent,
) -> tuple[DetectorTrainer, LoopReport]:
    """Train a level's detector, from the start or from a checkpoint.

    Raises:
        DataError: if a loss is not finite, or the checkpoint is of another training.
    """
    seed_everything(settings.seed + pictures.level)
    steps = steps_of(settings, len(pictures))
    trainer = DetectorTrainer(settings, steps=steps, device=device)
    batches = PatchBatches(pictures, generated, settings)
    report = run_loop(
        lambda iteration: trainer.step(iteration, batches.at(iteration)),
        iterations=steps,
        parts={
            "detector": trainer.detector,
            "recovery": trainer.recovery,
            "optimizer": trainer.optimizer,
            "positive": trainer.positive,
            "negative": trainer.negative,
        },
        identity={
            **identity,
            "part": f"detector {pictures.level}",
            "settings": _trained_with(settings),
        },
        checkpoint=work.options(f"detector-{pictures.level}").checkpoint,
        every=work.every,
        resume=work.options(f"detector-{pictures.level}").resume,
        csv=work.options(f"detector-{pictures.level}").csv,
        tensorboard=work.options(f"detector-{pictures.level}").tensorboard,
        progress=progress,
    )
    return trainer, report


def usual_logits(maps: torch.Tensor) -> torch.Tensor:
    """What normal pictures' logits are at each place: (N, 1, h, w) to (1, 1, h, w).

    Means over pictures, as if EVEN more of them had the mean of all places everywhere.
    """
    usual = maps.mean(dim=0, keepdim=True)
    return usual.mean() + (usual - usual.mean()) * (len(maps) / (len(maps) + EVEN))


def normal_maps(
    model: GradModel, source: PictureSource, *, progress: ProgressCall = silent
) -> list[torch.Tensor]:
    """(N, 1, h, w) logits of all pictures, for each level; not normalised.

    Raises:
        DataError: if a picture cannot be read.
    """
    found: list[list[torch.Tensor]] = [[] for _ in model.levels]
    for index in range(len(source)):
        with torch.no_grad():
            maps = model.level_maps(torch.from_numpy(source.batch([index])))
        for own, one in zip(found, maps, strict=True):
            own.append(one)
        progress("normal scores", index + 1, len(source))
    return [torch.cat(own) for own in found]


def _trained_with(settings: GradSettings) -> dict[str, Any]:
    """What must be equal for a checkpoint to fit.

    What only the export reads may change. So may the number of steps: a training that was too short
    goes on, its learning rate as it would be at this step of the longer one.
    """
    free = {"levels", "fusion", "sigma", "false_reject", "memory_limit", "detector_steps"}
    return settings.model_dump(mode="json", exclude=free)


assert set(REACHES_OF) == set(LEVELS)
