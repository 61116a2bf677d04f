"""``pyad-edge keygen``, ``sign`` and ``verify``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Optional

import typer
from rich.markup import escape

from pyad_edge.console import err, out, print_json
from pyad_edge.engine import read_engine
from pyad_edge.engine_networks import check_networks
from pyad_edge.options import EngineFile
from pyad_edge.trust.check import SignaturePolicy
from pyad_edge.trust.keys import generate_keys
from pyad_edge.trust.sign import sign_engine
from pyad_edge.trust.statement import signature_path

__all__ = ["keygen_command", "sign_command", "verify_command"]


def keygen_command(
    private: Annotated[
        Path, typer.Option("--out", help="The private key's file; the public one: NAME.pub.pem.")
    ],
) -> None:
    """Make a pair of Ed25519 keys to sign engines with (needs the extra 'sign').

    The private key is encrypted where the environment has a PYAD_EDGE_PASSPHRASE.
    """
    public, name = generate_keys(private)
    err.print(
        escape(
            f"Wrote {private} (keep it away from the line, keep a copy) and {public} (give it to "
            f"every line). Key {name}."
        ),
        highlight=False,
    )


def sign_command(
    engine: EngineFile,
    key: Annotated[Path, typer.Option(help="The private key that 'keygen' made.")],
    version: Annotated[
        int, typer.Option(help="Of the product's engine; lines refuse one that is lower.")
    ],
    product: Annotated[
        Optional[str],  # noqa: UP045 - typer reads it on Python 3.10
        typer.Option(help="What it inspects; the file's name without .pyad if not given."),
    ] = None,
) -> None:
    """Sign an engine: writes ENGINE.sig, which goes with it to the line."""
    name = product if product is not None else engine.stem
    path, statement = sign_engine(engine, key=key, product=name, version=version)
    text = f"Wrote {path}: version {statement.version} of '{statement.product}'."
    err.print(escape(text), highlight=False)


def verify_command(
    engine: EngineFile,
    key: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="File of trusted public keys; without it no signature is checked."),
    ] = None,
    product: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="What the signature must be for."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Check every byte of an engine, its networks and its signature; runs and remembers nothing."""
    policy = None if key is None else SignaturePolicy(key, product=product)
    opened = read_engine(engine, require_signature=policy)
    networks = check_networks(opened)
    content: dict[str, Any] = {
        "engine": str(engine),
        "file_sha256": opened.file_sha256,
        "networks": {
            name: {
                "operators": dict(sorted(found.operators.items())),
                "largest_value": found.largest,
                "values": found.total,
                "multiplications": found.work,
            }
            for name, found in networks.items()
        },
        "signed": None if opened.signed is None else opened.signed.model_dump(mode="json"),
    }
    if as_json:
        print_json(content)
        return
    sizes = ", ".join(
        f"{name} ({sum(found.operators.values())} nodes, {found.work / 1e9:.2g} G multiplications)"
        for name, found in networks.items()
    )
    signed = opened.signed
    if signed is not None:
        origin = f"signed by a trusted key as version {signed.version} of '{signed.product}'"
    elif signature_path(engine).exists():
        origin = "its signature was not checked: give --key"
    else:
        origin = "not signed"
    out.print(
        escape(f"{engine}: every byte as it was written; {sizes}; {origin}."), highlight=False
    )
