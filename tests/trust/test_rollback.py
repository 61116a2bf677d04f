"""No older version of a product opens, unless somebody says so once."""

from __future__ import annotations

import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from command_line import call
from trust.conftest import Signed

from pyad_edge import EngineError, ResourceError, Runtime
from pyad_edge.trust import SignaturePolicy
from pyad_edge.trust.state import VersionState, parse_versions, state_folder


def opened(signed: Signed, **policy: bool) -> Runtime:
    return Runtime(signed.engine, require_signature=SignaturePolicy(signed.public, **policy))  # type: ignore[arg-type]


def kept(signed: Signed) -> dict[str, int]:
    found: dict[str, int] = json.loads((signed.state / "versions.json").read_text())["highest"]
    return found


def test_versions_only_grow(signed: Signed) -> None:
    for version in (3, 3, 5):
        signed.sign(version)
        opened(signed)
        assert kept(signed) == {"bolt-m6": version}
    signed.sign(4)
    with pytest.raises(
        EngineError, match=r"is version 4 of 'bolt-m6', but version 5 was accepted .*allow-rollback"
    ):
        opened(signed)
    assert kept(signed) == {"bolt-m6": 5}
    signed.sign(1, product="nut-m6")  # another product has numbers of its own
    opened(signed)
    assert kept(signed) == {"bolt-m6": 5, "nut-m6": 1}


def test_back_on_purpose_once(signed: Signed) -> None:
    signed.sign(9)
    opened(signed)
    signed.sign(4)
    opened(signed, allow_rollback=True)
    assert kept(signed) == {"bolt-m6": 4}
    opened(signed)  # from now on without the option
    signed.sign(3)
    with pytest.raises(EngineError, match="version 4 was accepted"):
        opened(signed)


def test_what_does_not_run_here_shuts_nothing_out(
    signed: Signed, monkeypatch: pytest.MonkeyPatch
) -> None:
    def drift(*_: object, **__: object) -> float:
        raise EngineError("drift")

    monkeypatch.setattr("pyad_edge.runtime.check_golden", drift)
    signed.sign(9)
    with pytest.raises(EngineError, match="drift"):
        opened(signed)
    assert not signed.state.exists()


def test_verify_tells_without_remembering(signed: Signed) -> None:
    signed.sign(8)
    opened(signed)
    signed.sign(7)
    answer = call("verify", signed.engine, "--key", signed.public)
    assert answer.code == 4
    assert "version 8 was accepted" in answer.sentence.replace("\n", " ")
    signed.sign(10)
    assert call("verify", signed.engine, "--key", signed.public).code == 0
    assert kept(signed) == {"bolt-m6": 8}


def test_folder_and_file_are_this_users_alone(signed: Signed) -> None:
    before = os.umask(0)
    try:
        opened(signed)
    finally:
        os.umask(before)
    modes = [p.stat().st_mode & 0o777 for p in (signed.state, signed.state / "versions.json")]
    assert modes == [0o700, 0o600]
    assert {p.name for p in signed.state.iterdir()} == {"versions.json", "versions.lock"}


@pytest.mark.parametrize("which", ["folder", "file"])
@pytest.mark.parametrize("mode", [0o777, 0o720])
def test_what_others_may_write_is_refused(signed: Signed, which: str, mode: int) -> None:
    opened(signed)
    path = signed.state if which == "folder" else signed.state / "versions.json"
    path.chmod(mode)
    with pytest.raises(EngineError, match=r"may be written by others.*PYAD_EDGE_STATE"):
        opened(signed)


def test_links_are_refused(signed: Signed, tmp_path: Path) -> None:
    opened(signed)
    path = signed.state / "versions.json"
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(EngineError, match="cannot be opened"):
        opened(signed)
    path.unlink()
    signed.state.rename(tmp_path / "folder")
    signed.state.symlink_to(tmp_path / "folder")
    with pytest.raises(EngineError, match="is a link"):
        opened(signed)


def test_every_flip_and_truncation_of_the_state_is_refused_or_as_valid(signed: Signed) -> None:
    """It has no checksum: a flip may give another number, but never a file that is half read."""
    signed.sign(12345)
    opened(signed)
    path = signed.state / "versions.json"
    good = path.read_bytes()
    for length in range(1, len(good)):
        path.write_bytes(good[:length])
        with pytest.raises(EngineError, match=r"versions\.json is damaged.*delete it"):
            opened(signed)
    for place in range(len(good)):
        flipped = good[:place] + bytes([good[place] ^ 0x80]) + good[place + 1 :]
        with pytest.raises(EngineError, match="is damaged"):
            parse_versions(flipped, "versions.json")
    path.write_bytes(b"")
    with pytest.raises(EngineError, match="is damaged"):
        opened(signed)


def test_a_full_disk_is_a_sentence_and_keeps_the_old_state(
    signed: Signed, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened(signed)
    signed.sign(4)

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ResourceError, match=r"No space left.*older engine could not be told"):
        opened(signed)
    assert kept(signed) == {"bolt-m6": 3}


def test_writers_do_not_forget_each_others_versions(tmp_path: Path) -> None:
    """Each opens the lock's file anew, so threads exclude each other as processes do."""
    state = VersionState(tmp_path / "state")
    names = [f"product-{n}" for n in range(4)]

    def remember(name: str) -> None:
        for version in range(1, 16):
            state.remember(name, version)

    with ThreadPoolExecutor(len(names)) as pool:
        list(pool.map(remember, names))
    assert [state.highest(name) for name in names] == [15] * 4


def test_the_usual_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PYAD_EDGE_STATE", str(tmp_path / "own"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "xdg"))
    assert state_folder() == tmp_path / "own"
    monkeypatch.delenv("PYAD_EDGE_STATE")
    assert state_folder() == tmp_path / "xdg" / "pyad_edge"
    for other in ("", "relative"):
        monkeypatch.setenv("XDG_STATE_HOME", other)
        assert state_folder() == Path.home() / ".local" / "state" / "pyad_edge"
