"""Makes a backbone file: a timm or torchvision network as ONNX, cut after its last wanted layer."""

from __future__ import annotations

import io
import json
import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from pyad_edge.backends.onnxruntime import METADATA_KEY, OnnxRuntimeBackend
from pyad_edge.errors import BackendError, ResourceError, SettingError
from pyad_edge.export.atomic_file import replace_file
from pyad_edge.export.backbones import parse_layers
from pyad_edge.export.networks import (
    Level,
    Network,
    build_network,
    find_levels,
    first_line,
    load_weights,
    require,
    truncate,
    used_modules,
)

if TYPE_CHECKING:
    import torch

__all__ = ["OPSETS", "BackboneExport", "export_backbone", "finish", "quiet"]

OPSETS = (17, 18)
TRACE_SIZE = (96, 128)
# Odd in both directions and not the traced size: a size that was frozen into the graph shows.
CHECK_SHAPES = ((2, 3, 96, 128), (1, 3, 97, 131), (3, 3, 80, 64))
MAX_RELATIVE_ERROR = 1e-4


@dataclass(frozen=True)
class BackboneExport:
    """What was written.

    Attributes:
        path: The ONNX file.
        name: Name of the network.
        weights_sha256: Of the weights file's bytes, or of the state where there was no file.
        layers: Output names.
        channels: C of every layer.
        strides: Input pixels per position of every layer.
        size_bytes: Size of the file.
        max_abs_error: Largest difference between torch and ONNX Runtime on noise, any layer.
        max_relative_error: The same over the layer's largest magnitude.
    """

    path: Path
    name: str
    weights_sha256: str
    layers: tuple[str, ...]
    channels: tuple[int, ...]
    strides: tuple[int, ...]
    size_bytes: int
    max_abs_error: float
    max_relative_error: float

    def statement(self) -> str:
        """The same for people, in one line."""
        levels = ", ".join(
            f"{name} ({channels} channels, 1/{stride})"
            for name, channels, stride in zip(self.layers, self.channels, self.strides, strict=True)
        )
        return (
            f"Wrote {self.path}: {self.name}, {levels}; {self.size_bytes / 1e6:.1f} MB; differs "
            f"from torch by at most {self.max_abs_error:.1e} ({self.max_relative_error:.1e} "
            f"relative); weights SHA-256 {self.weights_sha256}."
        )


def export_backbone(
    name: str,
    *,
    weights: Path | str,
    layers: str | Sequence[str],
    out: Path | str,
    opset: int = 17,
    seed: int = 0,
) -> BackboneExport:
    """Exports a network to one ONNX file that `train` accepts.

    The file has the input `image` (N, 3, H, W) float32, any N, H and W, and one output
    (N, C, h, w) per layer. Batch norm is folded into the convolutions.

    Args:
        name: A timm name such as `resnet18`, or `torchvision:resnet18`.
        weights: A safetensors file with the network's key names, `hub` for the publisher's
            weights, or `random`.
        layers: `2,3`: numbers of feature levels or names of modules, in the order wanted.
        out: File to write; replaced in one step when everything is checked.
        opset: ONNX operator set, 17 or 18.
        seed: Of random weights.

    Returns:
        What was written, with the measured difference between torch and ONNX Runtime.

    Raises:
        SettingError: if the operator set or the layers are written wrongly, or the folder of
            `out` cannot be written.
        BackendError: if torch is missing, the network, a layer or the weights do not exist or fit,
            the network cannot be cut there, or the file answers differently from torch.
        ResourceError: if the disk is full or fails.
    """
    if opset not in OPSETS:
        raise SettingError(f"[backbone export] expected opset 17 or 18, got {opset}.")
    names = parse_layers(layers)
    out = Path(out)
    if not out.parent.is_dir():
        raise SettingError(
            f"[backbone export] the folder of {out} does not exist. Create it first."
        )
    require("onnx")  # before minutes of work, not after
    source: Path | Literal["hub", "random"]
    match weights:
        case "hub" | "random" as source:
            pass
        case _:
            source = Path(weights)
    with quiet():
        network = build_network(name, weights=source, seed=seed)
        levels = find_levels(network, names)
        truncated = truncate(network, levels)
        strides, channels = _measure(network, truncated, levels)
        if isinstance(source, Path):
            used = used_modules(network, truncated, _noise((1, 3, *TRACE_SIZE)))
            load_weights(network, source, needed=lambda key: key.rpartition(".")[0] in used)
        model = _to_onnx(network, truncated, levels, opset)
        about = {
            "name": name,
            "weights_sha256": network.weights_sha256,
            "mean": network.mean,
            "std": network.std,
            "color_order": "rgb",
            "layers": [level.name for level in levels],
            "strides": strides,
            "channels": channels,
        }
        model = finish(model, about)
        absolute, relative = _compare(network, truncated, levels, model)
    _write(out, model)
    return BackboneExport(
        path=out,
        name=name,
        weights_sha256=network.weights_sha256,
        layers=tuple(level.name for level in levels),
        channels=channels,
        strides=strides,
        size_bytes=len(model),
        max_abs_error=absolute,
        max_relative_error=relative,
    )


def _noise(shape: tuple[int, ...]) -> torch.Tensor:
    import torch

    values = np.random.default_rng(sum(shape)).normal(size=shape)
    return torch.from_numpy(values.astype(np.float32))


def _measure(
    network: Network, truncated: torch.nn.Module, levels: Sequence[Level]
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Strides and channels; refuses layers that are not feature maps of any size."""
    import torch

    shapes = []
    for size in ((256, 192), (192, 256)):
        try:
            with torch.no_grad():
                found = truncated(_noise((1, 3, *size)))
        except Exception as error:  # whatever a network raises at a size it does not like
            raise BackendError(
                f"[backbone export] {network.name} does not run on a picture of "
                f"{size[0]}x{size[1]}: {first_line(error)}. Choose a "
                "convolutional network; it must accept any size."
            ) from error
        if len(found) != len(levels):
            raise BackendError(
                f"[backbone export] {network.name} never runs all of "
                f"{', '.join(level.module for level in levels)}. Choose other layers."
            )
        shapes.append([tuple(getattr(f, "shape", ())) for f in found])
    for level, first, second in zip(levels, *shapes, strict=True):
        turned = len(first) == 4 and second == (*first[:2], first[3], first[2])
        if not turned or first[2] <= first[3]:
            raise BackendError(
                f"[backbone export] layer {level.name} of {network.name} gives "
                f"{first or 'no single tensor'} for a picture of 256x192; expected (1, C, h, w) "
                "that follows the picture's size. Choose a convolutional layer."
            )
    # From the difference of two sizes, so that a border without padding does not count.
    strides = tuple(round((256 - 192) / (s[2] - s[3])) for s in shapes[0])
    return strides, tuple(s[1] for s in shapes[0])


def _to_onnx(
    network: Network, truncated: torch.nn.Module, levels: Sequence[Level], opset: int
) -> bytes:
    """The tracing exporter, asked for by name.

    It folds batch norm completely and takes 0.3 s for ResNet-18 and under 2 s for
    EfficientNetV2-B0. The exporter built on torch.export gives the same graph for ResNet-18 in
    5 s, for EfficientNetV2-B0 it takes 97 s and leaves three batch norms; at 224 px their files run
    equally fast (15.4 and 15.5 ms, 9.2 and 9.3 ms, 2 shared cores, interleaved).
    """
    import torch

    axes = {level.name: {0: "N", 2: f"{level.name}_H", 3: f"{level.name}_W"} for level in levels}
    buffer = io.BytesIO()
    try:
        with torch.no_grad():
            torch.onnx.export(
                truncated,
                (_noise((2, 3, *TRACE_SIZE)),),
                buffer,
                dynamo=False,
                opset_version=opset,
                input_names=["image"],
                output_names=[level.name for level in levels],
                dynamic_axes={"image": {0: "N", 2: "H", 3: "W"}, **axes},
                do_constant_folding=True,
            )
    except Exception as error:
        raise BackendError(
            f"[backbone export] torch {torch.__version__} cannot write {network.name} as ONNX "
            f"opset {opset}: {first_line(error)}. Choose another network."
        ) from error
    return buffer.getvalue()


def finish(model: bytes, about: dict[str, Any]) -> bytes:
    """Adds the metadata and checks the file's form."""
    onnx = require("onnx")
    proto = onnx.load_from_string(model)
    onnx.helper.set_model_props(
        proto, {METADATA_KEY: json.dumps(about, sort_keys=True, separators=(",", ":"))}
    )
    onnx.checker.check_model(proto, full_check=True)
    return bytes(proto.SerializeToString(deterministic=True))


def _compare(
    network: Network, truncated: torch.nn.Module, levels: Sequence[Level], model: bytes
) -> tuple[float, float]:
    """Largest absolute and relative difference between torch and ONNX Runtime."""
    import torch

    backend = OnnxRuntimeBackend(model, outputs=tuple(level.name for level in levels))
    absolute = relative = 0.0
    for shape in CHECK_SHAPES:
        image = _noise(shape)
        with torch.no_grad():
            wanted = [output.numpy() for output in truncated(image)]
        for level, a, b in zip(levels, wanted, backend.run(image.numpy()), strict=True):
            if a.shape != b.shape or not np.isfinite(a).all():
                raise BackendError(
                    f"[backbone export] layer {level.name} of {network.name} at {shape}: expected "
                    f"finite features of shape {a.shape}, got {b.shape}"
                    f"{'' if np.isfinite(a).all() else ' with NaN or infinity'}. "
                    "Are the weights sound, and does the network accept any size?"
                )
            error = float(np.abs(a.astype(np.float64) - b).max())
            absolute = max(absolute, error)
            relative = max(relative, error / max(float(np.abs(a).max()), 1e-30))
    if not relative <= MAX_RELATIVE_ERROR:
        raise BackendError(
            f"[backbone export] {network.name} as ONNX differs from torch by {relative:.1e} "
            f"relative; at most {MAX_RELATIVE_ERROR:.0e} is accepted. Choose another network."
        )
    return absolute, relative


@contextmanager
def quiet() -> Iterator[None]:
    """Keeps what exporters and hubs have to say away from users; failures arrive as exceptions."""
    disabled = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)


def _write(path: Path, model: bytes) -> None:
    def verify(written: Path) -> None:
        if written.read_bytes() != model:
            raise ResourceError(
                f"[backbone export] {path} reads back differently from what was written. Check "
                "the disk."
            )

    replace_file(path, [memoryview(model)], verify=verify)
