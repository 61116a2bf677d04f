"""Seeded industrial-looking textures and small synthetic defects, in plain NumPy.

A texture starts as a grey field in [0, 1], drawn from one of the families in `FAMILIES`, sometimes
two of them mixed, and is then given colours, contrast and sensor noise. Everything follows from the
generator that the caller passes, so the same seed always gives the same pictures.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Field = NDArray[np.float32]  # (S, S) float32, [0, 1]
Picture = NDArray[np.uint8]  # (H, W, 3) uint8, RGB


def _unit(field: NDArray[np.floating]) -> Field:
    """Stretches a field to [0, 1]; a constant field becomes 0.5."""
    low, high = float(field.min()), float(field.max())
    if high - low < 1e-9:
        return np.full(field.shape, 0.5, np.float32)
    return ((field - low) / (high - low)).astype(np.float32)


def _rotated_grid(rng: np.random.Generator, size: int) -> tuple[Field, Field]:
    """Pixel coordinates in a randomly turned frame (axis-parallel half of the time)."""
    angle = rng.choice([0.0, np.pi / 2]) if rng.random() < 0.5 else rng.uniform(0, np.pi)
    y, x = np.mgrid[0:size, 0:size].astype(np.float32)
    u = np.cos(angle) * x + np.sin(angle) * y
    v = np.cos(angle) * y - np.sin(angle) * x
    return u.astype(np.float32), v.astype(np.float32)


def spectral_noise(
    rng: np.random.Generator, size: int, *, exponent: float | None = None, stretch: float = 1.0
) -> Field:
    """Gaussian noise whose amplitude falls as 1 / frequency ** exponent.

    Args:
        rng: Source of randomness.
        size: Side S in pixels.
        exponent: Fall of the amplitude spectrum; 0 is white. Drawn from [0, 2.2] when None.
        stretch: Ratio of the grain's two diameters; larger than 1 elongates it along a random axis.

    Returns:
        (S, S) float32 in [0, 1].
    """
    if exponent is None:
        exponent = float(rng.uniform(0, 2.2))
    fy = np.fft.fftfreq(size)[:, None]
    fx = np.fft.rfftfreq(size)[None, :]
    angle = rng.choice([0.0, np.pi / 2]) if rng.random() < 0.5 else rng.uniform(0, np.pi)
    along = (np.cos(angle) * fx + np.sin(angle) * fy) * stretch
    across = np.cos(angle) * fy - np.sin(angle) * fx
    frequency = np.sqrt(along**2 + across**2)
    # A random corner frequency keeps one octave from always dominating the steep spectra.
    corner = 2.0 ** rng.uniform(-7, -2.5)
    amplitude = (frequency**2 + corner**2) ** (-exponent / 2)
    amplitude[0, 0] = 0.0
    white = rng.standard_normal((size, size), dtype=np.float32)
    noise = np.fft.irfft2(np.fft.rfft2(white) * amplitude, s=(size, size))
    return _unit(np.clip(noise / (noise.std() + 1e-9), -3, 3))


def stripes(rng: np.random.Generator, size: int) -> Field:
    """Sine or square grating with a period of 3 to 80 px, its phase shaken by smooth noise."""
    u, _ = _rotated_grid(rng, size)
    period = 2.0 ** rng.uniform(1.6, 6.3)
    shake = rng.uniform(0, 0.6) * (spectral_noise(rng, size, exponent=2.0) - 0.5) * 2
    wave = np.sin(2 * np.pi * (u / period + shake))
    return _unit(np.tanh(wave * rng.uniform(0.3, 8)))


def weave(rng: np.random.Generator, size: int) -> Field:
    """Two crossed sets of threads that pass over and under each other."""
    u, v = _rotated_grid(rng, size)
    period = 2.0 ** rng.uniform(2, 5)
    ratio = rng.uniform(0.7, 1.4)
    a, b = u / period, v / (period * ratio)
    over = (np.floor(a) + np.floor(b)) % 2
    warp = np.abs(np.sin(np.pi * a)) ** rng.uniform(0.3, 2)
    weft = np.abs(np.sin(np.pi * b)) ** rng.uniform(0.3, 2)
    fibre = spectral_noise(rng, size, exponent=0.5) * rng.uniform(0, 0.5)
    return _unit(np.where(over > 0, warp, weft * rng.uniform(0.5, 1)) + fibre)


def gradient(rng: np.random.Generator, size: int) -> Field:
    """Uneven light over a smooth surface: a ramp, a broad hump and a trace of noise."""
    u, v = _rotated_grid(rng, size)
    cu, cv = rng.uniform(-size, size, 2)
    hump = np.exp(-((u - cu) ** 2 + (v - cv) ** 2) / (2 * (size * rng.uniform(0.2, 1.5)) ** 2))
    ramp = u / size * rng.uniform(-1, 1)
    grain = spectral_noise(rng, size) * rng.uniform(0, 0.25)
    return _unit(hump * rng.uniform(0, 1) + ramp + grain)


def brushed(rng: np.random.Generator, size: int) -> Field:
    """Brushed or rolled metal: noise drawn out 8 to 80 times along one direction."""
    stretch = 2.0 ** rng.uniform(3, 6.3)
    fine = spectral_noise(rng, size, exponent=rng.uniform(0.6, 1.8), stretch=stretch)
    return _unit(fine + rng.uniform(0, 0.5) * spectral_noise(rng, size, exponent=1.8))


def cells(rng: np.random.Generator, size: int) -> Field:
    """Grains, granules or cracked glaze: a Voronoi partition shown by cell, edge or distance."""
    count = int(2 ** rng.uniform(3.3, 6.3))
    step = 2  # half resolution, then repeated: the exact edges do not matter here
    axis = np.arange(0, size, step, dtype=np.float32)
    points = rng.uniform(-0.1 * size, 1.1 * size, (count, 2)).astype(np.float32)
    squared = (axis[:, None, None] - points[:, 0]) ** 2 + (axis[None, :, None] - points[:, 1]) ** 2
    nearest = np.partition(squared, 1, axis=-1)[..., :2]
    first, second = np.sqrt(nearest[..., 0]), np.sqrt(nearest[..., 1])
    form = rng.integers(3)
    if form == 0:
        field = rng.random(count)[squared.argmin(-1)]
    elif form == 1:
        field = np.minimum(second - first, rng.uniform(2, 12))
    else:
        field = first
    field = np.repeat(np.repeat(field, step, 0), step, 1)[:size, :size]
    return _unit(_unit(field) + rng.uniform(0, 0.4) * spectral_noise(rng, size))


def blobs(rng: np.random.Generator, size: int) -> Field:
    """Spots, pores or ridges: smooth noise folded or pushed through a soft threshold."""
    base = spectral_noise(rng, size, exponent=rng.uniform(1, 2.2), stretch=rng.choice([1, 1, 3]))
    if rng.random() < 0.3:
        return _unit(np.abs(base - 0.5) ** rng.uniform(0.4, 1.2))
    level = np.quantile(base, rng.uniform(0.1, 0.9))
    return _unit(np.tanh((base - level) * rng.uniform(4, 40)))


def speckle(rng: np.random.Generator, size: int) -> Field:
    """Multiplicative grain over a slowly changing surface, as on castings and coarse paper."""
    surface = 0.3 + spectral_noise(rng, size, exponent=2.0)
    grain = spectral_noise(rng, size, exponent=rng.uniform(0, 1.0))
    return _unit(surface * (grain - 0.5) * rng.uniform(0.3, 2) + surface * rng.uniform(0, 1))


def repeated(rng: np.random.Generator, size: int) -> Field:
    """A small motif repeated on a grid, with fixed-pattern noise: perforated sheet, print."""
    period = int(2 ** rng.uniform(3, 6))
    tile = blobs(rng, period) if rng.random() < 0.7 else spectral_noise(rng, period)
    tiles = -(-size // period)
    field = np.tile(tile, (tiles, tiles))[:size, :size]
    return _unit(field + rng.uniform(0, 0.4) * spectral_noise(rng, size))


FAMILIES: tuple[Callable[[np.random.Generator, int], Field], ...] = (
    spectral_noise, stripes, weave, gradient, brushed, cells, blobs, speckle, repeated,
)  # fmt: skip


def texture(rng: np.random.Generator, size: int) -> Picture:
    """Draws one texture.

    Args:
        rng: Source of randomness; the picture is a function of its state.
        size: Side S in pixels, at least 32.

    Returns:
        (S, S, 3) uint8, RGB. Half of them are grey.

    Raises:
        ValueError: If size is below 32.
    """
    if size < 32:
        raise ValueError(f"[texture] expected a size of at least 32 px, got {size}.")
    field = FAMILIES[rng.integers(len(FAMILIES))](rng, size)
    if rng.random() < 0.35:
        other = FAMILIES[rng.integers(len(FAMILIES))](rng, size)
        if rng.random() < 0.5:  # two materials side by side, parted by a smooth border
            part = spectral_noise(rng, size, exponent=2.2)
            weight = 1 / (1 + np.exp(-(part - np.median(part)) * rng.uniform(10, 80)))
        else:
            weight = np.float32(rng.uniform(0.2, 0.8))
        field = _unit(weight * field + (1 - weight) * other)
    contrast = rng.uniform(0.05, 1.0) ** 1.3
    if rng.random() < 0.5:
        dark = np.repeat(rng.uniform(0, 1 - contrast), 3)
        bright = dark + contrast
    else:
        saturation = rng.random()
        dark = rng.random() + saturation * (rng.random(3) - 0.5)
        bright = dark + contrast * (rng.choice([-1, 1]) + saturation * (rng.random(3) - 0.5))
    picture = dark + field[..., None] * (bright - dark)
    noise = rng.uniform(0, 0.03) * rng.standard_normal((size, size, 1))
    return np.asarray(np.clip(picture + noise, 0, 1) * 255 + 0.5).astype(np.uint8)


def _polyline_mask(rng: np.random.Generator, height: int, width: int, kinks: float) -> Field:
    """Soft mask of a random walk, `kinks` radians of turn per step: scratch, hair or crack."""
    steps = int(rng.uniform(8, 0.8 * max(height, width)))
    heading = rng.uniform(0, 2 * np.pi) + np.cumsum(rng.normal(0, kinks, steps))
    y = rng.uniform(0, height) + np.cumsum(np.sin(heading))
    x = rng.uniform(0, width) + np.cumsum(np.cos(heading))
    mask = np.zeros((height, width), np.float32)
    reach = int(rng.integers(0, 3))
    for dy in range(-reach, reach + 1):
        for dx in range(-reach, reach + 1):
            fall = max(0.0, 1 - np.hypot(dy, dx) / (reach + 0.7))
            yi, xi = np.rint(y + dy).astype(int), np.rint(x + dx).astype(int)
            inside = (yi >= 0) & (yi < height) & (xi >= 0) & (xi < width)
            np.maximum.at(mask, (yi[inside], xi[inside]), fall)
    return mask


def add_defect(rng: np.random.Generator, picture: Picture) -> Picture:
    """Puts one small synthetic fault on a picture.

    Args:
        rng: Source of randomness.
        picture: (H, W, 3) uint8, RGB; left unchanged.

    Returns:
        (H, W, 3) uint8: the picture with a scratch, crack, spot, stain or displaced piece.
    """
    height, width = picture.shape[:2]
    surface = picture.astype(np.float32)
    kind = rng.integers(5)
    if kind < 2:
        mask = _polyline_mask(rng, height, width, 0.02 if kind == 0 else 0.5)
    else:
        y, x = np.mgrid[0:height, 0:width].astype(np.float32)
        radius = min(height, width) * 2.0 ** rng.uniform(-5, -2)
        aspect = 2.0 ** rng.uniform(-1.2, 1.2)
        dy = (y - rng.uniform(0, height)) / (radius * aspect)
        dx = (x - rng.uniform(0, width)) / (radius / aspect)
        distance = np.sqrt(dy**2 + dx**2)
        if kind == 3:  # ragged outline
            ragged = spectral_noise(rng, max(height, width), exponent=1.6)[:height, :width]
            distance = distance + 1.5 * (ragged - 0.5)
        mask = 1 / (1 + np.exp(np.clip((distance - 1) * rng.uniform(2, 20), -30, 30)))
    if kind == 4:
        shift = rng.integers(4, max(5, min(height, width) // 2), 2)
        filling = np.roll(surface, tuple(shift), (0, 1))[:, :: rng.choice([-1, 1])]
    elif rng.random() < 0.5:
        filling = surface + rng.uniform(-110, 110)
    else:
        filling = np.broadcast_to(
            rng.uniform(0, 255, 3 if rng.random() < 0.3 else 1), surface.shape
        )
    weight = (mask * rng.uniform(0.3, 1))[..., None]
    return (np.clip(surface + weight * (filling - surface), 0, 255) + 0.5).astype(np.uint8)
