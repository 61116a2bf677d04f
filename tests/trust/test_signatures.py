"""Signatures: what passes, and one sentence for each way in which one does not."""

from __future__ import annotations

import base64
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
from command_line import call
from trust.conftest import ENGINES, Signed

from pyad_edge import EngineError, Runtime, read_engine
from pyad_edge.errors import BackendError, SettingError
from pyad_edge.trust import SignaturePolicy
from pyad_edge.trust.keys import generate_keys, public_keys
from pyad_edge.trust.statement import parse_signature, signed_bytes


def test_a_signed_engine_opens(signed: Signed) -> None:
    runtime = Runtime(signed.engine, require_signature=signed.public)
    assert runtime.info["signed"] == {
        "engine_bytes": signed.engine.stat().st_size,
        "engine_sha256": runtime.engine.file_sha256,
        "product": "bolt-m6",
        "version": 3,
    }
    assert Runtime(signed.engine).info["signed"] is None  # nobody asked
    opened = read_engine(signed.engine)
    assert Runtime(opened, require_signature=signed.public).engine.signed is not None


def test_the_signature_is_plain_ed25519_over_what_the_page_says(signed: Signed) -> None:
    """Checked here without our own code: domain line, then the statement as canonical JSON."""
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    content = json.loads(signed.signature.read_text())
    text = json.dumps(content["statement"], sort_keys=True, separators=(",", ":"))
    message = b"pyad_edge engine signature, format 1\n" + text.encode()
    key: Any = load_pem_public_key(signed.public.read_bytes())
    key.verify(base64.b64decode(content["signature"]), message)
    ((name, _),) = public_keys(signed.public).items()
    assert content["key_id"] == name


def refused(signed: Signed, why: str, **policy: Any) -> None:
    """Before anything of the engine is parsed, and without a trace in the state."""
    with pytest.raises(EngineError, match=rf"^\[signature\] .*{why}"):
        read_engine(signed.engine, require_signature=SignaturePolicy(signed.public, **policy))
    assert not signed.state.exists()


def test_missing(signed: Signed) -> None:
    signed.signature.unlink()
    refused(signed, r"has no signature: .*part\.pyad\.sig does not exist.*`pyad-edge sign`")
    signed.signature.mkdir()
    refused(signed, "is no regular file")


def test_by_an_unknown_key(signed: Signed, tmp_path: Path) -> None:
    generate_keys(tmp_path / "other.pem")
    signed.sign(3, key=tmp_path / "other.pem")
    refused(signed, r"signed by a key that is not trusted here: [0-9a-f]{16}\.\.\.")


def test_by_one_of_several_keys(signed: Signed, tmp_path: Path) -> None:
    """How keys are exchanged: both are trusted for a while."""
    public, _ = generate_keys(tmp_path / "next.pem")
    both = tmp_path / "both.pem"
    both.write_bytes(signed.public.read_bytes() + public.read_bytes())
    for key in (signed.private, tmp_path / "next.pem"):
        signed.sign(3, key=key)
        assert read_engine(signed.engine, require_signature=both).signed is not None


def test_an_unknown_key_that_claims_to_be_a_known_one(signed: Signed, tmp_path: Path) -> None:
    known = json.loads(signed.signature.read_text())["key_id"]
    generate_keys(tmp_path / "other.pem")
    signed.sign(3, key=tmp_path / "other.pem")
    content = json.loads(signed.signature.read_text())
    content["key_id"] = known
    rewrite(signed, content)
    refused(signed, "a signature that is not genuine")


@pytest.mark.parametrize(("field", "value"), [("version", 4), ("product", "nut-m6")])
def test_a_changed_statement(signed: Signed, field: str, value: object) -> None:
    content = json.loads(signed.signature.read_text())
    content["statement"][field] = value
    rewrite(signed, content)
    refused(signed, "a signature that is not genuine")


def rewrite(signed: Signed, content: object) -> None:
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    signed.signature.write_text(text + "\n")


def test_of_another_file(signed: Signed) -> None:
    shutil.copy(ENGINES / "v4_fod.pyad", signed.engine)
    refused(signed, r"is not the file that was signed as version 3 of 'bolt-m6'")


def test_of_another_product(signed: Signed) -> None:
    refused(signed, "signed for the product 'bolt-m6', but 'nut-m6' is wanted", product="nut-m6")
    policy = SignaturePolicy(signed.public, product="bolt-m6")
    assert read_engine(signed.engine, require_signature=policy).signed is not None


def test_every_flipped_bit_and_every_truncation_of_a_signature(signed: Signed) -> None:
    """The form catches most; what is still a signature in form is not genuine."""
    from cryptography.exceptions import InvalidSignature

    good = signed.signature.read_bytes()
    ((name, key),) = public_keys(signed.public).items()
    well_formed = 0
    for place in range(len(good)):
        for bit in range(8):
            flipped = good[:place] + bytes([good[place] ^ 1 << bit]) + good[place + 1 :]
            try:
                found = parse_signature(flipped, "part.pyad.sig")
            except EngineError:
                continue
            well_formed += 1
            if found.key_id == name:
                with pytest.raises(InvalidSignature):
                    key.verify(found.raw, signed_bytes(found.statement))
    assert well_formed > 100
    for length in range(len(good)):
        with pytest.raises(EngineError, match="damaged"):
            parse_signature(good[:length], "part.pyad.sig")
    for content, why in (
        (good + b"\n", "not in canonical form"),
        (good * 20, "longer than 4,096 bytes"),
        (good[:-1], "not in canonical form"),
        (good.replace(b'"version":3', b'"version":4'), "not genuine"),
    ):
        signed.signature.write_bytes(content)
        refused(signed, why)


def test_flipped_bytes_of_the_engine(signed: Signed) -> None:
    good = signed.engine.read_bytes()
    for place in range(0, len(good), 397):
        signed.engine.write_bytes(good[:place] + bytes([good[place] ^ 4]) + good[place + 1 :])
        refused(signed, "is not the file that was signed")


@pytest.mark.parametrize(
    "text",
    ["", "{}", "[]", "null", "[" * 4000, '{"format":"pyad_edge signature"}', "\x00" * 9, "é"],
)
def test_what_is_no_signature(text: str) -> None:
    with pytest.raises(EngineError, match="is no signature of pyad_edge, or is damaged"):
        parse_signature(text.encode(), "part.pyad.sig")


def test_without_the_package_a_required_signature_is_never_skipped(
    signed: Signed, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [m for m in sys.modules if m.split(".")[0] == "cryptography"]:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setitem(sys.modules, "cryptography", None)
    with pytest.raises(BackendError, match=r"needs the package cryptography.*pyad_edge\[sign\]"):
        Runtime(signed.engine, require_signature=signed.public)
    answer = call("run", signed.engine, "--source", ".", "--require-signature", signed.public)
    assert answer.code == 5
    assert "pyad_edge[sign]" in answer.sentence


def test_require_signature_takes_nothing_else(signed: Signed) -> None:
    with pytest.raises(SettingError, match="file of public keys or a SignaturePolicy, got bool"):
        Runtime(signed.engine, require_signature=True)  # type: ignore[arg-type]


def test_commands_that_open_an_engine_can_require_it(signed: Signed, part_data: Path) -> None:
    signed.signature.unlink()
    pinned = ("--require-signature", signed.public)
    for command in (
        ("run", signed.engine, "--source", part_data),
        ("eval", signed.engine, "--data", part_data),
        ("bench", signed.engine),
        ("prepare", signed.engine),
    ):
        answer = call(*command, *pinned)
        assert answer.code == 4
        assert "has no signature" in answer.sentence.replace("\n", " ")
    answer = call("run", signed.engine, "--source", part_data, "--allow-rollback")
    assert answer.code == 2
    assert "need --require-signature KEYFILE" in answer.sentence


def test_sign_and_verify_from_the_command_line(signed: Signed, tmp_path: Path) -> None:
    new = tmp_path / "new.pem"
    assert call("keygen", "--out", new).code == 0
    answer = call("sign", signed.engine, "--key", new, "--version", 7)
    assert (answer.code, "version 7 of 'part'" in answer.err) == (0, True)
    public = tmp_path / "new.pub.pem"
    answer = call("verify", signed.engine, "--key", public, "--json")
    content = json.loads(answer.out)
    assert content["signed"]["version"] == 7
    assert content["networks"]["network/onnx"]["operators"]["Conv"] == 4
    assert (
        "signed by a trusted key as version 7" in call("verify", signed.engine, "--key", public).out
    )
    assert "was not checked: give --key" in call("verify", signed.engine).out
    signed.signature.unlink()
    assert "not signed" in call("verify", signed.engine).out
    assert call("verify", signed.engine, "--key", public).code == 4
    assert not signed.state.exists()  # verify remembers nothing


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (("--version", 0), "a version from 1, got 'part' and 0"),
        (("--version", 1, "--product", "a b"), "expected a product of letters"),
        (("--version", 1, "--product", "-x"), "expected a product of letters"),
    ],
)
def test_statements_that_cannot_be_made(signed: Signed, options: Any, why: str) -> None:
    before = signed.signature.read_bytes()
    answer = call("sign", signed.engine, "--key", signed.private, *options)
    assert answer.code == 2
    assert why in answer.sentence.replace("\n", " ")
    assert signed.signature.read_bytes() == before


def test_a_damaged_engine_is_not_signed(signed: Signed) -> None:
    signed.engine.write_bytes(signed.engine.read_bytes()[:-1])
    with pytest.raises(EngineError, match="is cut off"):
        signed.sign(4)
