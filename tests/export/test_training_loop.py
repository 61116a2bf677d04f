"""The loop of a training: what it resumes, logs, saves and says; Ctrl-C."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from pyad_edge.errors import DataError, ResourceError, SettingError  # noqa: E402
from pyad_edge.export.training.device import seed_everything  # noqa: E402
from pyad_edge.export.training.loop import LoopReport, require_memory, run_loop  # noqa: E402

IDENTITY = {"method": "test", "settings": {"rate": 0.1, "size": (4, 4)}, "fingerprint": "ab"}


class Regression:
    """A linear fit whose steps draw noise, so that all of the state matters."""

    def __init__(self) -> None:
        seed_everything(0)
        self.model = torch.nn.Linear(3, 1)
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=0.1)
        self.stop_at: int | None = None

    def step(self, iteration: int) -> dict[str, float]:
        x = torch.randn(8, 3)
        loss = (self.model(x) - x.sum(1, keepdim=True)).square().mean()
        self.optimizer.zero_grad()
        loss.backward()
        if iteration == self.stop_at:
            os.kill(os.getpid(), signal.SIGINT)
        self.optimizer.step()
        return {"loss": loss.item(), "iteration": float(iteration)}

    def run(self, iterations: int, **options: object) -> LoopReport:
        parts = {"model": self.model, "optimizer": self.optimizer}
        options = {"identity": IDENTITY, **options}
        return run_loop(self.step, iterations=iterations, parts=parts, **options)  # type: ignore[arg-type]


def weights(run: Regression) -> list[float]:
    return [value.item() for p in run.model.parameters() for value in p.detach().reshape(-1)]


def test_it_learns_and_reports_every_step() -> None:
    told: list[tuple[str, int, int, str]] = []
    report = Regression().run(40, progress=lambda *told_now: told.append(told_now))
    assert report.losses[-1] < 0.5 * report.losses[0]
    assert (report.steps, report.resumed_from, len(report.losses)) == (40, 0, 40)
    assert told[-1] == ("training", 40, 40, f"loss {report.losses[-1]:.4g}")
    assert report.seconds > 0


def test_a_resumed_training_takes_the_same_steps(tmp_path: Path) -> None:
    whole, file, log = Regression(), tmp_path / "c.safetensors", tmp_path / "log.csv"
    straight = whole.run(12)
    Regression().run(7, checkpoint=file, every=5, csv=log)
    again = Regression()
    seed_everything(99)
    report = again.run(12, checkpoint=file, every=5, resume=True, csv=log)
    assert report.losses == straight.losses
    assert report.resumed_from == 7
    assert weights(again) == weights(whole)
    rows = log.read_text().splitlines()
    assert rows[0] == "step,loss,iteration"
    assert [row.split(",")[0] for row in rows[1:]] == [str(step) for step in range(1, 13)]
    assert [float(row.split(",")[1]) for row in rows[1:]] == list(straight.losses)


def test_ctrl_c_finishes_the_step_saves_and_says_how_to_go_on(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        straight, file = Regression().run(9), tmp_path / "c.safetensors"
        stopped = Regression()
        stopped.stop_at = 3
        with pytest.raises(KeyboardInterrupt):
            stopped.run(9, checkpoint=file, every=100)
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, handler)
    said = " ".join(capfd.readouterr().err.split())
    assert "4 of 9 steps are in" in said
    assert "Go on with the same command and --resume." in said
    report = Regression().run(9, checkpoint=file, resume=True)
    assert report.resumed_from == 4
    assert report.losses == straight.losses


def test_ctrl_c_without_a_checkpoint_says_that_nothing_was_saved(
    capfd: pytest.CaptureFixture[str],
) -> None:
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        stopped = Regression()
        stopped.stop_at = 0
        with pytest.raises(KeyboardInterrupt):
            stopped.run(9)
    finally:
        signal.signal(signal.SIGINT, handler)
    assert "Nothing was saved: give --checkpoint FILE" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("change", "phrase"),
    [
        ({"method": "other"}, "method was 'test', now 'other'"),
        ({"settings": {"rate": 0.2, "size": (4, 4)}}, "rate was 0.1, now 0.2"),
        ({"fingerprint": "cd"}, "its pictures are others"),
    ],
)
def test_another_training_is_refused(
    tmp_path: Path, change: dict[str, object], phrase: str
) -> None:
    file = tmp_path / "c.safetensors"
    Regression().run(2, checkpoint=file)
    with pytest.raises(DataError, match="is of another training") as failure:
        Regression().run(4, checkpoint=file, resume=True, identity=IDENTITY | change)
    assert phrase in str(failure.value)


def damaged(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-9])


def foreign(file: Path) -> None:
    from safetensors.torch import save_file

    save_file({"x": torch.zeros(1)}, file)


@pytest.mark.parametrize(
    ("damage", "phrase"),
    [
        (damaged, "cannot be read as a checkpoint"),
        (foreign, "without a training's state"),
        (Path.unlink, "cannot be read as a checkpoint"),
    ],
)
def test_what_is_no_checkpoint_is_refused(
    tmp_path: Path, damage: Callable[[Path], object], phrase: str
) -> None:
    file = tmp_path / "c.safetensors"
    Regression().run(1, checkpoint=file)
    damage(file)
    with pytest.raises(DataError, match=phrase):
        Regression().run(2, checkpoint=file, resume=True)


def test_resuming_needs_a_file() -> None:
    with pytest.raises(SettingError, match="--resume needs --checkpoint"):
        Regression().run(1, resume=True)


def test_memory_that_will_not_do_is_refused_before_the_start() -> None:
    require_memory({"weights": 10**9}, limit=10**9, options="--batch")
    parts = {"weights": 10**9, "activations": 25 * 10**8}
    with pytest.raises(ResourceError) as failure:
        require_memory(parts, limit=3 * 10**9, options="--batch or --size")
    assert str(failure.value) == (
        "[train] the training needs about 3.5 GB of memory (1.0 GB for weights, 2.5 GB for "
        "activations), the limit is 3.0 GB. Use a smaller --batch or --size, or raise "
        "--memory-limit."
    )
