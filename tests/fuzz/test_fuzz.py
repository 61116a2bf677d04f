"""The fuzz targets without atheris: their seeds, and some thousands of seeded mutations."""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import Any

import pytest
from fuzz.targets import TARGETS

from pyad_edge import engine_memory_bank_checks
from pyad_edge.onnx_gate import model

CORPUS = Path(__file__).parent / "corpus"
RUNS = {"engine": 600, "onnx": 4000, "signature": 3000, "versions": 3000}


def seeds(name: str) -> list[bytes]:
    return [path.read_bytes() for path in sorted((CORPUS / name).iterdir())]


@pytest.mark.parametrize("name", TARGETS)
def test_seeds_are_accepted(name: str) -> None:
    target = TARGETS[name]
    assert [target.accepts(seed) for seed in seeds(name)] == [True] * len(seeds(name))


@pytest.mark.parametrize("name", TARGETS)
def test_mutations_are_accepted_or_refused_in_words(name: str) -> None:
    """Both must happen: mutations that are all refused by a checksum would test nothing."""
    target, random, found = TARGETS[name], Random(7), seeds(name)
    fates = []
    for _ in range(RUNS[name]):
        data = target.mutate(random.choice(found), random)
        fates.append(target.accepts(data))
    assert len(fates) // 100 < sum(fates) < len(fates)


def test_a_number_beyond_floats_is_mutated_too() -> None:
    """JSON reads 1e999 as infinity, which is not JSON again."""
    engine = next(seed for seed in seeds("engine") if b"0.001" in seed)
    mutated = TARGETS["engine"].mutate(engine.replace(b"0.001", b"1e999"), Random(1))
    assert not TARGETS["engine"].accepts(mutated)


def test_a_gate_that_trusts_the_order_of_nodes_is_found_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(model, "_check_order", lambda model: None)
    _find("onnx", KeyError)


def test_a_reader_that_trusts_the_table_of_tensors_is_found_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    match = engine_memory_bank_checks.match_tensors

    def trusting(*args: Any) -> tuple[dict[str, int], str | None]:
        return match(*args)[0], None

    monkeypatch.setattr(engine_memory_bank_checks, "match_tensors", trusting)
    _find("engine", KeyError)


def _find(name: str, error: type[Exception]) -> None:
    """The fault shows in one of as many mutations as above, and in no seed."""
    target, random, found = TARGETS[name], Random(7), seeds(name)
    assert all(target.accepts(seed) for seed in found)
    mutations = (target.mutate(random.choice(found), random) for _ in range(RUNS[name]))
    with pytest.raises(error):
        _ = [target.accepts(mutation) for mutation in mutations]
