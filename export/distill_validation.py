"""How well `edge18` stands in for its teacher, on pictures that nobody trains on."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pyad_edge.export import textures
from pyad_edge.export.distill_pictures import Pictures, crop, normalised

if TYPE_CHECKING:
    import torch

SURFACE = 352  # side of the textures before cropping, px


def load_teacher(path: Path) -> torch.nn.Module:
    """ResNet-18 to layer3, bfloat16, channels last, frozen."""
    import timm
    import torch
    from safetensors.torch import load_file

    teacher = timm.create_model("resnet18", features_only=True, out_indices=(2, 3))
    missing = teacher.load_state_dict(load_file(path), strict=False).missing_keys
    if any("num_batches" not in name for name in missing):
        raise ValueError(f"[distill] teacher file {path} lacks {missing[:3]}.")
    teacher.eval().requires_grad_(False)
    return teacher.to(torch.bfloat16).to(memory_format=torch.channels_last)


def patch_embedding(layer2: torch.Tensor, layer3: torch.Tensor, dim: int = 384) -> torch.Tensor:
    """PatchCore's embedding (Roth et al. 2022, the authors' code), one vector per layer2 position.

    Args:
        layer2: (N, C, h, w) float32.
        layer3: (N, C', h', w') float32.
        dim: Length of the vectors, of each level's and of the final ones.

    Returns:
        (N, h * w, dim) float32.
    """
    import torch
    from torch.nn.functional import adaptive_avg_pool1d, interpolate, unfold

    n, _, h, w = layer2.shape
    levels = []
    for feature in (layer2, layer3):
        side = feature.shape[2:]
        patches = unfold(feature, 3, padding=1)  # (N, C * 9, positions)
        if side != (h, w):
            patches = patches.reshape(n, -1, *side)
            patches = interpolate(patches, (h, w), mode="bilinear", align_corners=False)
        flat = patches.reshape(n, -1, h * w).transpose(1, 2).reshape(n * h * w, 1, -1)
        levels.append(adaptive_avg_pool1d(flat, dim)[:, 0])
    both = torch.stack(levels, 1).reshape(n * h * w, 1, -1)
    return adaptive_avg_pool1d(both, dim).reshape(n, h * w, dim)


def validation_sets(naturals: Pictures, seed: int) -> dict[str, NDArray[np.uint8]]:
    """Fixed 192 px pictures nobody trains on: photographs, textures, textures with a fault."""
    rng = np.random.default_rng([seed, 2])
    clean, faulty = [], []
    for _ in range(32):
        surface = textures.texture(rng, SURFACE)
        clean.append(surface[:192, :192])
        faulty.append(textures.add_defect(rng, surface[-192:, -192:]))
    photographs = [crop(rng, p, 192) for p in naturals[:32]]
    return {"natural": np.stack(photographs), "clean": np.stack(clean), "faulty": np.stack(faulty)}


def _ranks(values: torch.Tensor) -> torch.Tensor:
    ranks = values.argsort(-1).argsort(-1).float()
    return (ranks - ranks.mean(-1, keepdim=True)) / ranks.std(-1, keepdim=True)


def evaluate(
    teacher: torch.nn.Module, student: torch.nn.Module, scales: list[torch.Tensor],
    sets: dict[str, NDArray[np.uint8]],
) -> dict[str, float]:  # fmt: skip
    """Compares PatchCore embeddings of student and teacher on `validation_sets`.

    Returns:
        `cos_*`: mean cosine per position; `fvu_*`: squared error over the variation inside the
        picture (0 is perfect); `rank`: Spearman correlation, mean over textures, of each faulty
        patch's distance to its nearest neighbour among the clean patches of the same texture.
    """
    import torch

    student.eval()
    result, both = {}, {}
    with torch.inference_mode():
        for name, pictures in sets.items():
            image = normalised(pictures)
            truth = patch_embedding(*(f.float() for f in teacher(image.bfloat16())))
            pre = student(image)
            guess = patch_embedding(
                *(p.relu() * s.view(-1, 1, 1) for p, s in zip(pre, scales, strict=True))
            )
            both[name] = truth, guess
            varies = (truth - truth.mean(1, keepdim=True)).square().sum(2).mean(1)
            fvu = (guess - truth).square().sum(2).mean(1) / (varies + 1e-3 * varies.mean())
            result[f"cos_{name}"] = torch.cosine_similarity(truth, guess, dim=2).mean().item()
            result[f"fvu_{name}"] = fvu.median().item()
        ranks = [
            _ranks(torch.cdist(q, b).amin(2))
            for q, b in zip(both["faulty"], both["clean"], strict=True)
        ]
        result["rank"] = (ranks[0] * ranks[1]).mean().item()
    return result
