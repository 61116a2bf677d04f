"""The manifest of an engine file: everything about an engine that is not a tensor.

The models are strict and closed: a missing, misspelt or mistyped field is refused, never filled in.
``docs/engine-format.md`` explains the fields.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

from pydantic import (
    AfterValidator,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from pyad_edge.engine_fields import (
    Count,
    Scalar,
    Sha256,
    Size,
    StrictModel,
    TensorName,
    Text,
)
from pyad_edge.engine_heads import (
    Aggregation,
    CorrelationHead,
    CorrelationLevel,
    CosineHead,
    Head,
    IndexErrors,
    IvfPqIndex,
    IvfPqSettings,
    MemoryBankHead,
    ScoreMapHead,
)
from pyad_edge.engine_members import (
    MAX_MEMBERS,
    MODIFIED_Z_BETA,
    AnomalyMap,
    Backbone,
    Fusion,
    Member,
    Network,
    Preprocessing,
    Refinement,
    member_tensor,
)
from pyad_edge.pixel_formats import PIXEL_FORMATS

__all__ = [
    "FORMAT_NAME",
    "FORMAT_VERSION",
    "MODIFIED_Z_BETA",
    "Aggregation",
    "AnomalyMap",
    "Backbone",
    "CorrelationHead",
    "CorrelationLevel",
    "CosineHead",
    "CreatedWith",
    "Fusion",
    "Golden",
    "IndexErrors",
    "InputSpec",
    "IvfPqIndex",
    "IvfPqSettings",
    "Manifest",
    "ManifestDraft",
    "Member",
    "MemoryBankHead",
    "Network",
    "Preprocessing",
    "Refinement",
    "ScoreMapHead",
    "TensorEntry",
    "ThresholdPolicy",
    "Tiling",
    "Training",
    "field_path",
    "format_version",
    "member_tensor",
]

FORMAT_NAME = "pyad_edge engine"
FORMAT_VERSION = 4  # the newest that is read; a file has the oldest that can hold it

Method: TypeAlias = Literal["patchcore", "reconpatch", "recontrast", "grad", "fod"]


class CreatedWith(StrictModel):
    """Versions of the packages that wrote the file."""

    pyad_edge: Text
    numpy: Text
    onnxruntime: Text


def _known_format(name: str) -> str:
    if name not in PIXEL_FORMATS:
        raise ValueError(f"unknown pixel format '{name}'")
    return name


class Tiling(StrictModel):
    """How large frames are cut: all in pixels of the frame, (height, width)."""

    size: Size
    overlap: tuple[Annotated[int, Field(ge=0)], Annotated[int, Field(ge=0)]]  # at least
    align: Size  # tiles begin at multiples of it: whole cells of every level of the network


class InputSpec(StrictModel):
    """What frames a camera gives, and how frames of other sizes than the network's are fitted."""

    pixel_format: Annotated[str, AfterValidator(_known_format)]  # by PFNC
    window: tuple[float, float] | None  # (black, white) of more than 8 bits; None for 8
    size_policy: Literal["error", "resize", "letterbox", "tile"]
    frame_size: Size | None  # of the training pictures, where they had one; needed by "error"
    padding: Annotated[int, Field(ge=0, le=255)] | None  # grey level around a letterboxed frame
    tiling: Tiling | None  # of "tile"
    mask: bool  # whether the file has a region of interest, input/mask


class ThresholdPolicy(StrictModel):
    """The rate of normal parts that may be rejected; the value follows from the scores."""

    false_reject: Annotated[float, Field(gt=0, le=0.5)]


class Training(StrictModel):
    """What the engine was fitted on, and how."""

    pictures: Count  # behind the bank
    calibration_pictures: Annotated[int, Field(ge=2)]  # held out of the bank
    fingerprint: Text  # of the training pictures
    seed: Annotated[int, Field(ge=0, lt=2**63)]
    coreset_ratio: Annotated[float, Field(gt=0, le=1)] | None = None  # None: no bank, no field
    settings: dict[str, Scalar]

    @model_serializer(mode="wrap")
    def _without_absent_fields(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return _present(self, handler(self), ("coreset_ratio",))


class Golden(StrictModel):
    """How far a golden score may drift, relative to the stored one."""

    tolerance: Annotated[float, Field(ge=0, lt=1)]


class TensorEntry(StrictModel):
    """One tensor of the file."""

    dtype: Literal["uint8", "uint16", "int32", "int64", "float32", "float64"]
    shape: Annotated[tuple[Count, ...], Field(min_length=1, max_length=8)]
    sha256: Sha256  # of its bytes: little-endian, row-major


class ManifestDraft(StrictModel):
    """A manifest before its tensors are known: what a method's export fills in.

    Fields that are None here by default are then not in the file at all.
    """

    method: Method
    created_with: CreatedWith
    backbone: Backbone
    preprocessing: Preprocessing
    network: Network
    head: Head
    anomaly_map: AnomalyMap
    score_meaning: Text
    threshold: ThresholdPolicy
    training: Training
    golden: Golden
    index: IvfPqIndex | None = None  # None: exact search
    input: InputSpec | None = None  # None: uint8 RGB, BGR or mono, resized
    # An ensemble's further members; the fields above describe the first. None: no ensemble.
    members: (
        Annotated[tuple[Member, ...], Field(min_length=1, max_length=MAX_MEMBERS - 1)] | None
    ) = None
    fusion: Fusion | None = None  # of an ensemble, and only of one
    refinement: Refinement | None = None  # None: the map is the head's

    @model_serializer(mode="wrap")
    def _without_absent_fields(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return _present(self, handler(self), _OPTIONAL)

    @property
    def memory_bank(self) -> MemoryBankHead:
        """The head of an engine that has a memory bank.

        Raises:
            TypeError: if it has none: a programming error, as the method says it.
        """
        if not isinstance(self.head, MemoryBankHead):
            raise TypeError(f"[engine] expected the head of a memory bank, got '{self.head.type}'.")
        return self.head

    @property
    def all_members(self) -> tuple[Member, ...]:
        """Every network with its bank: the one of the top-level fields, then ``members``.

        Raises:
            TypeError: if the engine has no memory bank.
        """
        first = Member(
            name=self.backbone.name,
            backbone=self.backbone,
            preprocessing=self.preprocessing,
            network=self.network,
            head=self.memory_bank,
            anomaly_map=self.anomaly_map,
            training_settings=self.training.settings,
        )
        return (first, *(self.members or ()))


_OPTIONAL = ("index", "input", "members", "fusion", "refinement")


def format_version(draft: ManifestDraft) -> Literal[1, 2, 3, 4]:
    """The oldest format that can hold an engine: 1 is PatchCore, exact, on pictures as they are.

    2 adds an index, 3 an input; 4 the other methods, sums, ensembles and refinements.
    """
    new = draft.members or draft.fusion or draft.refinement or draft.training.coreset_ratio is None
    if draft.method != "patchcore" or new or not isinstance(draft.head, MemoryBankHead):
        return 4
    if draft.head.aggregation.variant == "sum":
        return 4
    if draft.input is not None:
        return 3
    return 1 if draft.index is None else 2


class Manifest(ManifestDraft):
    """The whole manifest, as the file holds it."""

    format: Literal["pyad_edge engine"]
    format_version: Literal[1, 2, 3, 4]
    tensors: dict[TensorName, TensorEntry]

    @model_validator(mode="after")
    def _version_has_its_fields(self) -> Manifest:
        if self.format_version != (oldest := format_version(self)):
            raise ValueError(
                "format 2 has an index, format 3 an input, format 4 another method, sums, members "
                f"or a refinement, format 1 none of these, so this is format {oldest}"
            )
        return self


def field_path(place: tuple[int | str, ...]) -> str:
    """Where in a manifest pydantic found something wrong, as ``head.neighbors``."""
    # which pydantic names after the field 'head'
    kinds = ("memory_bank", "cosine_distance", "score_map", "correlation")
    return ".".join(
        str(part)
        for before, part in zip(("", *place), place, strict=False)
        if not (before == "head" and part in kinds)
    )


def _present(
    model: StrictModel, fields: dict[str, Any], optional: tuple[str, ...]
) -> dict[str, Any]:
    """Dumped fields without the optional ones that are None."""
    for name in optional:
        if getattr(model, name) is None:
            fields.pop(name, None)
    return fields
