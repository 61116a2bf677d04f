"""The fuzz targets without atheris: their seeds, and some thousands of seeded mutations."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest
from fuzz.targets import TARGETS

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
        data = random.choice(found)
        for _ in range(random.randrange(1, 4)):
            data = target.mutate(data, random)
        fates.append(target.accepts(data))
    assert len(fates) // 100 < sum(fates) < len(fates)
