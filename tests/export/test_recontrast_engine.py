"""``train recontrast`` from pictures to an engine that runs, with a mask and without."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("timm")

from pyad_edge import Runtime, read_image  # noqa: E402
from pyad_edge.export.frame_settings import FrameSettings  # noqa: E402
from pyad_edge.export.methods.recontrast.settings import make_settings  # noqa: E402
from pyad_edge.export.methods.recontrast.train import train_recontrast  # noqa: E402

SIZE = 64


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("parts")
    rng = np.random.default_rng(3)
    for i in range(8):
        picture = rng.integers(90, 110, (SIZE, SIZE, 3), dtype=np.uint8)
        picture[16:48, 16:48] += 60
        cv2.imwrite(str(folder / f"{i}.png"), picture)
    return folder


@pytest.mark.parametrize(
    ("masked", "pairs", "score"),
    [(False, "both", "maximum"), (True, "both", "maximum"), (True, "trained", "mean")],
)
def test_from_pictures_to_an_engine(
    pictures: Path, tmp_path: Path, masked: bool, pairs: str, score: str
) -> None:
    """The engine scores as torch does; what the mask leaves out is 0 and never raises a score."""
    mask = tmp_path / "mask.png"
    shown = np.zeros((SIZE, SIZE), np.uint8)
    shown[:, : SIZE // 2] = 255
    cv2.imwrite(str(mask), shown)
    report = train_recontrast(
        pictures,
        tmp_path / "part.pyad",
        settings=make_settings(
            resize=(SIZE, SIZE), iterations=2, batch=2, holdout=0.5, pairs=pairs, score=score
        ),
        weights="random",
        backbone="test_resnet",
        frames=FrameSettings(mask=mask) if masked else None,
        threads=2,
    )
    assert report.iterations == 2
    assert report.calibration_pictures == 4
    assert report.difference <= 1e-5
    runtime = Runtime(report.path, threads=2)
    result = runtime.infer(read_image(pictures / "0.png"))
    assert result.anomaly_map.shape == (SIZE, SIZE)
    if masked:
        assert (result.anomaly_map[:, SIZE // 2 :] == 0).all()
        inside = result.anomaly_map[:, : SIZE // 2]
        expected = inside.max() if score == "maximum" else inside.mean()
        assert result.score == pytest.approx(float(expected), rel=1e-5)
    else:
        assert (result.anomaly_map > 0).all()
        assert result.score == result.anomaly_map.max()
