"""Device, autocast, order of pictures, their source, states and the log."""

from __future__ import annotations

import sys
import time
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import numpy as np
import pytest
from tiny_engine import TinyEngine

torch = pytest.importorskip("torch")

from pyad_edge.engine_manifest import Preprocessing  # noqa: E402
from pyad_edge.errors import BackendError, DataError, SettingError  # noqa: E402
from pyad_edge.export.frame_settings import FrameSettings  # noqa: E402
from pyad_edge.export.training import device as devices  # noqa: E402
from pyad_edge.export.training.device import (  # noqa: E402
    autocast,
    choose_device,
    faster_precision,
    seed_everything,
)
from pyad_edge.export.training.log import TrainingLog  # noqa: E402
from pyad_edge.export.training.pictures import PictureSource  # noqa: E402
from pyad_edge.export.training.sampling import Batches  # noqa: E402
from pyad_edge.export.training.state import pack, unpack  # noqa: E402
from pyad_edge.feeder import Feeder  # noqa: E402
from pyad_edge.images import read_image  # noqa: E402
from pyad_edge.preprocessing import to_batch  # noqa: E402

SMALL = Preprocessing(
    resize=(32, 48), crop=None, mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.4), color_order="rgb"
)
GIB = 1 << 30


@pytest.mark.parametrize(("slow", "chosen"), [("fp32", "bf16"), ("bf16", "fp32")])
def test_the_faster_precision_is_found_by_timing(
    slow: str, chosen: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slowed(device: torch.device, precision: devices.Precision) -> AbstractContextManager[None]:
        time.sleep(0.2 if precision == slow else 0.0)
        return nullcontext()

    monkeypatch.setattr(devices, "autocast", slowed)
    assert faster_precision(torch.device("cpu")) == chosen


def test_devices_are_what_was_asked_for_or_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    assert choose_device("cpu") == torch.device("cpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert choose_device("cuda:1") == torch.device("cuda:1")
    with pytest.raises(BackendError, match="for --device cuda:2, got 2 that torch"):
        choose_device("cuda:2")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(BackendError, match="Train with --device cpu"):
        choose_device("cuda")
    for name in ("gpu", "cuda:", "cuda:x", "CPU"):
        with pytest.raises(SettingError, match="expected --device as cpu, cuda or cuda:N"):
            choose_device(name)


def test_autocast_multiplies_in_bf16_and_keeps_weights() -> None:
    layer, x = torch.nn.Linear(4, 4), torch.ones(2, 4)
    with autocast(torch.device("cpu"), "bf16"):
        assert layer(x).dtype == torch.bfloat16
    with autocast(torch.device("cpu"), "fp32"):
        assert layer(x).dtype == torch.float32
    assert layer.weight.dtype == torch.float32


def test_equal_seeds_draw_equal_numbers() -> None:
    drawn = []
    for seed in (3, 3, 4):
        seed_everything(seed)
        drawn.append(torch.randn(4).tolist())
    assert drawn[0] == drawn[1] != drawn[2]


def test_every_pass_sees_every_picture_once() -> None:
    order = Batches(10, batch=4, seed=1)
    seen = np.concatenate([order.batch_at(step) for step in range(5)])
    assert sorted(seen[:10]) == sorted(seen[10:]) == list(range(10))
    assert list(seen[:10]) != list(seen[10:])
    # Known from its number alone: what a resumed training relies on.
    np.testing.assert_array_equal(Batches(10, batch=4, seed=1).batch_at(3), order.batch_at(3))
    assert list(Batches(10, batch=10, seed=2).batch_at(0)) != list(seen[:10])
    assert len(Batches(3, batch=8, seed=0).batch_at(7)) == 8


def test_no_pictures_or_no_batch() -> None:
    with pytest.raises(DataError, match="at least one picture"):
        Batches(0, batch=4, seed=0)
    with pytest.raises(SettingError, match="--batch of at least 1"):
        Batches(4, batch=0, seed=0)


def test_states_survive_packing() -> None:
    tree = {"state": {0: {"step": torch.tensor(3.0), "seen": [1, None, True]}}, "betas": (0.9, 0.5)}
    tensors, plain = pack(tree)
    again = unpack(plain, tensors)
    assert again["betas"] == (0.9, 0.5)
    assert list(again["state"]) == [0]
    assert again["state"][0]["step"] == 3
    assert again["state"][0]["seen"] == [1, None, True]
    with pytest.raises(TypeError, match="holds a set"):
        pack({"a": {1, 2}})


@pytest.mark.parametrize("limit", [GIB, 1])  # all kept; nothing kept
def test_pictures_are_what_the_runtime_makes_of_them(tiny: TinyEngine, limit: int) -> None:
    paths = sorted((tiny.data / "train/good").iterdir())[:3]
    source = PictureSource(paths, SMALL, limit=limit)
    assert (len(source), source.shape) == (3, (3, 32, 48))
    for _ in range(2):
        batch = source.batch([2, 0])
        assert batch.shape == (2, 3, 32, 48)
        for made, path in zip(batch, (paths[2], paths[0]), strict=True):
            np.testing.assert_array_equal(made, to_batch([read_image(path)], SMALL)[0])


def test_tiles_are_pictures_of_their_own(tiny: TinyEngine) -> None:
    paths = sorted((tiny.data / "train/good").iterdir())[:2]
    H, W = read_image(paths[0]).shape[:2]
    settings = SMALL.model_copy(update={"resize": (32, 32)})
    frames = FrameSettings(size_policy="tile", tile=(32, 32), overlap=(0, 0))
    declared = frames.declare(sizes={(H, W)}, input_size=(32, 32), levels=[(8, 8)])
    feeder = Feeder(settings, declared, grid=(8, 8), sigma=0)
    source = PictureSource(paths, settings, feeder=feeder, limit=GIB)
    assert len(source) == 2 * -(-H // 32) * -(-W // 32) > 2
    crop = np.ascontiguousarray(read_image(paths[0])[:32, :32])
    np.testing.assert_array_equal(source[0], to_batch([crop], settings)[0])


def test_no_pictures() -> None:
    with pytest.raises(DataError, match="no pictures to train on"):
        PictureSource([], SMALL)


def test_tensorboard_is_refused_where_it_is_not_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(BackendError, match="pip install tensorboard"):
        TrainingLog(tensorboard=tmp_path / "events")


def test_a_log_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="Name a file in a folder that exists"):
        TrainingLog(csv_file=tmp_path / "missing" / "log.csv")
