"""Training ReContrast: resumed as if never stopped; refused where memory will not do."""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("timm")

from pyad_edge.engine_manifest import Preprocessing  # noqa: E402
from pyad_edge.errors import DataError, ResourceError, SettingError  # noqa: E402
from pyad_edge.export.methods.recontrast.backbone import build_encoder  # noqa: E402
from pyad_edge.export.methods.recontrast.fit import (  # noqa: E402
    CheckpointOptions,
    check_memory,
    fit,
)
from pyad_edge.export.methods.recontrast.memory import training_memory  # noqa: E402
from pyad_edge.export.methods.recontrast.model import ReContrast  # noqa: E402
from pyad_edge.export.methods.recontrast.settings import make_settings  # noqa: E402
from pyad_edge.export.methods.recontrast.trainer import Trainer, make_optimizer  # noqa: E402
from pyad_edge.export.training.pictures import PictureSource  # noqa: E402

TINY, CPU = "test_resnet", torch.device("cpu")
SMALL = {"resize": (64, 64), "batch": 2, "iterations": 6, "forget_every": 4}


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    paths = [folder / f"{i}.png" for i in range(5)]
    for path in paths:
        cv2.imwrite(str(path), rng.integers(0, 256, (64, 64, 3), dtype=np.uint8))
    preprocessing = Preprocessing(
        resize=(64, 64), crop=None, mean=(0.5,) * 3, std=(0.2,) * 3, color_order="rgb"
    )
    return PictureSource(paths, preprocessing)


def run(source, options=None, *, settings=None, progress=None, **identity):
    settings = settings or make_settings(**SMALL)
    kept = {"method": "recontrast", "settings": settings.model_dump(mode="json"), **identity}
    extra = {} if progress is None else {"progress": progress}
    return fit(
        build_encoder(TINY, weights="random"),
        source,
        settings,
        identity=kept,
        device=CPU,
        options=options,
        **extra,
    )


class StopError(Exception):
    pass


def test_a_resumed_training_equals_one_that_was_never_stopped(source, tmp_path):
    """Stopped after 3 of 6 iterations, before and after Adam forgets; equal to the last bit."""
    whole, expected = run(source)
    options = CheckpointOptions(checkpoint=tmp_path / "c.safetensors", every=3)

    def stop(stage, done, of, note=""):
        if stage == "training" and done == 5:
            raise StopError

    with pytest.raises(StopError):
        run(source, options, progress=stop)
    resumed, report = run(source, dataclasses.replace(options, resume=True))
    assert report.resumed_from == 3
    assert report.losses == expected.losses
    state = resumed.state_dict()
    assert all(torch.equal(value, state[key]) for key, value in whole.state_dict().items())


def test_a_checkpoint_of_other_settings_is_refused(source, tmp_path):
    options = CheckpointOptions(checkpoint=tmp_path / "c.safetensors")
    run(source, options, settings=make_settings(**SMALL | {"iterations": 1}))
    with pytest.raises((DataError, SettingError), match=r"decoder_rate was 0\.002, now 0\.001"):
        run(
            source,
            dataclasses.replace(options, resume=True),
            settings=make_settings(**SMALL | {"iterations": 1, "decoder_rate": 1e-3}),
        )


def test_memory_that_will_not_do_is_refused_before_the_start():
    encoder = build_encoder(TINY, weights="random")
    check_memory(encoder, make_settings(**SMALL), CPU)
    with pytest.raises(ResourceError, match="--batch or --size"):
        check_memory(encoder, make_settings(**SMALL, memory_limit=10**8), CPU)


def test_memory_grows_with_batch_and_size_and_is_less_in_bf16():
    encoder = build_encoder(TINY, weights="random")

    def activations(**changes):
        return list(training_memory(encoder, make_settings(**SMALL | changes)).values())[1]

    base = activations()
    assert activations(batch=8) == pytest.approx(4 * base, rel=1e-6)
    assert activations(resize=(128, 128)) == pytest.approx(4 * base, rel=0.1)
    assert activations(precision="bf16") == pytest.approx(base * 2 / 3, rel=1e-6)


def test_adamw_has_the_papers_rates_and_forgets():
    torch.manual_seed(0)
    encoder = build_encoder(TINY, weights="random")
    model = ReContrast(encoder.module, encoder.shape)
    settings = make_settings(**SMALL | {"forget_every": 2})
    groups = make_optimizer(model, settings).param_groups
    assert [(g["lr"], g["betas"], g["weight_decay"]) for g in groups] == [
        (1e-5, (0.9, 0.999), 1e-5),
        (2e-3, (0.9, 0.999), 1e-5),
    ]
    assert sum(len(g["params"]) for g in groups) == sum(p.requires_grad for p in model.parameters())
    trainer, x = Trainer(model, settings), torch.randn(2, 3, 64, 64)
    counts = []
    for iteration in range(5):
        trainer.step(iteration, x)
        states = trainer.optimizer.state.values()
        counts.append({int(state["step"]) for state in states})
    assert counts == [{1}, {2}, {1}, {2}, {1}]  # began again before iterations 2 and 4


def test_a_loss_that_is_not_finite_stops_with_a_way_out():
    encoder = build_encoder(TINY, weights="random")
    trainer = Trainer(ReContrast(encoder.module, encoder.shape), make_settings(**SMALL))
    with pytest.raises(DataError, match=r"got nan at iteration 3\. Lower --decoder-rate"):
        trainer.step(2, torch.full((2, 3, 64, 64), float("nan")))


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"resize": (250, 256)}, "multiples of 32, .* got 250x256; use for example 256x256"),
        ({"resize": 256}, "resizing the shorter side needs a crop"),
        ({"resize": 288, "crop": (224, 230)}, "got 224x230; use for example 224x224"),
        ({"resize": (64, 64), "crop": (96, 64)}, "the crop .* is larger"),
        ({"batch": 1}, "--batch should be greater than or equal to 2, got 1"),
        ({"decoder_rate": float("nan")}, "decoder_rate is not a number, got nan"),
        ({"batch_norm": "none"}, "batch_norm should be 'stable', 'train' or 'eval', got 'none'"),
        ({"iterations": 0}, "iterations should be greater than or equal to 1, got 0"),
    ],
)
def test_settings_that_cannot_be_used_are_named(values, sentence):
    with pytest.raises(
        SettingError, match=r"^\[recontrast\] settings that cannot be used: .*" + sentence
    ):
        make_settings(option_names={"batch": "--batch"}, **values)
