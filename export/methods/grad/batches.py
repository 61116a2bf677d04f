"""The detector's batches: normal patches, normal patches in wrong places, generated patches."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional

from pyad_edge.errors import DataError
from pyad_edge.export.methods.grad.detector import PATCH, STRIDE
from pyad_edge.export.methods.grad.elsewhere import Elsewhere
from pyad_edge.export.methods.grad.samples import Samples
from pyad_edge.export.methods.grad.settings import GradSettings
from pyad_edge.export.methods.grad.windows import LevelPictures, Places, cut, random_places
from pyad_edge.export.training.sampling import Batches

__all__ = ["Batch", "PatchBatches", "augment"]

PICTURES = 4
"""That the patches of one kind come from, in one step, if each is cut by itself. Groups of
neighbours, of which there are fewer, come from as many pictures as there are groups."""


@dataclass(frozen=True, eq=False)
class Batch:
    """Patches of one step, picture and coordinates, in groups of r x r neighbours.

    A group is 34 + 4 (r - 1) pixels wide; n = b / r^2 groups hold the b patches of a kind.

    Attributes:
        positive: (n, 5, s, s) float32, normal, where they belong.
        negative: (n (k + 1), 5, s, s): normal ones with the coordinates of another place, then
            those of each of the k PatchDiffs.
    """

    positive: torch.Tensor
    negative: torch.Tensor


class PatchBatches:
    """Batches by number: any one follows from the seed and its number alone.

    Args:
        pictures: normal ones, of the level.
        generated: by the receptive field of the PatchDiff that made them.
        settings: patches, augmentation and seed.

    Raises:
        DataError: if nothing was generated.
    """

    def __init__(
        self, pictures: LevelPictures, generated: Mapping[int, Samples], settings: GradSettings
    ) -> None:
        if not generated:
            raise DataError("[grad] there are no generated windows to train a detector with.")
        self._pictures, self._settings = pictures, settings
        self._grey = pictures.grey
        self._generated = [generated[reach] for reach in sorted(generated)]
        self._elsewhere = Elsewhere(pictures, share=settings.alike, shift=settings.shift)
        self._starts = np.concatenate([own.places for own in self._generated])
        groups = settings.patches // settings.neighbours**2
        self._sources = PICTURES if settings.neighbours == 1 else groups
        self._order = Batches(len(pictures), batch=2 * self._sources, seed=settings.seed)
        self._samples = [
            Batches(len(own), batch=self._sources, seed=settings.seed + 1 + index)
            for index, own in enumerate(self._generated)
        ]

    def at(self, iteration: int) -> Batch:
        """The batch of an iteration, from 0."""
        rng = np.random.default_rng([self._settings.seed, self._pictures.level, iteration])
        near = self._settings.neighbours
        count, side = self._settings.patches // near**2, PATCH + STRIDE * (near - 1)
        window = (side, side)
        repeat = count // self._sources
        chosen = self._order.batch_at(iteration)
        right = np.repeat(chosen[: self._sources], repeat)
        wrong = np.repeat(chosen[self._sources :], repeat)
        whole = self._pictures
        places = self._places(rng, count, window)
        positive = self._patches(whole.pictures, right, places, places, window)
        content = self._places(rng, count, window)
        colours = cut(whole.pictures, wrong, content, window)
        elsewhere = self._elsewhere.places(rng, colours, content)
        where = cut(whole.where, wrong, elsewhere, window)
        negative = [torch.cat((colours, where), dim=1)]
        for own, order in zip(self._generated, self._samples, strict=True):
            numbers = np.repeat(order.batch_at(iteration), repeat)
            inside = self._inside(rng, count, window)
            beyond = inside + own.places[numbers]
            negative.append(
                self._patches(own.windows, numbers, inside, beyond, window, scale=1 / 127.5)
            )
        every = torch.cat((positive, *negative))
        every = augment(every, rng, self._settings, grey=self._grey)
        return Batch(every[:count], every[count:])

    def _inside(self, rng: np.random.Generator, count: int, window: tuple[int, int]) -> Places:
        """Places in generated windows."""
        return random_places(rng, count, size=self._generated[0].size, window=window)

    def _places(self, rng: np.random.Generator, count: int, window: tuple[int, int]) -> Places:
        """Places in pictures, as often as generated patches have them.

        Where these are fewer, at the edges say, a detector that knows the place would otherwise
        learn that all is normal there.
        """
        starts = self._starts[rng.integers(len(self._starts), size=count)]
        return starts + self._inside(rng, count, window)

    def _patches(
        self,
        pictures: torch.Tensor,
        numbers: np.ndarray[tuple[int], np.dtype[np.int64]],
        content: np.ndarray[tuple[int, int], np.dtype[np.int64]],
        where: np.ndarray[tuple[int, int], np.dtype[np.int64]],
        window: tuple[int, int],
        *,
        scale: float | None = None,
    ) -> torch.Tensor:
        colours = cut(pictures, numbers, content, window)
        if scale is not None:  # generated windows are kept as 8 bits
            colours = colours * scale - 1.0
        return torch.cat((colours, cut(self._pictures.where, numbers, where, window)), dim=1)


def augment(
    patches: torch.Tensor, rng: np.random.Generator, settings: GradSettings, *, grey: bool = False
) -> torch.Tensor:
    """Change brightness, contrast, place, sharpness and grain a little, each group by itself.

    Softness and grain hide what a PatchDiff that was trained shortly leaves behind: speckle that
    tells generated patches from normal ones without looking at what they show.

    Args:
        patches: (n, 5, s, s) float32; not changed.
        rng: source of randomness.
        settings: ``light``, ``shift``, ``soft``, ``grain``.
        grey: grain is the same in all channels, as it is in a mono camera's pictures.
    """
    n = len(patches)

    def uniform(limit: float, channels: int) -> torch.Tensor:
        return torch.from_numpy(rng.uniform(-limit, limit, (n, channels, 1, 1)).astype(np.float32))

    colours, where = patches[:, :3], patches[:, 3:]
    middle = colours.mean(dim=(1, 2, 3), keepdim=True)
    colours = middle + (1 + uniform(settings.light, 1)) * (colours - middle)
    colours = colours + uniform(settings.light, 1)
    chosen = torch.from_numpy(rng.random(n) < settings.soft)
    if chosen.any():
        colours[chosen] = _softened(colours[chosen])
    shape = (n, 1 if grey else 3, *colours.shape[-2:])
    noise = rng.standard_normal(shape, dtype=np.float32)
    colours = colours + uniform(settings.grain, 1).abs() * torch.from_numpy(noise)
    return torch.cat((colours, where + uniform(2 * settings.shift, 2)), dim=1)


def _softened(colours: torch.Tensor) -> torch.Tensor:
    """Under a 3 x 3 binomial, the edge repeated."""
    line = torch.tensor([0.25, 0.5, 0.25])
    kernel = torch.outer(line, line).expand(3, 1, 3, 3)
    whole = functional.pad(colours, (1,) * 4, mode="replicate")
    softened: torch.Tensor = functional.conv2d(whole, kernel, groups=3)
    return softened
