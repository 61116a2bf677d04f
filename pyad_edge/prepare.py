"""Build ahead of time what a backend keeps on this machine: int8 networks, TensorRT plans."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Optional

import numpy as np
import typer

from pyad_edge.backends.base import Float32
from pyad_edge.backends.cache import CacheEntry
from pyad_edge.backends.int8 import make_int8
from pyad_edge.console import err, print_json
from pyad_edge.engine import Engine, read_engine
from pyad_edge.errors import DataError, SettingError
from pyad_edge.frame_files import read_frame
from pyad_edge.images import list_images
from pyad_edge.options import (
    AllowRollback,
    BackendName,
    Device,
    EngineFile,
    Precision,
    Product,
    RequireSignature,
    signature_policy,
)
from pyad_edge.runtime import Runtime

__all__ = ["calibration_batch", "prepare", "prepare_command", "quantise", "spread_pictures"]

MAX_PICTURES = 64  # more move the ranges of values no further


def prepare(
    engine: Engine,
    *,
    backend: str = "onnxruntime",
    precision: str | None = None,
    device: str | None = None,
    calibrate: Path | None = None,
) -> Runtime:
    """Build and keep what this backend needs, then open the engine with it once.

    Args:
        engine: a verified engine.
        backend, precision, device: see :class:`pyad_edge.Runtime`.
        calibrate: folder of normal pictures, for int8 alone.

    Returns:
        The runtime, opened: its golden pictures passed.

    Raises:
        SettingError: if int8 comes without a folder, or a folder without int8.
        DataError: if the folder has no pictures or one cannot be read.
        BackendError: if building fails.
        EngineError: if the golden scores drift with what was built.
    """
    if (precision == "int8") != (calibrate is not None):
        raise SettingError(
            "[prepare] expected --calibrate FOLDER with --precision int8 and only with it: the "
            f"ranges of 8-bit values come from normal pictures; got precision {precision}, folder "
            f"{calibrate}."
        )
    if calibrate is not None:
        quantise(engine, calibration_batch(list_images(calibrate, recursive=True), engine))
    return Runtime(engine, backend=backend, precision=precision, device=device)


def calibration_batch(paths: Sequence[Path], engine: Engine) -> Float32:
    """Pictures as the engine's network sees them, at most 64, spread evenly over the list.

    Returns:
        (n, 3, H, W) float32. Of pictures that are cut into tiles, one tile of each, another one
        from picture to picture.

    Raises:
        DataError: if there are none, or one cannot be read or is no frame of the engine's.
    """
    if not paths:
        raise DataError(
            "[prepare] the folder has no pictures to calibrate with. Name one of good parts."
        )
    chosen = spread_pictures(paths)
    runtime = Runtime(engine)
    pixel_format = runtime.info["input"]["pixel_format"]
    batch = np.empty((len(chosen), 3, *runtime.pipeline.input_size), np.float32)
    for n, path in enumerate(chosen):
        frame = read_frame(path, pixel_format)
        # Files are RGB where no format is declared.
        runtime.pipeline.write_input(frame, out=batch[n : n + 1], run=n, color_order="rgb")
    return batch


def spread_pictures(paths: Sequence[Path]) -> list[Path]:
    """At most 64 of them, spread evenly over the list."""
    chosen = np.linspace(0, len(paths) - 1, min(len(paths), MAX_PICTURES)).round().astype(int)
    return [paths[n] for n in chosen]


def quantise(engine: Engine, calibration: Float32) -> CacheEntry:
    """Make and keep the engine's int8 network; every backend with int8 uses it from then on.

    Args:
        engine: a verified engine.
        calibration: (n, 3, H, W) float32, as :func:`calibration_batch` gives it.

    Raises:
        BackendError: if the network cannot be quantised.
        ResourceError: if the result cannot be written.
    """
    model = bytes(engine.tensors["network/onnx"])
    return make_int8(model, calibration, engine=engine.file_sha256)


def prepare_command(
    engine: EngineFile,
    backend: BackendName = "onnxruntime",
    precision: Precision = None,
    device: Device = None,
    calibrate: Annotated[
        Optional[Path],  # noqa: UP045 - typer reads it on Python 3.10
        typer.Option(help="Folder of normal pictures, for --precision int8."),
    ] = None,
    require_signature: RequireSignature = None,
    product: Product = None,
    allow_rollback: AllowRollback = False,
) -> None:
    """Build what a backend keeps on this machine (int8 network, TensorRT plan) ahead of time."""
    policy = signature_policy(require_signature, product=product, allow_rollback=allow_rollback)
    opened = prepare(
        read_engine(engine, require_signature=policy),
        backend=backend,
        precision=precision,
        device=device,
        calibrate=calibrate,
    )
    about: dict[str, Any] = opened.info
    err.print("The engine opens and its golden pictures agree.")
    print_json({key: about[key] for key in ("backend", "golden_drift", "golden_tolerance")})
