"""The cache of built things: what is found again, and what is not trusted."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
from pathlib import Path

import pytest

from pyad_edge.backends import cache
from pyad_edge.errors import BackendError, ResourceError

KEY = cache.cache_key(engine="a" * 64, backend="test")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PYAD_EDGE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_built_once_and_found_again() -> None:
    built: list[int] = []

    def build() -> bytes:
        built.append(1)
        return b"a plan\n\n\x00of bytes"

    assert cache.load(KEY, kind="plan") is None
    for _ in range(3):
        assert cache.cached(KEY, build, kind="plan", about={"for": "tests"}) == build()
    assert len(built) == 4  # once by the cache, three times by the comparison
    assert cache.load(KEY, kind="plan") == cache.CacheEntry(build(), {"for": "tests"})
    assert cache.load(KEY, kind="int8") is None


def test_keys_differ_with_every_part() -> None:
    parts = {"engine": "a", "version": "1", "device": "x", "settings": {"precision": "fp16"}}
    keys = {cache.cache_key(**parts)}
    for name in parts:
        keys.add(cache.cache_key(**{**parts, name: "other"}))
    assert len(keys) == 5
    assert cache.cache_key(**dict(reversed(parts.items()))) == cache.cache_key(**parts)


def test_folders_and_files_are_this_users_alone(folder: Path) -> None:
    before = os.umask(0)
    try:
        path = cache.store(KEY, b"x", kind="plan", about={})
    finally:
        os.umask(before)
    assert [stat_mode(p) for p in (folder, path.parent, path)] == [0o700, 0o700, 0o600]
    assert {p.name for p in path.parent.iterdir()} == {path.name, "device.key"}
    assert stat_mode(path.with_name("device.key")) == 0o600


def stat_mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


@pytest.mark.parametrize("level", [0, 1, 2])
@pytest.mark.parametrize("mode", [0o020, 0o002])
def test_what_others_may_write_is_refused(folder: Path, level: int, mode: int) -> None:
    path = cache.store(KEY, b"x", kind="plan", about={})
    chosen = (path, path.parent, folder)[level]
    chosen.chmod(chosen.stat().st_mode | mode)
    with pytest.raises(BackendError, match=r"may be written by others.*chmod go-w"):
        cache.load(KEY, kind="plan")
    if level:
        with pytest.raises(BackendError, match="may be written by others"):
            cache.store(KEY, b"y", kind="plan", about={})


def test_what_another_user_owns_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    cache.store(KEY, b"x", kind="plan", about={})
    other = os.getuid() + 1
    monkeypatch.setattr(os, "getuid", lambda: other)
    with pytest.raises(BackendError, match=rf"belongs to user {other - 1}, not to user {other}"):
        cache.load(KEY, kind="plan")


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    path = cache.store(KEY, b"x", kind="plan", about={})
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(BackendError, match="cannot be opened"):
        cache.load(KEY, kind="plan")


def test_any_flipped_byte_and_any_cut_is_noticed() -> None:
    content = bytes(range(64))
    path = cache.store(KEY, content, kind="plan", about={"n": 1})
    good = path.read_bytes()
    for n in range(len(good) - len(content), len(good)):
        path.write_bytes(good[:n] + bytes([good[n] ^ 1]) + good[n + 1 :])
        with pytest.raises(BackendError, match=r"is damaged.*pyad-edge prepare"):
            cache.load(KEY, kind="plan")
    for n in range(len(good)):
        path.write_bytes(good[:n])
        with pytest.raises(BackendError, match="is damaged"):
            cache.load(KEY, kind="plan")
    for header in (b"{}", b"[]", b"{", b'{"hmac": 1, "about": 2}', b"\xff", b"[" * 9999):
        path.write_bytes(b"pyad_edge cache 2\n" + header + b"\n" + content)
        with pytest.raises(BackendError, match="is damaged"):
            cache.load(KEY, kind="plan")


def test_a_write_that_stopped_half_way_leaves_the_old_one(monkeypatch: pytest.MonkeyPatch) -> None:
    path = cache.store(KEY, b"old", kind="plan", about={})

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ResourceError, match=r"No space left.*PYAD_EDGE_CACHE"):
        cache.store(KEY, b"new", kind="plan", about={})
    found = cache.load(KEY, kind="plan")
    assert found is not None
    assert found.content == b"old"
    assert {p.name for p in path.parent.iterdir()} == {path.name, "device.key"}


def test_what_another_machine_made_is_refused(folder: Path) -> None:
    path = cache.store(KEY, b"a plan", kind="plan", about={"n": 1})
    made = path.read_bytes()
    path.with_name("device.key").unlink()
    with pytest.raises(BackendError, match=r"device\.key is missing.*Delete that folder"):
        cache.load(KEY, kind="plan")
    cache.store(KEY, b"a plan", kind="plan", about={"n": 1})  # under a key of its own
    assert path.read_bytes() != made
    path.write_bytes(made)
    with pytest.raises(BackendError, match="was not made on this machine"):
        cache.load(KEY, kind="plan")


def test_the_name_belongs_to_the_content() -> None:
    path = cache.store(KEY, b"a plan", kind="plan", about={})
    path.rename(path.with_suffix(".int8"))
    with pytest.raises(BackendError, match="is damaged"):
        cache.load(KEY, kind="int8")


def test_whoever_knows_no_key_can_make_no_entry() -> None:
    path = cache.store(KEY, b"a plan", kind="plan", about={})
    magic, header, content = path.read_bytes().split(b"\n", 2)
    forged = hmac.new(b"", content, hashlib.sha256).hexdigest()
    for seal in (forged, "", None, 1, "\u00e9"):
        entry = json.dumps({**json.loads(header), "hmac": seal}).encode()
        path.write_bytes(b"\n".join([magic, entry, content]))
        with pytest.raises(BackendError, match="is damaged"):
            cache.load(KEY, kind="plan")


def test_the_key_is_for_this_users_eyes(folder: Path) -> None:
    path = cache.store(KEY, b"x", kind="plan", about={})
    path.with_name("device.key").chmod(0o644)
    for call in (
        lambda: cache.load(KEY, kind="plan"),
        lambda: cache.store(KEY, b"y", kind="plan", about={}),
    ):
        with pytest.raises(BackendError, match=r"device\.key may be read by others"):
            call()
    path.with_name("device.key").chmod(0o600)
    path.with_name("device.key").write_bytes(b"short")
    with pytest.raises(BackendError, match=r"device\.key is damaged"):
        cache.load(KEY, kind="plan")


@pytest.mark.parametrize("level", [0, 1])
def test_a_folder_that_is_a_link_is_refused(folder: Path, tmp_path: Path, level: int) -> None:
    path = cache.store(KEY, b"x", kind="plan", about={})
    chosen = (path.parent, folder)[level]
    chosen.rename(tmp_path / "elsewhere")
    chosen.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(BackendError, match="is a link"):
        cache.load(KEY, kind="plan")
    with pytest.raises(BackendError, match="is a link"):
        cache.store(KEY, b"y", kind="plan", about={})


def test_entries_without_a_key_are_built_again() -> None:
    path = cache.store(KEY, b"x", kind="plan", about={})
    path.write_bytes(b'pyad_edge cache 1\n{"about": {}, "sha256": ""}\nx')
    assert cache.load(KEY, kind="plan") is None
    assert cache.cached(KEY, lambda: b"built", kind="plan") == b"built"


def test_the_usual_folder_is_in_the_users_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PYAD_EDGE_CACHE")
    assert cache.cache_folder() == Path.home() / ".cache" / "pyad_edge"
