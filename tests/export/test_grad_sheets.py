"""Sheets for a person: weights of the right patches, in the right places and colours."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from pyad_edge.export.methods.grad import sheets  # noqa: E402
from pyad_edge.export.methods.grad.place import coordinates  # noqa: E402
from pyad_edge.export.methods.grad.reweighting import log_density_weights  # noqa: E402
from pyad_edge.export.methods.grad.samples import Samples  # noqa: E402
from pyad_edge.export.methods.grad.settings import make_settings  # noqa: E402
from pyad_edge.export.methods.grad.trainer import DetectorTrainer  # noqa: E402
from pyad_edge.export.methods.grad.windows import LevelPictures  # noqa: E402
from pyad_edge.images import read_image  # noqa: E402

CPU = torch.device("cpu")


def trainer():
    torch.manual_seed(0)
    own = DetectorTrainer(make_settings(preset="compact"), steps=4, device=CPU)
    own.positive.push(torch.rand(9, 64))
    own.negative.push(torch.rand(7, 64))
    return own


def test_weight_maps_are_those_of_the_patches_themselves():
    own, windows = trainer(), torch.rand(2, 5, 40, 47)
    maps = sheets.weight_maps(own, windows, beta=5.0)
    assert [m.shape for m in maps] == [(2, 4, 7)] * 2
    for i in range(4):
        for j in range(7):
            patch = windows[1:, :, 2 * i : 2 * i + 34, 2 * j : 2 * j + 34]
            with torch.no_grad():
                feature = own.detector.features(patch).flatten(1)
            for found, queue in zip(maps, (own.positive, own.negative), strict=True):
                expected = log_density_weights(feature, queue.rows, beta=5.0)
                np.testing.assert_allclose(found[1, i, j], float(expected), rtol=1e-4)


def test_colours_are_blue_below_white_at_and_red_above_the_middle():
    made = sheets.weight_colours(np.array([[-3.0, 1.0, 50.0]]), middle=1.0, full=4.0).astype(int)
    assert made[0, 0, 2] > made[0, 0, 0] + 50
    assert (made[0, 1] == 247).all()
    assert made[0, 2, 0] > made[0, 2, 2] + 50


def test_sheets_are_written_as_they_are(tmp_path):
    where = coordinates(64, 64, border=3)
    pictures = LevelPictures(136, torch.full((5, 3, 70, 70), 0.5).half(), where)
    windows = torch.full((10, 3, 64, 64), 80, dtype=torch.uint8)
    own = Samples(windows, np.zeros((10, 2), np.int64))
    sheet = sheets.sample_sheet(pictures, own)
    assert (sheet[10, 10] == 191).all()  # normal ones above
    assert (sheet[150, 10] == 80).all()  # generated ones below
    sheets.write_png(tmp_path / "sheet.png", sheet)
    np.testing.assert_array_equal(read_image(tmp_path / "sheet.png"), sheet)
    settings = make_settings(preset="compact")
    whole = sheets.weight_sheet(trainer(), pictures, {9: own, 13: own}, settings, device=CPU)
    assert whole.shape == (2 * (6 * 67 - 3), 2 * (4 * 67 - 3), 3)
