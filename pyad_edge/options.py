"""What the commands share: their arguments, and how they open an engine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Optional

import typer

from pyad_edge.backends.registry import BACKENDS, PRECISIONS
from pyad_edge.console import EXIT_CODES
from pyad_edge.errors import SettingError
from pyad_edge.ops import set_num_threads
from pyad_edge.runtime import Runtime
from pyad_edge.trust.check import SignaturePolicy

__all__ = [
    "EPILOG",
    "AllowRollback",
    "BackendName",
    "Device",
    "EngineFile",
    "FalseReject",
    "FixedThreshold",
    "MaskFile",
    "PixelFormat",
    "Precision",
    "Product",
    "RequireSignature",
    "Review",
    "SizePolicy",
    "Threads",
    "open_runtime",
    "signature_policy",
]

EPILOG = (
    "Exit codes: " + "; ".join(f"{code}: {meaning}" for code, meaning in EXIT_CODES.items()) + "."
)

# typer reads Optional[...] on Python 3.10; `float | None` it does not.
EngineFile = Annotated[
    Path, typer.Argument(metavar="ENGINE", help="A .pyad file.", show_default=False)
]
FalseReject = Annotated[
    Optional[float],  # noqa: UP045
    typer.Option(help="Target rate of rejected normal parts, instead of the engine's own."),
]
FixedThreshold = Annotated[
    Optional[float],  # noqa: UP045
    typer.Option("--threshold", help="A fixed score threshold instead."),
]
Review = Annotated[
    Optional[float],  # noqa: UP045
    typer.Option(
        help="Open a band for review below the threshold: the rate of normal parts in it or above "
        "it; with --threshold, a lower score."
    ),
]
Threads = Annotated[
    Optional[int],  # noqa: UP045
    typer.Option(
        min=1, max=1024, help="Threads of network and kernels; all usable cores if not given."
    ),
]
BackendName = Annotated[
    str, typer.Option("--backend", help=f"What runs the network: {', '.join(BACKENDS)}.")
]
Precision = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option(help=f"Of the network: {', '.join(PRECISIONS)}; the backend's own if not given."),
]
Device = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option(help="Where the network runs, as the backend calls it: cpu, cuda, cuda:1 ..."),
]
PixelFormat = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option(help="Of the frames: RGB8, BGR8, Mono8, Mono12, BayerRG8 ...; else the engine's."),
]
SizePolicy = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option(
        help="For frames of another size: error, resize, letterbox or tile; else the engine's."
    ),
]
MaskFile = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option("--mask", help="A picture that is white where frames are to be inspected."),
]
RequireSignature = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option(
        "--require-signature",
        metavar="KEYFILE",
        help="Open the engine only if one of these public keys signed it, and no older version "
        "than before.",
    ),
]
Product = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option("--product", help="With --require-signature: the product it must be signed for."),
]
AllowRollback = Annotated[
    bool,
    typer.Option(
        "--allow-rollback",
        help="With --require-signature: accept an older version, once and on purpose.",
    ),
]


def signature_policy(
    keys: Path | None, *, product: str | None = None, allow_rollback: bool = False
) -> SignaturePolicy | None:
    """What --require-signature and the options beside it mean.

    Raises:
        SettingError: if the others are given without it.
    """
    if keys is None:
        if product is not None or allow_rollback:
            raise SettingError(
                "--product and --allow-rollback say something about signatures, so they need "
                "--require-signature KEYFILE."
            )
        return None
    return SignaturePolicy(keys, product=product, allow_rollback=allow_rollback)


def open_runtime(
    engine: Path,
    *,
    require_signature: Path | None = None,
    product: str | None = None,
    allow_rollback: bool = False,
    false_reject: float | None = None,
    threshold: float | None = None,
    threads: int | None = None,
    **settings: Any,
) -> Runtime:
    """Open an engine for a command; threads go to the kernels as well.

    Args:
        engine: the file.
        require_signature, product, allow_rollback, false_reject, threshold, threads: as the
            options.
        **settings: further arguments of :class:`~pyad_edge.Runtime`.
    """
    if false_reject is not None and threshold is not None:
        raise SettingError("Give either --false-reject or --threshold, not both.")
    if threads is not None:
        set_num_threads(threads)
    policy = signature_policy(require_signature, product=product, allow_rollback=allow_rollback)
    return Runtime(
        engine,
        threads=threads,
        false_reject=false_reject,
        threshold=threshold,
        require_signature=policy,
        **settings,
    )
