"""Heads of a manifest: how a network's outputs become patch scores or an anomaly map."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from pydantic import Field

from pyad_edge.engine_fields import Count, Dim, NotNegative, Side, Size, StrictModel, Text

__all__ = [
    "Aggregation",
    "CorrelationHead",
    "CorrelationLevel",
    "CosineHead",
    "Head",
    "IndexErrors",
    "IvfPqIndex",
    "IvfPqSettings",
    "MemoryBankHead",
    "ScoreMapHead",
]

_Output: TypeAlias = Annotated[int, Field(ge=0, le=15)]  # index into backbone.outputs


class Aggregation(StrictModel):
    """Arguments of the ``patch_aggregation`` kernel."""

    variant: Literal["official", "average", "sum"]
    pre_dim: Dim | None  # of "official" only
    target_dim: Dim | None


class MemoryBankHead(StrictModel):
    """How distances to the memory bank become patch scores."""

    type: Literal["memory_bank"]
    aggregation: Aggregation
    scoring: Literal["reweighted", "maximum"]
    neighbors: Count


class CosineHead(StrictModel):
    """How distances between an encoder and a decoder become an anomaly map.

    Arguments of the ``cosine_distance_map`` kernel.
    """

    type: Literal["cosine_distance"]
    # (encoder, decoder), each an index into backbone.outputs
    pairs: Annotated[tuple[tuple[_Output, _Output], ...], Field(min_length=1, max_length=16)]
    score: Literal["maximum", "mean"]  # the picture's: of the smoothed map
    align_corners: bool


class ScoreMapHead(StrictModel):
    """The network's one output is the map of patch scores itself; the picture's is the largest."""

    type: Literal["score_map"]
    # Sides of the patches that its detectors see, ascending, in pixels of the network's input,
    levels: Annotated[tuple[Side, ...], Field(min_length=1, max_length=16)]
    fusion: Literal["maximum", "mean"]  # and how their maps became one, inside the network


class CorrelationLevel(StrictModel):
    """Outputs of one level of the network, each an index into backbone.outputs; None: not there.

    ``queries`` (N, heads, L, d), ``sigmas`` (N, 2, heads, L) and ``keys`` are arguments of the
    ``correlation_divergence`` kernel; the heads of all layers stand side by side.
    """

    grid: Size  # (h, w), L = h w: scores of another number of patches would mean something else
    errors: _Output | None  # (N, 1, h, w), of the reconstruction
    queries: _Output | None
    sigmas: _Output | None  # horizontal, then vertical spreads, in patches
    keys: _Output | None  # None beside queries: the tensor reference/keys/<level>


class CorrelationHead(StrictModel):
    """How reconstruction errors and divergences of correlations become an anomaly map."""

    type: Literal["correlation"]
    score: Literal["rec", "div", "rec*div"]  # of a patch
    levels: Annotated[tuple[CorrelationLevel, ...], Field(min_length=1, max_length=4)]


Head: TypeAlias = Annotated[
    MemoryBankHead | CosineHead | ScoreMapHead | CorrelationHead, Field(discriminator="type")
]


class IndexErrors(StrictModel):
    """What an approximate index misses, against exact search, on normal pictures held out."""

    pictures: Count
    patches: Count
    recall_at_1: Annotated[float, Field(ge=0, le=1)]  # patches whose nearest row was found
    patch_mean: NotNegative  # relative error of a patch's distance to its nearest row
    patch_max: NotNegative
    image_mean: NotNegative  # relative error of a picture's score, either way
    image_max: NotNegative
    exact_searches: Annotated[int, Field(ge=0)]  # patches that got too few candidates


class IvfPqSettings(StrictModel):
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
