"""Training GRAD end to end on a few small pictures: resumed, reused, budgeted."""

from __future__ import annotations

import json

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from pyad_edge import Runtime  # noqa: E402
from pyad_edge.errors import DataError, SettingError  # noqa: E402
from pyad_edge.export.demo.box import write_box_dataset  # noqa: E402
from pyad_edge.export.methods.grad import budget, fit  # noqa: E402
from pyad_edge.export.methods.grad.command import levels_of  # noqa: E402
from pyad_edge.export.methods.grad.detector import PRESETS  # noqa: E402
from pyad_edge.export.methods.grad.settings import budget_form, make_settings  # noqa: E402
from pyad_edge.export.methods.grad.train import train_grad, work_folder  # noqa: E402
from pyad_edge.export.methods.grad.trainer import DetectorTrainer  # noqa: E402
from pyad_edge.export.methods.grad.work import WorkFolder  # noqa: E402
from pyad_edge.images import read_image  # noqa: E402

TINY = {
    "resize": (112, 112),
    "preset": "compact",
    "width": 8,
    "diffusion_steps": 4,
    "diffusion_batch": 2,
    "samples": 4,
    "sample_window": 34,
    "sampling_steps": 2,
    "detector_steps": 4,
    "patches": 4,
    "queue": 40,
}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("box") / "data"
    return write_box_dataset(folder, seed=1, train=12, good=2, per_defect=1, size=112)


def settings(**values):
    return make_settings(**TINY | {"levels": (68, 136)} | values)


@pytest.fixture(scope="module")
def trained(data, tmp_path_factory):
    out = tmp_path_factory.mktemp("grad") / "box.pyad"
    return train_grad(data, out, settings=settings())


def test_engine_and_what_lies_beside_it(trained, data):
    assert trained.difference < 1e-4
    assert trained.reused == {68: (), 136: ()}
    result = Runtime(trained.path).infer(read_image(next((data / "test/good").glob("*.png"))))
    assert np.isfinite(result.score)
    assert result.anomaly_map.shape == (112, 112)
    names = {file.name for file in work_folder(trained.path).iterdir()}
    for level, reaches in ((68, (9, 13, 17)), (136, (9, 13, 17))):
        for reach in reaches:
            assert {f"samples-{level}-{reach}.safetensors", f"samples-{level}-{reach}.png"} <= names
        assert {f"detector-{level}.csv", f"weights-{level}.png"} <= names
    sheet = read_image(work_folder(trained.path) / "samples-68-9.png")
    assert sheet.std() > 1


def test_windows_are_reused_and_the_engine_is_the_same(trained, data, tmp_path):
    out = tmp_path / "again.pyad"
    work_folder(trained.path).rename(work_folder(out))
    again = train_grad(data, out, settings=settings())
    work_folder(out).rename(work_folder(trained.path))
    assert again.reused == {68: (9, 13, 17), 136: (9, 13, 17)}
    assert again.losses == trained.losses
    scores = [Runtime(path).engine.tensors["calibration/scores"] for path in (out, trained.path)]
    np.testing.assert_array_equal(*scores)


def test_a_stopped_training_goes_on_to_the_same_weights(data, tmp_path):
    def stop(stage, done, of, note=""):
        if stage == "detector 136" and done == 3:
            raise KeyboardInterrupt

    own, out = settings(levels=(136,)), tmp_path / "box.pyad"
    whole = train_grad(data, tmp_path / "whole.pyad", settings=own)
    with pytest.raises(KeyboardInterrupt):
        train_grad(data, out, settings=own, work=WorkFolder(work_folder(out), every=2),
                   progress=stop)  # fmt: skip
    resumed = train_grad(data, out, settings=own, work=WorkFolder(work_folder(out), resume=True))
    assert resumed.losses == whole.losses
    other = own.model_copy(update={"beta": 3.0})
    with pytest.raises(DataError, match=r"beta was 2.0, now 3.0"):
        train_grad(data, out, settings=other, work=WorkFolder(work_folder(out), resume=True))


@pytest.mark.parametrize("count", [1, 7, 400])
def test_usual_logits_are_means_with_pictures_that_are_even(count):
    maps = np.random.default_rng(count).normal(size=(count, 1, 3, 4)).astype(np.float32)
    even = np.full((fit.EVEN, 1, 3, 4), maps.mean())
    expected = np.concatenate((maps, even)).mean(axis=0, keepdims=True)
    np.testing.assert_allclose(fit.usual_logits(torch.from_numpy(maps)), expected, atol=1e-5)


def test_a_training_that_was_too_short_goes_on(data, tmp_path):
    out = tmp_path / "box.pyad"
    own = settings(levels=(136,), detector_steps=2)
    short = train_grad(data, out, settings=own)
    longer = own.model_copy(update={"detector_steps": 5})
    report = train_grad(data, out, settings=longer, work=WorkFolder(work_folder(out), resume=True))
    assert report.reused == {136: (9, 13, 17)}
    assert report.losses != short.losses
    rows = (work_folder(out) / "detector-136.csv").read_text().splitlines()[1:]
    assert [int(row.split(",")[0]) for row in rows] == [1, 2, 3, 4, 5]
    assert Runtime(out).engine.manifest.training.settings["steps_136"] == 5


def test_a_level_may_be_trained_otherwise(data, tmp_path):
    own = settings(samples=3, diffusion_steps=2, detector_steps=2)
    report = train_grad(data, tmp_path / "box.pyad", settings=settings(), by_level={68: own})
    facts = Runtime(report.path).engine.manifest.training.settings
    assert (facts["steps_68"], facts["steps_136"]) == (2, 4)
    assert (facts["diffusion_steps"], facts["diffusion_steps_68"]) == (4, 2)
    assert (facts["samples"], facts["samples_68"]) == (4, 3)
    assert "samples_136" not in facts


def test_switches_of_the_ablation_change_what_they_say():
    torch.manual_seed(0)
    D = PRESETS["compact"].widths[-1]
    positive, negative = torch.rand(6, D), torch.rand(9, D)

    def weights(**switches):
        trainer = DetectorTrainer(settings(**switches), steps=4, device=torch.device("cpu"))
        generator = torch.Generator().manual_seed(1)
        trainer.positive.push(torch.rand(20, D, generator=generator))
        trainer.negative.push(torch.rand(20, D, generator=generator) ** 3)
        return trainer.weights(positive, negative)

    both = weights()
    noisy_alone = weights(reweight_tail=False)
    tail_alone = weights(reweight_noisy=False)
    neither = weights(reweight_noisy=False, reweight_tail=False)
    even = torch.full((9,), 1 / 9, dtype=torch.float64)
    assert torch.equal(neither[1], even)
    assert torch.equal(noisy_alone[0], torch.full((6,), 1 / 6, dtype=torch.float64))
    assert torch.equal(tail_alone[0], both[0])
    product = noisy_alone[1] * tail_alone[1]
    torch.testing.assert_close(both[1], product / product.sum())


def test_a_budget_is_kept_and_never_exceeds_the_paper():
    timing = budget.Timing(
        dict.fromkeys((5, 9, 13, 17), 0.1), dict.fromkeys((5, 9, 13, 17), 0.2), 0.2
    )
    own = make_settings()
    small = budget.fitted(own, "5m", 100, timing)
    plan = budget.plan_of(small, 100, timing)
    assert 270 <= sum(plan.seconds.values()) <= 301
    assert "9 PatchDiffs of 150 steps" in plan.statement(100)
    larger = budget.fitted(own, "30m", 100, timing)
    assert larger.diffusion_steps > small.diffusion_steps
    assert larger.detector_steps > small.detector_steps
    fast = budget.Timing(
        dict.fromkeys((5, 9, 13, 17), 1e-6), dict.fromkeys((5, 9, 13, 17), 1e-6), 1e-6
    )
    most = budget.fitted(own, "30m", 100, fast)
    assert (most.diffusion_steps, most.samples, most.detector_steps) == (10_000, 1000, 50_000)
    assert budget.fitted(own, "full", 100, fast) == own
    assert fit.steps_of(own, 100) == 2000 * 25
    held = budget.fitted(own.model_copy(update={"samples": 70}), "5m", 100, timing,
                         fixed={"samples"})  # fmt: skip
    assert held.samples == 70


def test_the_full_budget_is_the_papers_form_and_a_shorter_one_is_not():
    assert make_settings(**budget_form("full")) == make_settings()
    for short in ("5m", "30m"):
        own = make_settings(**budget_form(short))
        assert (own.neighbours, own.patches, own.inside) == (4, 256, 0.5)


def test_a_budgeted_training_says_what_it_will_do_and_resumes_its_plan(data, tmp_path, monkeypatch):
    monkeypatch.setattr(budget, "LEAST", dict.fromkeys(budget.LEAST, 2))
    monkeypatch.setattr(budget, "BUDGETS", {"5m": 0.01})
    said: list[str] = []
    own = settings(levels=(136,), detector_steps=None)
    out = tmp_path / "box.pyad"
    report = train_grad(data, out, settings=own, budget="5m", announce=said.append)
    assert said[0].startswith("About ")
    assert "3 PatchDiffs of 2 steps" in said[0]
    plan = json.loads((work_folder(out) / budget.FILE).read_text())
    assert plan["detector_steps"] == report.settings.detector_steps == 2
    monkeypatch.setattr(budget, "BUDGETS", {"5m": 1e9})
    work = WorkFolder(work_folder(out), resume=True)
    again = train_grad(data, out, settings=own, budget="5m", work=work, announce=said.append)
    assert again.settings.detector_steps == 2
    (work_folder(out) / budget.FILE).write_text("{")
    with pytest.raises(DataError, match=r"plan.json is not the plan of a training"):
        train_grad(data, out, settings=own, budget="5m", work=work)


def test_settings_that_cannot_be_used_are_named():
    with pytest.raises(SettingError, match=r"got 250x250; use for example 256x256"):
        make_settings(resize=(250, 250))
    with pytest.raises(SettingError, match="some of 34,68,136, such as 34,68, got '34,50'"):
        levels_of("34,50")
    assert levels_of("136, 34") == (136, 34)
