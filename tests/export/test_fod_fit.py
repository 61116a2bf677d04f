"""Training FOD: batches, references, resumption, seeds, refusals."""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("timm")

from fod_parts import (  # noqa: E402
    PREPROCESSING,
    SIZE,
    SMALL,
    TINY,
    one_thread,  # noqa: F401
    pictures,
    small_model,
)

from pyad_edge.errors import DataError, ResourceError, SettingError  # noqa: E402
from pyad_edge.export.methods.fod.backbone import build_backbone  # noqa: E402
from pyad_edge.export.methods.fod.fit import CheckpointOptions, check_memory, fit  # noqa: E402
from pyad_edge.export.methods.fod.memory import training_memory  # noqa: E402
from pyad_edge.export.methods.fod.reference import build_reference  # noqa: E402
from pyad_edge.export.methods.fod.settings import make_settings  # noqa: E402
from pyad_edge.export.methods.fod.trainer import Trainer  # noqa: E402
from pyad_edge.export.training.pictures import PictureSource  # noqa: E402

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    paths = [folder / f"{i}.png" for i in range(6)]
    for path in paths:
        cv2.imwrite(str(path), rng.integers(0, 256, (*SIZE, 3), dtype=np.uint8))
    return PictureSource(paths, PREPROCESSING)


def run(source, options=None, *, progress=None, **changes):
    settings = make_settings(**SMALL | {"epochs": 0.6} | changes)
    return fit(
        build_backbone(TINY, weights="random", levels=settings.levels),
        source,
        settings,
        identity={"method": "fod", "settings": settings.model_dump(mode="json")},
        device=CPU,
        options=options,
        **({} if progress is None else {"progress": progress}),
    )


def same(one, other):
    a, b = one.state_dict(), other.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


@pytest.mark.parametrize("rows", [1.0, 0.3])
def test_a_batch_moves_the_weights_as_the_mean_of_its_pictures_would(rows):
    """Gradients of two pictures at once are the mean of each one's, with the same rows."""
    model, settings = small_model(batch=2, rows=rows)
    features = [f.clone() for f in model.backbone(pictures(2, seed=8))]
    grads = []
    for chosen in ([0], [1], [0, 1]):
        trainer = Trainer(model, settings, steps=1)
        trainer.optimizer.step = lambda: None
        torch.manual_seed(5)
        trainer.step(0, [f[chosen] for f in features])
        grads.append([p.grad.clone() for p in model.levels.parameters() if p.grad is not None])
    assert len(grads[2]) > 50
    for one, other, both in zip(*grads, strict=True):
        torch.testing.assert_close(both, (one + other) / 2, rtol=1e-3, atol=1e-6)


def test_a_resumed_training_equals_one_that_was_never_stopped(source, tmp_path):
    """Stopped after 2 of 4 steps, with rows drawn at random; equal to the last bit."""
    whole, expected = run(source, rows=0.5, schedule="cosine")
    options = CheckpointOptions(checkpoint=tmp_path / "c.safetensors", every=2)

    class StopError(Exception):
        pass

    def stop(stage, done, of, note=""):
        if stage == "training" and done == 3:
            raise StopError

    with pytest.raises(StopError):
        run(source, options, progress=stop, rows=0.5, schedule="cosine")
    again = dataclasses.replace(options, resume=True)
    resumed, report = run(source, again, rows=0.5, schedule="cosine")
    assert report.resumed_from == 2
    assert report.losses == expected.losses
    assert same(whole, resumed)
    with pytest.raises(DataError, match=r"rate was 0\.0001, now 0\.001"):
        run(source, again, rows=0.5, schedule="cosine", rate=1e-3)


def test_a_seed_gives_the_same_weights_and_another_gives_others(source):
    one, other, third = run(source), run(source), run(source, seed=1)
    assert same(one[0], other[0])
    assert one[1].losses == other[1].losses != third[1].losses


def test_the_loss_falls_and_the_entropies_part():
    """Without the divergences: intra-correlations spread, inter-correlations concentrate."""
    model, settings = small_model(rate=3e-3, lambda_divergence=0.0)
    trainer = Trainer(model, settings, steps=30)
    features = list(model.backbone(pictures(3)))
    figures = [trainer.step(i, features) for i in range(30)]
    assert figures[-1]["loss"] < 0.5 * figures[0]["loss"]
    assert figures[-1]["intra_ent"] > figures[0]["intra_ent"]
    assert figures[-1]["inter_ent"] < figures[0]["inter_ent"] - 1


def test_the_backbone_stays_as_it_is(source):
    backbone = build_backbone(TINY, weights="random", levels=(8, 16))
    before = {key: value.clone() for key, value in backbone.state_dict().items()}
    model, _ = run(source)
    assert not any(p.requires_grad for p in model.backbone.parameters())
    assert all(torch.equal(before[k], v) for k, v in model.backbone.state_dict().items())


def test_memory_that_will_not_do_is_refused_before_the_start():
    backbone = build_backbone(TINY, weights="random", levels=(8, 16))
    check_memory(backbone, make_settings(**SMALL), CPU, pictures=6)
    with pytest.raises(ResourceError, match=r"features of 100000 pictures.* --batch or --size"):
        check_memory(backbone, make_settings(**SMALL, memory_limit=10**8), CPU, pictures=10**5)

    def activations(**changes):
        needed = training_memory(backbone, make_settings(**SMALL | changes), pictures=6)
        return list(needed.values())[1]

    assert activations(batch=3) == pytest.approx(3 * activations(), rel=1e-6)
    assert activations(precision="bf16") == pytest.approx(activations() * 2 / 3, rel=1e-6)
    assert 1.8 < activations(resize=(128, 96)) / activations() < 4


def test_a_loss_that_is_not_finite_stops_with_a_way_out():
    model, settings = small_model()
    features = [torch.full_like(f, float("nan")) for f in model.backbone(pictures(1))]
    with pytest.raises(DataError, match=r"got nan at step 3\. Lower --rate"):
        Trainer(model, settings, steps=9).step(2, features)


def features_of(N=7, h=3, w=4, C=5, seed=0):
    return np.random.default_rng(seed).normal(size=(N, h * w, C)).astype(np.float32)


def made(kind, features, size=3):
    return build_reference(kind, features, grid=(3, 4), size=size, seed=0)


def test_the_mean_reference_is_the_mean_of_every_place():
    features = features_of()
    expected = [[features[:, i, c].mean() for c in range(5)] for i in range(12)]
    reference = made("mean", features)
    np.testing.assert_allclose(reference.rows, expected, rtol=1e-5, atol=1e-6)
    assert reference(torch.zeros(2, 12, 5)) is reference.rows


def test_the_coreset_reference_holds_as_many_features_as_there_are_places():
    features = features_of()
    rows = made("coreset", features).rows.numpy()
    pool = features.reshape(-1, 5)
    found = [int(np.flatnonzero((pool == row).all(1))[0]) for row in rows]
    assert len(set(found)) == 12


def test_the_nearest_reference_is_the_nearest_candidate_of_the_neighbourhood():
    """Eqs. 14 and 15 with every feature of the neighbourhood a candidate."""
    features, x = features_of(), features_of(2, seed=9)
    reference = made("nearest", features, size=7 * 9)
    found = reference(torch.from_numpy(x)).numpy()
    for n in range(2):
        for i in range(12):
            y, c = divmod(i, 4)
            around = [
                features[k, yy * 4 + xx]
                for k in range(7)
                for yy in range(max(0, y - 1), min(3, y + 2))
                for xx in range(max(0, c - 1), min(4, c + 2))
            ]
            best = min(around, key=lambda f: ((f - x[n, i]) ** 2).sum())
            np.testing.assert_array_equal(found[n, i], best)


def test_prototypes_are_written_and_read_as_equations_18_to_21():
    features = features_of(N=4)
    reference = made("prototypes", features, size=2)
    unit = features / np.linalg.norm(features, axis=-1, keepdims=True)
    rng = np.random.default_rng(0)
    items = unit[rng.permutation(4)[:2]].transpose(1, 0, 2).astype(np.float64)
    for _ in range(5):
        (group,) = np.array_split(rng.permutation(4), 1)
        for i in range(12):
            x = unit[group, i].astype(np.float64)
            nearest = (x @ items[i].T).argmax(1)
            written = items[i].copy()
            for m in range(2):
                mine = np.flatnonzero(nearest == m)
                if len(mine):
                    share = np.exp(x @ items[i, m]) / np.exp(x @ items[i, m]).sum()
                    weight = share[mine] / share[mine].max()
                    written[m] = items[i, m] + (weight[:, None] * x[mine]).sum(0)
            items[i] = written / np.linalg.norm(written, axis=1, keepdims=True)
    np.testing.assert_allclose(reference.rows, items, rtol=1e-4, atol=1e-5)
    found = reference(torch.from_numpy(features)).numpy()
    w = np.exp(unit[0, 3] @ items[3].T)
    np.testing.assert_allclose(found[0, 3], w / w.sum() @ items[3], rtol=1e-4, atol=1e-5)


def test_codes_are_the_means_of_what_is_nearest_to_them():
    features = features_of(N=40)
    reference = made("codebook", features, size=4)
    rows, codes = features.reshape(-1, 5), reference.rows.numpy()
    nearest = ((rows[:, None] - codes) ** 2).sum(-1).argmin(1)
    for m in range(4):
        np.testing.assert_allclose(codes[m], rows[nearest == m].mean(0), atol=0.05)
    found = reference(torch.from_numpy(features[:1])).numpy()
    np.testing.assert_array_equal(found[0], codes[nearest[:12]])


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"resize": (250, 256)}, "multiples of 16, got 250x256"),
        ({"resize": 256}, "resizing the shorter side needs a crop"),
        ({"levels": (16, 8)}, r"levels from fine to coarse .* got \(16, 8\)"),
        ({"widths": (256,)}, "a width for each"),
        ({"widths": (255, 512)}, "8 heads and the four parts of the positions divide, got 255"),
        ({"views": "patch"}, r"score 'rec\*div' needs the inter-correlation"),
        ({"reference_size": 3}, "reference 'mean' has one feature a patch"),
        ({"rate": float("nan")}, "--rate is not a number, got nan"),
        ({"rows": 0.0}, "rows should be greater than 0"),
        ({"reference": "median"}, "reference should be 'mean', 'nearest'"),
    ],
)
def test_settings_that_cannot_be_used_are_named(values, sentence):
    with pytest.raises(SettingError, match=r"^\[fod\] settings that cannot be used: .*" + sentence):
        make_settings(option_names={"rate": "--rate"}, **values)


def test_backbones_without_the_levels_are_refused_with_those_that_they_have():
    with pytest.raises(SettingError, match=r"expected levels among those of .*\[.*16.*\] times"):
        build_backbone(TINY, weights="random", levels=(8, 64))
    with pytest.raises(SettingError, match="Leave out `torchvision:`"):
        build_backbone("torchvision:resnet18", weights="random", levels=(8, 16))


def test_efficientnet_gives_the_last_map_of_each_ratio():
    backbone = build_backbone("tf_efficientnetv2_b0", weights="random", levels=(8, 16))
    assert backbone.channels == (48, 112)
    features = backbone(torch.zeros(1, 3, 64, 64))
    assert [tuple(f.shape) for f in features] == [(1, 64, 48), (1, 16, 112)]
