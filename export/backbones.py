"""Which network extracts features: the embedded one, or an ONNX file with or without our metadata.

Everything is read through ONNX Runtime, so that training a memory bank needs neither torch nor the
onnx package.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from pyad_edge.backends.onnxruntime import METADATA_KEY, OnnxRuntimeBackend, open_session
from pyad_edge.errors import BackendError, SettingError
from pyad_edge.onnx_gate.check import check_network
from pyad_edge.onnx_gate.errors import GateError

__all__ = ["EMBEDDED", "Backbone", "BackboneMetadata", "parse_layers", "resolve_backbone"]

EMBEDDED = ("edge18",)
PROBE_SIZE = 256
_Finite = Annotated[float, Field(allow_inf_nan=False)]
_Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class BackboneMetadata(BaseModel):
    """What a backbone file says about itself, JSON under `pyad_edge.backbone`."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    name: Annotated[str, Field(min_length=1)]
    weights_sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None  # None: not known
    mean: tuple[_Finite, _Finite, _Finite]
    std: tuple[_Positive, _Positive, _Positive]
    color_order: Literal["rgb", "bgr"]
    layers: Annotated[tuple[str, ...], Field(min_length=1)]
    strides: tuple[Annotated[int, Field(ge=1)], ...]
    channels: tuple[Annotated[int, Field(ge=1)], ...]

    @model_validator(mode="after")
    def _one_entry_per_layer(self) -> BackboneMetadata:
        counts = {len(self.layers), len(set(self.layers)), len(self.strides), len(self.channels)}
        if len(counts) != 1:
            raise ValueError("layers, strides and channels need one entry for each layer")
        return self


@dataclass(frozen=True)
class Backbone:
    """A network that is ready to extract features, and all that an engine records about it.

    Attributes:
        name: Name of the network, such as `edge18` or `resnet18`.
        model: Bytes of the ONNX file; input (N, 3, H, W) float32.
        weights_sha256: SHA-256 of the weights as they came from their publisher; None where the
            file does not record it.
        onnx_sha256: SHA-256 of `model`.
        layers: Output names wanted, first the level that gives the grid of patches.
        channels: C of every layer.
        strides: Input pixels per position of every layer.
        mean: Subtracted from the channels after scaling to [0, 1].
        std: The channels are divided by it afterwards.
        color_order: Order of the network's input channels.
    """

    name: str
    model: bytes = field(repr=False)
    weights_sha256: str | None
    onnx_sha256: str
    layers: tuple[str, ...]
    channels: tuple[int, ...]
    strides: tuple[int, ...]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    color_order: Literal["rgb", "bgr"]


def parse_layers(layers: str | Sequence[str]) -> tuple[str, ...]:
    """Layer names as typed: `2,3`, `layer2,layer3` or a sequence of such.

    Returns:
        The names in the given order, without blanks; numbers stay numbers.

    Raises:
        SettingError: if there is no name, or one twice.
    """
    parts = [layers] if isinstance(layers, str) else list(layers)
    names = [name.strip() for part in parts for name in part.split(",")]
    if not names or "" in names or len({_as_layer(name) for name in names}) != len(names):
        raise SettingError(
            f"[backbone] expected layers such as `2,3`, each once, got {','.join(parts)!r}."
        )
    return tuple(names)


def resolve_backbone(
    spec: str | Path,
    *,
    layers: str | Sequence[str] | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    color_order: Literal["rgb", "bgr"] | None = None,
) -> Backbone:
    """Finds a backbone, reads what it says about itself and tries it once.

    Args:
        spec: Name of an embedded backbone or path of an ONNX file.
        layers: Outputs wanted, in order: `2` and `layer2` both mean the output `layer2`. All that
            the file offers where not given.
        mean: Three numbers; needed for, and only for, files without our metadata.
        std: The same.
        color_order: Only for such files; `rgb` or `bgr`, what the network's input wants. RGB where
            not given.

    Returns:
        The backbone, tried on one picture of zeros.

    Raises:
        BackendError: if there is no such backbone, the file has something that no engine may have
            or cannot be run, its metadata is broken or does not describe its outputs, or a layer
            does not exist.
        SettingError: if layers are repeated, or pre-processing is given for a file that states it.
    """
    source, model = _read(spec)
    _judge(source, model)
    session = open_session(model, threads=1)
    offered = tuple(str(output.name) for output in session.get_outputs())
    stated = METADATA_KEY in session.get_modelmeta().custom_metadata_map
    given = {"mean": mean, "std": std, "color_order": color_order}
    sha256 = hashlib.sha256(model).hexdigest()
    if stated:
        refused = [name for name, value in given.items() if value is not None]
        if refused:
            raise SettingError(
                f"[backbone] {source} states its own pre-processing, so {', '.join(refused)} "
                "cannot be given as well. Leave that out."
            )
        about = _metadata(source, OnnxRuntimeBackend(model, outputs=offered[:1]).metadata)
        chosen = _choose(source, layers, tuple(n for n in offered if n in about.layers))
        channels, _ = _probe(model, chosen)
        positions = [about.layers.index(name) for name in chosen]
        expected = tuple(about.channels[i] for i in positions)
        if channels != expected:
            raise BackendError(
                f"[backbone] {source} says that {', '.join(chosen)} have {expected} channels, the "
                f"network gives {channels}. Export the backbone again."
            )
        strides = tuple(about.strides[i] for i in positions)
    else:
        chosen = _choose(source, layers, offered)
        channels, strides = _probe(model, chosen)
        about = _foreign(source, given, chosen, channels, strides)
    return Backbone(
        name=about.name,
        model=model,
        weights_sha256=about.weights_sha256,
        onnx_sha256=sha256,
        layers=chosen,
        channels=channels,
        strides=strides,
        mean=about.mean,
        std=about.std,
        color_order=about.color_order,
    )


def _judge(source: str, model: bytes) -> None:
    """What the line would refuse in an engine is refused before anything is fitted on it."""
    try:
        check_network(model, input_shape=(1, 3, PROBE_SIZE, PROBE_SIZE), declared=True)
    except GateError as error:
        raise BackendError(
            f"[backbone] {source} is refused: {error}. Nothing has run it; docs/engine-format.md "
            "lists what a network may have. Use a file that `pyad-edge backbone export` wrote."
        ) from error


def _read(spec: str | Path) -> tuple[str, bytes]:
    name = str(spec)
    if name in EMBEDDED:
        asset = resources.files("pyad_edge.export") / "assets" / f"{name}.onnx"
        if not asset.is_file():
            raise BackendError(
                f"[backbone] this installation lacks the embedded backbone {name!r}. Install "
                "pyad_edge again, or pass `--backbone FILE.onnx`."
            )
        return name, asset.read_bytes()
    path = Path(spec)
    if path.suffix.lower() == ".safetensors":
        raise BackendError(
            f"[backbone] {name} holds weights, not a network. Make an ONNX file first: `pyad-edge "
            f"backbone export NETWORK --weights {name} --layers 2,3 --out backbone.onnx`."
        )
    if path.suffix.lower() != ".onnx":
        raise BackendError(
            f"[backbone] {name!r} is neither an embedded backbone ({', '.join(EMBEDDED)}) nor an "
            "ONNX file. Networks of timm and torchvision become one with `pyad-edge backbone "
            f"export {name} --weights hub --layers 2,3 --out backbone.onnx`; pass that file."
        )
    try:
        return name, path.read_bytes()
    except OSError as error:
        raise BackendError(
            f"[backbone] cannot read {name}: {error.strerror or error}. Check the path; "
            "`pyad-edge backbone export` writes such a file."
        ) from error


def _as_layer(name: str) -> str:
    return f"layer{int(name)}" if name.isdecimal() else name


def _choose(
    source: str, layers: str | Sequence[str] | None, offered: tuple[str, ...]
) -> tuple[str, ...]:
    if layers is None:
        return offered
    names = parse_layers(layers)
    chosen = tuple(name if name in offered else _as_layer(name) for name in names)
    missing = [name for name in chosen if name not in offered]
    if missing:
        raise BackendError(
            f"[backbone] {source} has no layer {', '.join(missing)}; it offers "
            f"{', '.join(offered)}. Choose among these, or export the backbone with that layer."
        )
    return chosen


def _metadata(source: str, entry: dict[str, Any]) -> BackboneMetadata:
    try:
        return BackboneMetadata.model_validate(entry)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "entry"
        raise BackendError(
            f"[backbone] the metadata of {source} cannot be used: {where}: {first['msg']}. Export "
            "the backbone again."
        ) from error


def _foreign(
    source: str,
    given: dict[str, Any],
    layers: tuple[str, ...],
    channels: tuple[int, ...],
    strides: tuple[int, ...],
) -> BackboneMetadata:
    missing = [name for name in ("mean", "std") if given[name] is None]
    if missing:
        raise BackendError(
            f"[backbone] {source} does not say how pictures are prepared for it; "
            f"{' and '.join(missing)} must be given, for the RGB channels after scaling to [0, 1]: "
            "--mean A,B,C --std A,B,C (many networks take 0.485,0.456,0.406 and "
            "0.229,0.224,0.225; its publisher says). Or make the file with `pyad-edge backbone "
            "export`, which writes them into it."
        )
    entry = {
        "name": Path(source).stem,
        "weights_sha256": None,
        "layers": layers,
        "channels": channels,
        "strides": strides,
        **given,
        "color_order": given["color_order"] or "rgb",
    }
    try:
        return BackboneMetadata.model_validate(entry)
    except ValidationError as error:
        first = error.errors()[0]
        where = str(first["loc"][0])
        raise SettingError(
            f"[backbone] {where} of {source} cannot be {given.get(where)!r}: {first['msg']}. Give "
            "three numbers each for mean and std, and rgb or bgr as the colour order."
        ) from error


def _probe(model: bytes, layers: tuple[str, ...]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Channels and strides of the layers, from one run on zeros."""
    backend = OnnxRuntimeBackend(model, outputs=layers, threads=1)
    n, _, h, w = backend.input_shape
    height, width = h or PROBE_SIZE, w or PROBE_SIZE
    found = backend.run(np.zeros((n or 1, 3, height, width), np.float32))
    channels = tuple(int(f.shape[1]) for f in found)
    return channels, tuple(max(1, round(height / f.shape[2])) for f in found)
