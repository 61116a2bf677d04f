"""Small valid engines for tests, and tools to take their bytes apart and rebuild them wrongly."""

from __future__ import annotations

import hashlib
import json
import struct
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from pyad_edge.engine_format import canonical_json, encode_names
from pyad_edge.engine_manifest import (
    MODIFIED_Z_BETA,
    Aggregation,
    AnomalyMap,
    Backbone,
    CorrelationHead,
    CorrelationLevel,
    CosineHead,
    CreatedWith,
    Fusion,
    Golden,
    InputSpec,
    ManifestDraft,
    Member,
    MemoryBankHead,
    Network,
    Preprocessing,
    Refinement,
    ScoreMapHead,
    ThresholdPolicy,
    Tiling,
    Training,
)
from pyad_edge.export.engine_writer import assemble

Tensors = dict[str, NDArray[Any]]


def small_engine(
    *, seed: int = 0, rows: int = 5, pictures: int = 3, calibration: int = 7, onnx: bytes = b"ONNX"
) -> tuple[ManifestDraft, Tensors]:
    """A PatchCore engine of 8 dimensions on a 4 x 4 grid; its ``onnx`` need not be a real model."""
    rng = np.random.default_rng(seed)
    scores = np.sort(rng.gamma(4, size=calibration)).astype(np.float32)
    sources = np.stack([rng.integers(0, n, rows, dtype=np.int32) for n in (pictures, 4, 4)], axis=1)
    tensors: Tensors = {
        "network/onnx": np.frombuffer(onnx, np.uint8),
        "bank/features": rng.standard_normal((rows, 8), dtype=np.float32),
        "bank/sources": sources,
        "bank/pictures": encode_names(f"good/{i:03}.png" for i in range(pictures)),
        "calibration/scores": scores,
        "calibration/map_maxima": scores * np.float32(0.5),
        "golden/frames": rng.integers(0, 256, (2, 8, 8, 3), dtype=np.uint8),
        "golden/scores": rng.gamma(4, size=2).astype(np.float32),
    }
    draft = ManifestDraft(
        method="patchcore",
        created_with=CreatedWith(pyad_edge="0.1.0", numpy="2.0.0", onnxruntime="1.20.0"),
        backbone=Backbone(
            name="tiny",
            weights_sha256=None,
            onnx_sha256=hashlib.sha256(onnx).hexdigest(),
            outputs=("layer2", "layer3"),
        ),
        preprocessing=Preprocessing(
            resize=(36, 36),
            crop=(32, 32),
            mean=(0.485, 0.456, 0.406),
            std=(0.229, 0.224, 0.225),
            color_order="rgb",
        ),
        network=Network(input_size=(32, 32), grid=(4, 4)),
        head=MemoryBankHead(
            type="memory_bank",
            aggregation=Aggregation(variant="official", pre_dim=8, target_dim=8),
            scoring="reweighted",
            neighbors=3,
        ),
        anomaly_map=AnomalyMap(sigma=4.0),
        score_meaning="Euclidean distance to the nearest normal patch, re-weighted",
        threshold=ThresholdPolicy(false_reject=0.01),
        training=Training(
            pictures=pictures,
            calibration_pictures=calibration,
            fingerprint=f"sha256:{seed:064x}",
            seed=seed,
            coreset_ratio=0.1,
            settings={"layers": "2,3", "batch": 4},
        ),
        golden=Golden(tolerance=1e-3),
    )
    return draft, tensors


def declared_engine(*, seed: int = 0) -> tuple[ManifestDraft, Tensors]:
    """The same with an input of its own: 12-bit mosaics, cut into tiles, with a mask (format 3)."""
    draft, tensors = small_engine(seed=seed)
    rng = np.random.default_rng(seed)
    mask = np.zeros((80, 96), np.uint8)
    mask[8:, 16:] = 255
    tensors |= {
        "golden/frames": rng.integers(0, 4096, (2, 32, 48), dtype=np.uint16),
        "input/mask": mask,
    }
    spec = InputSpec(
        pixel_format="BayerRG12",
        window=(64.0, 4000.0),
        size_policy="tile",
        frame_size=(80, 96),
        padding=None,
        tiling=Tiling(size=(32, 48), overlap=(8, 12), align=(8, 12)),
        mask=True,
    )
    preprocessing = draft.preprocessing.model_copy(update={"resize": (32, 32), "crop": None})
    return draft.model_copy(update={"input": spec, "preprocessing": preprocessing}), tensors


def reconpatch_engine(*, seed: int = 0, onnx: bytes = b"ONNX") -> tuple[ManifestDraft, Tensors]:
    """The small engine with levels that are added (format 4)."""
    draft, tensors = small_engine(seed=seed, onnx=onnx)
    aggregation = Aggregation(variant="sum", pre_dim=None, target_dim=None)
    head = draft.memory_bank.model_copy(update={"aggregation": aggregation})
    return draft.model_copy(update={"method": "reconpatch", "head": head}), tensors


def ensemble_engine(
    *,
    seed: int = 0,
    onnx: tuple[bytes, ...] = (b"ONNX", b"ONNX of another"),
    grid: tuple[int, int] = (8, 8),
) -> tuple[ManifestDraft, Tensors]:
    """The small engine and others with more rows, other grey levels and a grid of theirs."""
    draft, tensors = small_engine(seed=seed, onnx=onnx[0])
    rng = np.random.default_rng(seed)
    members = []
    for i, model in enumerate(onnx[1:], start=1):
        rows = 5 + i
        other, parts = small_engine(seed=seed + i, rows=rows, onnx=model)
        places = [rng.integers(0, n, rows, dtype=np.int32) for n in (3, *grid)]
        tensors |= {
            f"members/{i}/network/onnx": parts["network/onnx"],
            f"members/{i}/bank/features": parts["bank/features"],
            f"members/{i}/bank/sources": np.stack(places, axis=1),
        }
        members.append(
            Member(
                name=f"tiny {i}",
                backbone=other.backbone,
                preprocessing=other.preprocessing.model_copy(update={"mean": (0.5, 0.5, 0.5)}),
                network=Network(input_size=(32, 32), grid=grid),
                head=other.memory_bank,
                anomaly_map=other.anomaly_map,
                training_settings={"layers": "2,3"},
            )
        )
    count = len(onnx)
    fusion = Fusion(
        beta=MODIFIED_Z_BETA,
        median=tuple(4.0 + i for i in range(count)),
        mad=tuple(1.0 + i for i in range(count)),
        map_median=tuple(3.0 + i for i in range(count)),
        map_mad=tuple(0.5 + i for i in range(count)),
    )
    for name in ("calibration/scores", "calibration/map_maxima", "golden/scores"):
        tensors[name] = tensors[name] - np.float32(4)  # modified z-scores may be negative
    return draft.model_copy(update={"members": tuple(members), "fusion": fusion}), tensors


def recontrast_engine(*, seed: int = 0, onnx: bytes = b"ONNX") -> tuple[ManifestDraft, Tensors]:
    """Cosine distances of two pairs; no bank (format 4)."""
    draft, tensors = small_engine(seed=seed, onnx=onnx)
    head = CosineHead(
        type="cosine_distance", pairs=((0, 2), (1, 3)), score="maximum", align_corners=True
    )
    outputs = ("layer2", "layer3", "decoder2", "decoder3")
    changes = {
        "method": "recontrast",
        "head": head,
        "backbone": draft.backbone.model_copy(update={"outputs": outputs}),
        "training": draft.training.model_copy(update={"coreset_ratio": None}),
        "score_meaning": "largest cosine distance between encoder and decoder",
    }
    kept = {name: t for name, t in tensors.items() if not name.startswith("bank/")}
    return draft.model_copy(update=changes), kept


def grad_engine(*, seed: int = 0, onnx: bytes = b"ONNX") -> tuple[ManifestDraft, Tensors]:
    """A network that gives the score map itself; no bank (format 4)."""
    draft, tensors = small_engine(seed=seed, onnx=onnx)
    changes = {
        "method": "grad",
        "head": ScoreMapHead(type="score_map", levels=(34, 68), fusion="maximum"),
        "backbone": draft.backbone.model_copy(update={"outputs": ("score_map",)}),
        "training": draft.training.model_copy(update={"coreset_ratio": None}),
        "score_meaning": "largest score of a patch",
    }
    kept = {name: t for name, t in tensors.items() if not name.startswith("bank/")}
    return draft.model_copy(update=changes), kept


def fod_engine(*, seed: int = 0, onnx: bytes = b"ONNX") -> tuple[ManifestDraft, Tensors]:
    """Errors and correlations of two levels, keys that no picture changes; no bank (format 4)."""
    draft, tensors = small_engine(seed=seed, onnx=onnx)
    rng = np.random.default_rng(seed)
    levels, outputs = [], []
    kept = {name: t for name, t in tensors.items() if not name.startswith("bank/")}
    for k, grid in enumerate(((4, 4), (2, 2))):
        first = len(outputs)
        levels.append(
            CorrelationLevel(
                grid=grid, errors=first, queries=first + 1, sigmas=first + 2, keys=None
            )
        )
        outputs += [f"{name}_{k}" for name in ("errors", "queries", "sigmas")]
        shape = (2, grid[0] * grid[1], 3)
        kept[f"reference/keys/{k}"] = rng.normal(size=shape).astype(np.float32)
    changes = {
        "method": "fod",
        "head": CorrelationHead(type="correlation", score="rec*div", levels=tuple(levels)),
        "backbone": draft.backbone.model_copy(update={"outputs": tuple(outputs)}),
        "training": draft.training.model_copy(update={"coreset_ratio": None}),
        "score_meaning": "largest error times divergence",
    }
    return draft.model_copy(update=changes), kept


def refined(
    draft: ManifestDraft,
    tensors: Tensors,
    *,
    score: Literal["maximum", "keep"] = "keep",
    onnx: bytes = b"ONNX of refinement",
) -> tuple[ManifestDraft, Tensors]:
    """The same engine with a refinement of its map (format 4)."""
    names = ["calibration/map_maxima"]
    if score == "maximum":
        names += ["calibration/scores", "golden/scores"]
    squeezed = {name: 1 / (1 + np.exp(-tensors[name])) for name in names}
    refinement = Refinement(
        onnx_sha256=hashlib.sha256(onnx).hexdigest(),
        scale=2.0,
        offset=-1.0,
        picture=True,
        score=score,
        sigma=0.0,
    )
    network = {"refinement/onnx": np.frombuffer(onnx, np.uint8)}
    return draft.model_copy(update={"refinement": refinement}), {**tensors, **squeezed, **network}


def engine_bytes(draft: ManifestDraft, tensors: Tensors) -> bytes:
    """The file that ``write_engine`` writes."""
    return b"".join(assemble(manifest=draft, tensors=tensors))


def take_apart(data: bytes) -> tuple[dict[str, Any], dict[str, Any], bytes]:
    """Header table without metadata, manifest, and tensor bytes of an engine file."""
    (length,) = struct.unpack("<Q", data[:8])
    table = json.loads(data[8 : 8 + length])
    manifest = json.loads(table.pop("__metadata__")["pyad_edge"])
    return table, manifest, data[8 + length :]


def put_together(
    table: dict[str, Any], manifest: dict[str, Any] | str, body: bytes, *, sha256: str | None = None
) -> bytes:
    """An engine file with a correct manifest hash (unless given) and whatever else is wrong."""
    text = manifest if isinstance(manifest, str) else canonical_json(manifest)
    digest = hashlib.sha256(text.encode()).hexdigest() if sha256 is None else sha256
    metadata = {"pyad_edge": text, "pyad_edge_sha256": digest}
    return with_header(canonical_json({"__metadata__": metadata, **table}), body)


def with_header(text: str, body: bytes) -> bytes:
    """Length, header text padded to 64 bytes, tensors."""
    header = text.encode()
    header += b" " * (-(8 + len(header)) % 64)
    return struct.pack("<Q", len(header)) + header + body
