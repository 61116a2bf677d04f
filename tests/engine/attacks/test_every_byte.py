"""An engine of 20 kB with a real network: no flipped byte and no truncation reaches a parser.

No byte of the file is without a check: the header is the one that its manifest demands, the
manifest has a SHA-256 and one spelling, and every other byte belongs to a tensor with a SHA-256.
"""

from __future__ import annotations

import hashlib

import pytest
from engine.attacks.spies import native_parsers
from engine_factory import engine_bytes, small_engine
from tiny_models import tiny_backbone

from pyad_edge.engine import verify_bytes
from pyad_edge.errors import EngineError

DATA = engine_bytes(*small_engine(rows=150, onnx=tiny_backbone((8, 16))))
STRIDE = 61  # of the fast tests; a prime, so that the phases differ


def refused(data: bytes) -> bool:
    try:
        verify_bytes(data, "part.pyad")
    except EngineError:
        return True
    return False


def survivors(places: range, masks: tuple[int, ...]) -> list[tuple[int, int]]:
    """(place, mask) of flips that nobody noticed."""
    damaged = bytearray(DATA)
    found = []
    for place in places:
        for mask in masks:
            damaged[place] ^= mask
            if not refused(bytes(damaged)):
                found.append((place, mask))
            damaged[place] ^= mask
    assert bytes(damaged) == DATA
    return found


def test_it_is_an_engine_of_about_20_kb() -> None:
    assert 18_000 < len(DATA) < 24_000
    assert not refused(DATA)


@pytest.mark.parametrize("masks", [(0x01, 0x20, 0x80)])
def test_some_flipped_bytes(monkeypatch: pytest.MonkeyPatch, masks: tuple[int, ...]) -> None:
    spies = native_parsers(monkeypatch)
    assert survivors(range(0, len(DATA), STRIDE), masks) == []
    assert spies.calls == []


@pytest.mark.slow
@pytest.mark.parametrize("mask", [0x01, 0x20, 0xFF])
def test_every_flipped_byte(monkeypatch: pytest.MonkeyPatch, mask: int) -> None:
    spies = native_parsers(monkeypatch)
    assert survivors(range(len(DATA)), (mask,)) == []
    assert spies.calls == []


def test_some_truncations(monkeypatch: pytest.MonkeyPatch) -> None:
    spies = native_parsers(monkeypatch)
    assert [n for n in range(0, len(DATA), STRIDE) if not refused(DATA[:n])] == []
    assert spies.calls == []


@pytest.mark.slow
def test_every_truncation(monkeypatch: pytest.MonkeyPatch) -> None:
    spies = native_parsers(monkeypatch)
    assert [length for length in range(len(DATA)) if not refused(DATA[:length])] == []
    assert spies.calls == []


def test_what_the_checks_do_not_tell() -> None:
    """Whoever makes the hashes again makes another engine: origin is what signatures are for."""
    other = engine_bytes(*small_engine(seed=1, rows=150, onnx=tiny_backbone((8, 16))))
    assert not refused(other)
    assert hashlib.sha256(other).digest() != hashlib.sha256(DATA).digest()
