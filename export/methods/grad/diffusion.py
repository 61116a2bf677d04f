"""Diffusion: the noise schedule, PatchDiff's loss, and sampling by DDPM or DDIM."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch

from pyad_edge.errors import SettingError

__all__ = ["STEPS", "Sampler", "Schedule", "Weighting", "channels", "patchdiff_loss", "sample"]

STEPS = 1000
BETAS = (1e-4, 0.01)
Sampler = Literal["ddim", "ddpm"]
Weighting = Literal["even", "paper"]
Denoiser = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]
"""(noisy (N, 3, H, W), coordinates (N, 2, H, W), steps (N,)) to the noise."""


class Schedule:
    """DDPM's linear schedule (Ho et al. 2020, section 4), beta from 1e-4 to 0.01 instead of 0.02.

    A network that sees 17 x 17 pixels at most finds nothing in the stronger noise, in which DDPM
    lays out whole pictures.

    Attributes:
        betas, kept: (T,) float32, beta_t and the product of (1 - beta) up to t ("alpha bar").
    """

    def __init__(self, device: torch.device | None = None) -> None:
        betas = torch.linspace(*BETAS, STEPS, dtype=torch.float64)
        self.betas = betas.float().to(device)
        self.kept = torch.cumprod(1 - betas, 0).float().to(device)


def patchdiff_loss(
    denoiser: Denoiser,
    pictures: torch.Tensor,
    where: torch.Tensor,
    *,
    schedule: Schedule,
    steps: torch.Tensor,
    noise: torch.Tensor,
    global_noise: torch.Tensor,
    weighting: Weighting = "paper",
) -> torch.Tensor:
    """Mean of |noise - denoiser(sqrt(a) x + sqrt(1 - a) noise + global noise, t)|^2.

    Source: the unnumbered equation in "Generating Anomaly Contrastive Images". The global noise is
    added to the input and is not to be predicted: whole colours that drift are left alone.

    Args:
        denoiser: see Denoiser.
        pictures: (N, 3, H, W) float32 in [-1, 1].
        where: (N, 2, H, W).
        schedule: gives a = kept[t].
        steps: (N,) int64, t.
        noise: (N, 3, H, W) of N(0, 1).
        global_noise: (N, 3, 1, 1), one value a picture and channel, small.
        weighting: ``paper``, or ``even``: each picture's loss is divided by its a. What is best for
            each t stays the same; short trainings learn strong noise, where contents are decided.

    Returns:
        A scalar: the mean over all values.
    """
    kept = schedule.kept[steps][:, None, None, None]
    noisy = kept.sqrt() * pictures + (1 - kept).sqrt() * noise + global_noise
    squares = (noise - denoiser(noisy, where, steps).float()).square()
    return (squares / kept if weighting == "even" else squares).mean()


def channels(
    N: int, H: int, W: int, *, grey: bool, generator: torch.Generator | None = None
) -> torch.Tensor:
    """(N, 3, H, W) of N(0, 1); grey: the same in all channels, as the pictures are."""
    noise = torch.randn(N, 1 if grey else 3, H, W, generator=generator)
    return noise.expand(N, 3, H, W)


@torch.no_grad()  # type: ignore[untyped-decorator]
def sample(
    denoiser: Denoiser,
    where: torch.Tensor,
    *,
    schedule: Schedule,
    sampler: Sampler = "ddim",
    steps: int = 50,
    generator: torch.Generator | None = None,
    known: tuple[torch.Tensor, torch.Tensor] | None = None,
    grey: bool = False,
    told: Callable[[int], None] | None = None,
) -> torch.Tensor:
    """Pictures out of noise, or regions of pictures.

    DDIM (Song et al. 2021, eta = 0) takes ``steps`` evenly spaced steps; DDPM takes all 1000, each
    with fresh noise of variance beta_t. Both keep the predicted picture within [-1, 1]. What is
    known of a picture stands, before every step, as it is under the noise of that step.

    Args:
        denoiser: see Denoiser.
        where: (N, 2, H, W) coordinates of what is generated.
        schedule: as in training.
        sampler: ddim or ddpm.
        steps: of DDIM, 2 to 1000.
        generator: of the noise, on the CPU.
        known: pictures (N, 3, H, W) in [-1, 1], and (N, 1, H, W) bool, where they are to be kept;
            None: all is generated.
        grey: all channels get the same noise, and the mean of what the denoiser finds in them: what
            is known, if anything, must be grey too.
        told: called with the number of steps done.

    Returns:
        (N, 3, H, W) float32 in [-1, 1].

    Raises:
        SettingError: if the number of steps cannot be.
    """
    if not 2 <= steps <= STEPS:
        raise SettingError(f"[grad] expected 2 to {STEPS} sampling steps, got {steps}.")
    count = STEPS if sampler == "ddpm" else steps
    times = torch.linspace(STEPS - 1, 0, count).round().long().tolist()
    N, _, H, W = where.shape

    def fresh() -> torch.Tensor:
        return channels(N, H, W, grey=grey, generator=generator).to(where.device)

    x = start = fresh()
    for done, t in enumerate(times):
        number = torch.full((N,), t, device=where.device)
        kept = schedule.kept[t]
        if known is not None:
            x = torch.where(known[1], kept.sqrt() * known[0] + (1 - kept).sqrt() * start, x)
        noise = denoiser(x, where, number).float()
        if grey:
            noise = noise.mean(dim=1, keepdim=True).expand_as(x)
        picture = ((x - (1 - kept).sqrt() * noise) / kept.sqrt()).clamp(-1, 1)
        before = schedule.kept[times[done + 1]] if done + 1 < count else torch.ones_like(kept)
        if sampler == "ddpm":
            beta = schedule.betas[t]
            x = (before.sqrt() * beta * picture + (1 - beta).sqrt() * (1 - before) * x) / (1 - kept)
            if done + 1 < count:
                x = x + beta.sqrt() * fresh()
        else:
            noise = (x - kept.sqrt() * picture) / (1 - kept).sqrt()
            x = before.sqrt() * picture + (1 - before).sqrt() * noise
        if told is not None:
            told(done + 1)
    if known is not None:
        x = torch.where(known[1], known[0], x)
    return x.clamp(-1, 1)
