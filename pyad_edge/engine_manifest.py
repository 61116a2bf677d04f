"""The manifest of an engine file: everything about an engine that is not a tensor.

The models are strict and closed: a missing, misspelt or mistyped field is refused, never filled in.
``docs/engine-format.md`` explains the fields.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from pyad_edge.pixel_formats import PIXEL_FORMATS

__all__ = [
    "FORMAT_NAME",
    "FORMAT_VERSION",
    "Aggregation",
    "AnomalyMap",
    "Backbone",
    "CreatedWith",
    "Golden",
    "IndexErrors",
    "InputSpec",
    "IvfPqIndex",
    "IvfPqSettings",
    "Manifest",
    "ManifestDraft",
    "MemoryBankHead",
    "Network",
    "Preprocessing",
    "TensorEntry",
    "ThresholdPolicy",
    "Tiling",
    "Training",
    "format_version",
]

FORMAT_NAME = "pyad_edge engine"
FORMAT_VERSION = 3  # the newest that is read; a file has the oldest that can hold it

Sha256: TypeAlias = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Text: TypeAlias = Annotated[str, Field(min_length=1, max_length=2000)]
Side: TypeAlias = Annotated[int, Field(ge=1, le=16384)]
Size: TypeAlias = tuple[Side, Side]  # (height, width)
Count: TypeAlias = Annotated[int, Field(ge=1)]
Dim: TypeAlias = Annotated[int, Field(ge=1, le=16384)]
Positive: TypeAlias = Annotated[float, Field(gt=0)]
NotNegative: TypeAlias = Annotated[float, Field(ge=0)]
Scalar: TypeAlias = bool | int | float | str | None
TensorName: TypeAlias = Annotated[
    str, Field(pattern=r"^[a-z][a-z0-9_]*(/[a-z0-9_]+)*$", max_length=100)
]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class CreatedWith(_Model):
    """Versions of the packages that wrote the file."""

    pyad_edge: Text
    numpy: Text
    onnxruntime: Text


class Backbone(_Model):
    """The network and where it comes from."""

    name: Text
    weights_sha256: Sha256 | None  # None: the ONNX file came without a record of its weights
    onnx_sha256: Sha256  # of the tensor network/onnx
    outputs: Annotated[tuple[Text, ...], Field(min_length=1, max_length=16)]


class Preprocessing(_Model):
    """Arguments of the ``preprocess`` kernel."""

    resize: Size | Side  # (height, width), or the shorter side
    crop: Size | None
    mean: tuple[float, float, float]  # RGB, on the 0..1 scale
    std: tuple[Positive, Positive, Positive]
    color_order: Literal["rgb", "bgr"]  # of the frames that come in


def _known_format(name: str) -> str:
    if name not in PIXEL_FORMATS:
        raise ValueError(f"unknown pixel format '{name}'")
    return name


class Tiling(_Model):
    """How large frames are cut: all in pixels of the frame, (height, width)."""

    size: Size
    overlap: tuple[Annotated[int, Field(ge=0)], Annotated[int, Field(ge=0)]]  # at least
    align: Size  # tiles begin at multiples of it: whole cells of every level of the network


class InputSpec(_Model):
    """What frames a camera gives, and how frames of other sizes than the network's are fitted."""

    pixel_format: Annotated[str, AfterValidator(_known_format)]  # by PFNC
    window: tuple[float, float] | None  # (black, white) of more than 8 bits; None for 8
    size_policy: Literal["error", "resize", "letterbox", "tile"]
    frame_size: Size | None  # of the training pictures, where they had one; needed by "error"
    padding: Annotated[int, Field(ge=0, le=255)] | None  # grey level around a letterboxed frame
    tiling: Tiling | None  # of "tile"
    mask: bool  # whether the file has a region of interest, input/mask


class Network(_Model):
    """Sizes that the network fixes."""

    input_size: Size  # after resize and crop
    grid: Size  # patches per picture


class Aggregation(_Model):
    """Arguments of the ``patch_aggregation`` kernel."""

    variant: Literal["official", "average"]
    pre_dim: Dim | None
    target_dim: Dim | None


class MemoryBankHead(_Model):
    """How distances to the memory bank become patch scores."""

    type: Literal["memory_bank"]
    aggregation: Aggregation
    scoring: Literal["reweighted", "maximum"]
    neighbors: Count


class IndexErrors(_Model):
    """What an approximate index misses, against exact search, on normal pictures held out."""

    pictures: Count
    patches: Count
    recall_at_1: Annotated[float, Field(ge=0, le=1)]  # patches whose nearest row was found
    patch_mean: NotNegative  # relative error of a patch's distance to its nearest row
    patch_max: NotNegative
    image_mean: NotNegative  # relative error of a picture's score, either way
    image_max: NotNegative
    exact_searches: Annotated[int, Field(ge=0)]  # patches that got too few candidates


class IvfPqSettings(_Model):
    """A faiss IndexIVFPQ over the bank's rows: approximate search, re-ranked canonically."""

    type: Literal["faiss_ivfpq"]
    faiss: Text  # version that trained it
    nlist: Annotated[int, Field(ge=1, le=1 << 20)]  # inverted lists
    m: Dim  # sub-quantizers; a code has m * nbits bits
    nbits: Annotated[int, Field(ge=4, le=8)]
    nprobe: Count  # lists searched per patch
    candidates: Annotated[int, Field(ge=1, le=2048)]  # rows re-ranked per patch


class IvfPqIndex(IvfPqSettings):
    """The same with what it misses, as an engine records it."""

    errors: IndexErrors

    def statement(self) -> str:
        """What it is and what it misses, in two sentences for people."""
        found, size = self.errors, (self.m * self.nbits + 7) // 8
        return (
            f"approximate: faiss IVF-PQ, {self.nlist:,} lists of {size}-byte codes, "
            f"{self.nprobe} searched, {self.candidates} rows re-ranked. On {found.pictures} "
            f"held-out normal pictures it found {found.recall_at_1:.2%} of the nearest rows; "
            f"patch distances are {found.patch_mean:.2%} too large on average, at most "
            f"{found.patch_max:.1%}, picture scores off by {found.image_mean:.2%}, at most "
            f"{found.image_max:.1%}."
        )


class AnomalyMap(_Model):
    """Arguments of the ``anomaly_map`` kernel."""

    sigma: Annotated[float, Field(ge=0, le=256)]  # pixels of the network's input


class ThresholdPolicy(_Model):
    """The rate of normal parts that may be rejected; the value follows from the scores."""

    false_reject: Annotated[float, Field(gt=0, le=0.5)]


class Training(_Model):
    """What the engine was fitted on, and how."""

    pictures: Count  # behind the bank
    calibration_pictures: Annotated[int, Field(ge=2)]  # held out of the bank
    fingerprint: Text  # of the training pictures
    seed: Annotated[int, Field(ge=0, lt=2**63)]
    coreset_ratio: Annotated[float, Field(gt=0, le=1)]
    settings: dict[str, Scalar]


class Golden(_Model):
    """How far a golden score may drift, relative to the stored one."""

    tolerance: Annotated[float, Field(ge=0, lt=1)]


class TensorEntry(_Model):
    """One tensor of the file."""

    dtype: Literal["uint8", "uint16", "int32", "int64", "float32", "float64"]
    shape: Annotated[tuple[Count, ...], Field(min_length=1, max_length=8)]
    sha256: Sha256  # of its bytes: little-endian, row-major


class ManifestDraft(_Model):
    """A manifest before its tensors are known: what a method's export fills in."""

    method: Literal["patchcore"]
    created_with: CreatedWith
    backbone: Backbone
    preprocessing: Preprocessing
    network: Network
    head: MemoryBankHead
    anomaly_map: AnomalyMap
    score_meaning: Text
    threshold: ThresholdPolicy
    training: Training
    golden: Golden
    index: IvfPqIndex | None = None  # None: exact search, and no such field in the file
    input: InputSpec | None = None  # None: uint8 RGB, BGR or mono, resized; no such field either

    @model_serializer(mode="wrap")
    def _without_absent_fields(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        fields: dict[str, Any] = handler(self)
        for name in ("index", "input"):
            if getattr(self, name) is None:
                fields.pop(name, None)
        return fields


def format_version(draft: ManifestDraft) -> Literal[1, 2, 3]:
    """The oldest format that can hold an engine: 3 with an input, 2 with an index, else 1."""
    if draft.input is not None:
        return 3
    return 1 if draft.index is None else 2


class Manifest(ManifestDraft):
    """The whole manifest, as the file holds it."""

    format: Literal["pyad_edge engine"]
    format_version: Literal[1, 2, 3]
    tensors: dict[TensorName, TensorEntry]

    @model_validator(mode="after")
    def _version_has_its_fields(self) -> Manifest:
        if self.format_version != format_version(self):
            raise ValueError("format 2 has an index, format 3 an input, format 1 neither")
        return self
