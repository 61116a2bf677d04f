"""Charts of light: weights, light that is put on, and their delay beside brightness alone."""

from __future__ import annotations

import numpy as np
import pytest

from pyad_edge.drift.charts import ScoreCusum
from pyad_edge.drift.light import MEASURES, LightChart, discriminant, halves, relight


def test_light_stops_at_full_scale_and_saturated_pixels_stay() -> None:
    image = np.array([[0, 100, 249, 250, 255]], np.uint8)
    assert relight(image, 1.1, full_scale=255.0).tolist() == [[0, 110, 255, 255, 255]]
    assert relight(image, 0.9, full_scale=255.0).tolist() == [[0, 90, 224, 250, 255]]
    deep = np.array([[1000, 65535]], np.uint16)
    assert relight(deep, 1.1, full_scale=65535.0).tolist() == [[1100, 65535]]
    real = relight(np.array([[0.5, 1.0]], np.float32), 0.9, full_scale=1.0)
    assert real.dtype == np.float32
    assert real.tolist() == [[pytest.approx(0.45), 1.0]]


def test_weights_are_fishers_and_dead_measures_have_none() -> None:
    rng = np.random.default_rng(0)
    table = rng.normal(size=(5000, 3)) @ np.array([[1.0, 0.8, 0.0], [0, 0.6, 0], [0, 0, 2.0]])
    table = np.c_[table, np.full(5000, 7.0)]
    move = np.array([0.3, 0.02, 0.1, 0.2])
    covariance = np.cov(table[:, :3].T, bias=True)
    covariance += 0.03 * np.diag(np.diag(covariance))
    wanted = np.linalg.solve(covariance, move[:3])
    assert discriminant(table, move) == pytest.approx([*wanted, 0.0])
    unmoved = discriminant(table, move * [1, 0, 1, 1])
    assert unmoved[1] == 0.0
    assert unmoved[[0, 2]] == pytest.approx(discriminant(table[:, [0, 2]], move[[0, 2]]))
    assert not discriminant(np.ones((50, 4)), move).any()


def test_weights_and_ranks_come_from_different_frames() -> None:
    first, second = halves(2001)
    frames = np.arange(2001)
    assert not set(frames[first]) & set(frames[second])
    assert len(frames[first]) + len(frames[second]) == 2001


def test_light_is_found_where_bright_parts_hide_it_from_brightness() -> None:
    delays = np.array([_delays(seed) for seed in range(6)])
    light, alone = np.median(delays, axis=0)
    assert 0 < light < 0.5 * alone


def _delays(seed: int) -> tuple[int, int]:
    """Parts until light is found: by its chart, and by brightness alone; up to 800."""
    rng = np.random.default_rng(seed)
    parts = rng.normal(size=2800)  # how bright parts are by themselves; their contrast tells
    columns = {name: rng.normal(size=2800) for name in MEASURES}
    columns["brightness"] = parts + 0.3 * columns["brightness"]
    columns["contrast"] = parts + 0.3 * columns["contrast"]
    columns["brightness"][2000:] += 0.3
    learned = {name: column[:2000] for name, column in columns.items()}
    move = np.array([0.3 if name == "brightness" else 1e-9 for name in MEASURES])
    light = LightChart("light_up", learned, move, false_alarms=0.1)
    alone = ScoreCusum(learned["brightness"], pictures=2000, spread=1.0, false_alarms=0.1)
    first = {"light": 800, "alone": 800}
    for n in range(800):
        row = {name: float(column[2000 + n]) for name, column in columns.items()}
        found = light.add(row, n, rejected=False)
        if found is not None:
            assert found.direction == "up"
            first["light"] = min(first["light"], n)
        if alone.add(row["brightness"], n) is not None:
            first["alone"] = min(first["alone"], n)
    return first["light"], first["alone"]
