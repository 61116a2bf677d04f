from __future__ import annotations

import itertools
import json
import math
import sys
import time
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from pyad_edge import ops
from pyad_edge.ops._native import native

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT / "benchmarks" / "kernels"))
pytest.importorskip("torch")

import compare  # noqa: E402
import kernels_table  # noqa: E402
import run as benchmarks  # noqa: E402
from ceilings import Ceilings, peak  # noqa: E402
from timing import interleaved  # noqa: E402

ARGUMENTS = ["--rounds", "3", "--seconds", "0.1", "--threads", "1"]


@pytest.fixture
def session() -> compare.Session:
    return compare.Session(compare.parser("a test").parse_args(ARGUMENTS))


@pytest.fixture(autouse=True)
def threads() -> object:
    count = ops.num_threads()
    yield
    ops.set_num_threads(count)


@pytest.mark.parametrize("wrong", [np.ones(4), np.full(4, np.nan)])
def test_a_wrong_kernel_is_not_timed(session: compare.Session, wrong: np.ndarray) -> None:
    calls = []

    def run() -> np.ndarray:
        calls.append(1)
        return wrong

    with compare.shared_session(session):
        benchmark = compare.Benchmark("kernel: what it does")
        with pytest.raises(SystemExit, match="a wrong kernel is not timed"):
            benchmark.case("case", np.zeros(4), [("ours", run, 0.5), ("peer", run, 2.0)])
    assert len(calls) == 1
    assert session.rows == []


def test_a_wrong_peer_gets_no_row(session: compare.Session) -> None:
    with compare.shared_session(session):
        benchmark = compare.Benchmark("kernel: what it does")
        benchmark.case(
            "case",
            np.zeros(4),
            [
                ("ours", lambda: np.zeros(4), 0.0),
                ("wrong", lambda: np.ones(4), 0.5),
                ("rounded", lambda: np.full(4, 0.25), 0.5),
            ],
            flop=1e6,
        )
    assert [row.name for row in session.rows] == ["ours", "rounded"]
    assert [row.error for row in session.rows] == [0.0, 0.25]
    assert session.rows[0].ratio == 1.0
    assert "error 1 > 0.5" in session.skipped["kernel, case, wrong"]


def test_fractions_are_of_the_bound_that_takes_longer(
    session: compare.Session, tmp_path: Path
) -> None:
    with compare.shared_session(session):
        benchmark = compare.Benchmark("kernel: what it does")
        ours = [("ours", lambda: np.zeros(1), 0.0)]
        benchmark.case("arithmetic", np.zeros(1), ours, flop=1e12, moved=1e3)
        benchmark.case("memory", np.zeros(1), ours, flop=1.0, moved=1e6)
        benchmark.case("unknown", np.zeros(1), ours, flop=1.0, ceiling="int8.of_another_machine")
    session.write(tmp_path / "file.json")
    arithmetic, memory, unknown = session.rows
    assert (arithmetic.ceiling, arithmetic.unit) == (peak(ops.cpu_level()), "GFLOP/s")
    assert (memory.ceiling, memory.unit) == ("copy, 1 MB", "GB/s")
    assert (unknown.fraction, unknown.unit) == (None, "GOP/s")
    for row in (arithmetic, memory):
        assert row.giga is not None
        assert row.fraction == row.giga / session.ceilings.found[row.ceiling]


def test_a_run_writes_what_the_table_shows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "kernels.machine.json"
    found = benchmarks.main(["--kernels", "anomaly_map", "--json", str(file), *ARGUMENTS])
    written = json.loads(file.read_text())
    assert len(written["rows"]) == len(found.rows) > 0
    assert {"processor", "threads", "level", "versions"} <= set(written["machine"])
    assert all(row["ms"] > 0 and row["fraction"] > 0 for row in written["rows"])
    monkeypatch.setattr(kernels_table, "RESULTS", tmp_path)
    page = kernels_table.with_tables(
        f"before\n{kernels_table.BEGIN}\nold\n{kernels_table.END}\nafter\n"
    )
    assert page.startswith("before\n")
    assert page.endswith("\nafter\n")
    assert "old" not in page
    assert page.count("pyad_edge") == sum(row.name == "pyad_edge" for row in found.rows)


def test_a_kernel_that_fails_neither_ends_the_run_nor_loses_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "kernels.json"
    left: list[object] = []
    level = ops.cpu_level()

    def wrong() -> None:
        ops.set_cpu_level("portable")
        raise SystemExit("a wrong kernel is not timed.")

    def broken() -> None:
        left.append(json.loads(file.read_text())["failed"])
        raise RuntimeError("an illegal address")

    def timed() -> None:
        assert ops.cpu_level() == level
        left.append(json.loads(file.read_text())["failed"])
        benchmark = compare.Benchmark("rerank: what it does")
        benchmark.case("case", np.zeros(1), [("ours", lambda: np.zeros(1), 0.0)])

    for name, main in (("preprocess", wrong), ("anomaly_map", broken), ("rerank", timed)):
        monkeypatch.setitem(sys.modules, name, SimpleNamespace(main=main))
    monkeypatch.setattr(benchmarks, "RESULTS", tmp_path / "results")
    kernels = ["preprocess", "anomaly_map", "rerank"]
    with pytest.raises(SystemExit, match="failed: preprocess, anomaly_map"):
        benchmarks.main(["--kernels", *kernels, "--json", str(file), "--save", *ARGUMENTS])
    first = {"preprocess": "SystemExit: a wrong kernel is not timed."}
    both = first | {"anomaly_map": "RuntimeError: an illegal address"}
    assert left == [first, both]
    written = json.loads(file.read_text())
    assert written["failed"] == both
    assert [row["kernel"] for row in written["rows"]] == ["rerank"]
    assert not (tmp_path / "results").exists()
    assert "RuntimeError: an illegal address" in capsys.readouterr().err


def test_on_cuda_what_matters_most_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(benchmarks, "_require_cuda", lambda: None)
    order: list[str] = []
    for kernel in benchmarks.KERNELS:
        main = partial(order.append, kernel)
        monkeypatch.setitem(sys.modules, f"cuda_{kernel}", SimpleNamespace(main=main))
    benchmarks.main(["--device", "cuda", *ARGUMENTS])
    assert order[:2] == list(benchmarks.FIRST_ON_CUDA)
    assert sorted(order) == sorted(benchmarks.KERNELS)


def test_a_device_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(SystemExit, match="needs a CUDA device"):
        benchmarks.main(["--device", "cuda"])


def test_without_shared_data_the_reason_is_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, session: compare.Session
) -> None:
    monkeypatch.setenv("PYAD_EDGE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PYAD_EDGE_TEST_DATA", str(tmp_path))
    with compare.shared_session(session):
        assert compare.Benchmark("kernel: what it does").features() is None
    assert "needs data/mtd" in session.skipped["kernel, real features"]
    session.options.features = tmp_path / "missing.npz"
    with compare.shared_session(session):
        assert compare.Benchmark("kernel: what it does").features() is None
    assert "there is no file" in session.skipped["kernel, real features"]


def test_a_run_drives_every_benchmark() -> None:
    folder = ROOT / "benchmarks" / "kernels"
    found = {
        path.stem for path in folder.glob("*.py") if "\ndef main() -> None:" in path.read_text()
    }
    on_device = {name for name in found if name.startswith("cuda_")}
    assert found - on_device == set(benchmarks.KERNELS)
    assert on_device <= {f"cuda_{name}" for name in benchmarks.KERNELS}


def test_the_page_shows_the_result_files() -> None:
    text = kernels_table.PAGE.read_text()
    assert kernels_table.with_tables(text) == text, "run: python benchmarks/kernels_table.py"


def test_contenders_take_turns() -> None:
    order: list[str] = []

    def run(name: str) -> None:
        order.append(name)
        time.sleep(0.01)  # longer than a turn, so that each has one call

    times = interleaved([lambda: run("a"), lambda: run("b")], rounds=5, seconds=60)
    assert times.shape == (5, 2)
    turns = [name for name, _ in itertools.groupby(order)]
    assert turns == ["a", "b"] * 6  # one to see how long each takes, then the rounds
    assert len(order) > 2 * 6  # each settles before its turn is timed


def test_ceilings_are_finite() -> None:
    names = native.peak_names()
    assert "fma.portable" in names
    for name in names:
        assert 0 < native.peak_rate(name) < math.inf
    for size in (1, 1 << 20):
        assert 0 < native.read_rate(size) < math.inf
        assert 0 < native.copy_rate(size) < math.inf
    with pytest.raises(ValueError, match=r"no peak named 'fma\.abacus'"):
        native.peak_rate("fma.abacus")
    assert Ceilings().of("fma.abacus") is None


def test_every_level_has_a_float32_ceiling() -> None:
    for level in ops.available_cpu_levels():
        assert peak(level) in native.peak_names()
