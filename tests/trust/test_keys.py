"""Keys: how they are written, and what is not taken for one."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, x25519
from trust.conftest import Signed

from pyad_edge.errors import SettingError
from pyad_edge.trust.keys import generate_keys, key_id, private_key, public_bytes, public_keys


def test_files_and_their_modes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PYAD_EDGE_PASSPHRASE", raising=False)
    private = tmp_path / "line.pem"
    public, name = generate_keys(private)
    assert public == tmp_path / "line.pub.pem"
    assert private.stat().st_mode & 0o777 == 0o600
    assert public.stat().st_mode & 0o777 == 0o644
    assert private.read_bytes().startswith(b"-----BEGIN PRIVATE KEY-----")
    assert list(public_keys(public)) == [name] == [key_id(public_bytes(private_key(private)))]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["line.pem", "line.pub.pem"]


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    private = tmp_path / "line.pem"
    generate_keys(private)
    before = {p: p.read_bytes() for p in tmp_path.iterdir()}
    with pytest.raises(SettingError, match=r"line\.pem is there already, .* never overwritten"):
        generate_keys(private)
    private.rename(tmp_path / "kept.pem")
    with pytest.raises(SettingError, match=r"line\.pub\.pem is there already"):
        generate_keys(private)
    (tmp_path / "link.pem").symlink_to(tmp_path / "nowhere")
    with pytest.raises(SettingError, match="is there already"):
        generate_keys(tmp_path / "link.pem")
    assert (tmp_path / "kept.pem").read_bytes() == before[private]
    with pytest.raises(SettingError, match="a folder that exists"):
        generate_keys(tmp_path / "none" / "line.pem")


def test_a_passphrase(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    private = tmp_path / "line.pem"
    monkeypatch.setenv("PYAD_EDGE_PASSPHRASE", "correct horse")
    _, name = generate_keys(private)
    assert b"ENCRYPTED" in private.read_bytes()
    assert key_id(public_bytes(private_key(private))) == name
    monkeypatch.setenv("PYAD_EDGE_PASSPHRASE", "wrong")
    with pytest.raises(SettingError, match="cannot be read as a private key with that passphrase"):
        private_key(private)
    monkeypatch.delenv("PYAD_EDGE_PASSPHRASE")
    with pytest.raises(SettingError, match=r"is encrypted\. Set its passphrase in the variable"):
        private_key(private)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620])
def test_a_private_key_that_others_can_use(signed: Signed, tmp_path: Path, mode: int) -> None:
    copy = tmp_path / "copy.pem"
    copy.write_bytes(signed.private.read_bytes())
    copy.chmod(mode)
    with pytest.raises(SettingError, match=r"by others .*chmod 600"):
        private_key(copy)


def test_what_is_no_private_key(signed: Signed, tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="does not exist"):
        private_key(tmp_path / "none.pem")
    other = tmp_path / "other.pem"
    made = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    for content, why in ((b"", "cannot be read"), (b"x" * 99, "cannot"), (made, "another kind")):
        other.write_bytes(content)
        other.chmod(0o600)
        with pytest.raises(SettingError, match=why):
            private_key(other)


def test_what_is_no_public_key(signed: Signed, tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="holds a private key, which belongs on no inspection"):
        public_keys(signed.private)
    with pytest.raises(SettingError, match="cannot be read"):
        public_keys(tmp_path / "none.pem")
    with pytest.raises(SettingError, match="cannot be read"):
        public_keys(tmp_path / "a\0b.pem")
    other = tmp_path / "other.pem"
    foreign = x25519.X25519PrivateKey.generate().public_key()
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    x = foreign.public_bytes(serialization.Encoding.PEM, form)
    broken = b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"
    for content, why in (
        (b"", "no public key"),
        (b"hello", "no public key"),
        (x, "something else"),
        (signed.public.read_bytes() + x, "something else"),
        (broken, "something else"),
    ):
        other.write_bytes(content)
        with pytest.raises(SettingError, match=f"holds {why}"):
            public_keys(other)
