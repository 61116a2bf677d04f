"""The network of an engine: what the score needs of the trained model, constants folded."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.functional import avg_pool2d

from pyad_edge.engine_manifest import CorrelationHead, CorrelationLevel
from pyad_edge.export.methods.fod.attention import Correlation
from pyad_edge.export.methods.fod.model import Fod, Level
from pyad_edge.export.methods.fod.settings import Score
from pyad_edge.export.methods.fod.targets import sigmas_of

__all__ = ["HIDDEN", "InferenceGraph", "LevelGraph"]

HIDDEN = ("intra_queries", "intra_keys")
"""Names, with level and layer behind them, of what the file holds but no engine's score reads."""
TINY = 1e-16


@dataclass(frozen=True, eq=False)
class _Found:
    """Outputs of a level by name; those of its layers are joined."""

    visible: dict[str, torch.Tensor]
    hidden: dict[str, torch.Tensor]


class InferenceGraph(nn.Module):  # type: ignore[misc]
    """A trained model, as an engine runs it.

    Compared with the model in evaluation mode: keys and values of a reference that no picture
    changes are constants; of the statistics nothing is computed but what the head reads; with the
    score ``div`` the last layer ends at its queries and nothing is reconstructed.

    Attributes:
        outputs: names of what ``forward`` returns, those of the head first.
        visible: how many of them the head reads.
        head: as the manifest holds it.
        keys: (heads, L, d) float32 of each level, the layers' heads side by side; None: an output.
    """

    def __init__(self, model: Fod, *, score: Score) -> None:
        super().__init__()
        model = copy.deepcopy(model).cpu().float().eval().requires_grad_(False)
        self.network = model.backbone.network
        self.levels = nn.ModuleList(LevelGraph(level, score=score) for level in model.levels)
        self.keys = tuple(level.keys_of_layers() for level in self.levels)
        names: list[str] = []
        hidden: list[str] = []
        described = []
        with torch.no_grad():
            for k, level in enumerate(self.levels):
                found = level(torch.zeros(1, level.L, level.channels))
                index = {name: len(names) + i for i, name in enumerate(found.visible)}
                names += [f"{name}_{k}" for name in found.visible]
                hidden += [f"{name}_{k}" for name in found.hidden]
                described.append(
                    CorrelationLevel(
                        grid=level.grid,
                        errors=index.get("errors"),
                        queries=index.get("queries"),
                        sigmas=index.get("sigmas"),
                        keys=index.get("keys"),
                    )
                )
        self.outputs, self.visible = (*names, *hidden), len(names)
        self.head = CorrelationHead(type="correlation", score=score, levels=tuple(described))

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """(N, 3, H, W) to what ``outputs`` names."""
        visible: list[torch.Tensor] = []
        hidden: list[torch.Tensor] = []
        for level, own in zip(self.levels, self.network(image), strict=True):
            x = avg_pool2d(own, 3, 1, 1).reshape(-1, level.channels, level.L).transpose(1, 2)
            found = level(x)
            visible += found.visible.values()
            hidden += found.hidden.values()
        return (*visible, *hidden)


class LevelGraph(nn.Module):  # type: ignore[misc]
    """The transformer of one level.

    Args:
        level: trained.
        score: what the head makes of it.
    """

    def __init__(self, level: Level, *, score: Score) -> None:
        super().__init__()
        self.level, self.grid = level, level.grid
        self.L = level.grid[0] * level.grid[1]
        self.channels = level.projection.out_features
        self.width = level.projection.in_features
        branch = level.blocks[0].intra or level.blocks[0].inter
        self.heads = branch.heads
        self.correlates, self.reconstructs = score != "rec", score != "div"
        self.constant = level.reference is not None and level.reference.constant
        self.keys: list[torch.Tensor] = []
        self.values: list[torch.Tensor] = []
        if self.constant:
            _, reference = level.embed(torch.zeros(1, self.L, self.channels))
            for block in level.blocks:
                for name, kept in (("key", self.keys), ("value", self.values)):
                    made = getattr(block.inter, name)(reference)
                    kept.append(made.reshape(self.L, self.heads, -1).transpose(0, 1))

    def keys_of_layers(self) -> torch.Tensor | None:
        """(layers heads, L, d); None where they depend on the picture or nobody reads them."""
        return torch.cat(self.keys) if self.constant and self.correlates else None

    def forward(self, features: torch.Tensor) -> _Found:
        """(N, L, C) to outputs, each of four axes."""
        level = self.level
        x, reference = level.embed(features)
        parts: dict[str, list[torch.Tensor]] = {"queries": [], "sigmas": [], "keys": []}
        hidden: dict[str, torch.Tensor] = {}
        last = len(level.blocks) - 1
        for layer, block in enumerate(level.blocks):
            values = []
            ends = layer == last and not self.reconstructs
            if block.intra is not None and not ends:
                q, k, v = self._split(block.intra, x, x)
                hidden |= {f"{HIDDEN[0]}_{layer}": q, f"{HIDDEN[1]}_{layer}": k}
                values.append(self._attend(q, k, v))
            if block.inter is not None:
                values += self._inter(block.inter, layer, x, reference, parts, ends=ends)
            if not ends:
                x = block.rest(x, *values)
        visible: dict[str, torch.Tensor] = {}
        if self.reconstructs:
            errors = _errors(features, level.projection(x), channels=self.channels)
            visible["errors"] = errors.reshape(-1, 1, *self.grid)
        if self.correlates:
            visible["queries"] = torch.cat(parts["queries"], dim=1)
            visible["sigmas"] = torch.cat(parts["sigmas"], dim=2)
            if not self.constant:
                visible["keys"] = torch.cat(parts["keys"], dim=1)
        return _Found(visible, hidden)

    def _inter(
        self,
        branch: Correlation,
        layer: int,
        x: torch.Tensor,
        reference: torch.Tensor,
        parts: dict[str, list[torch.Tensor]],
        *,
        ends: bool,
    ) -> list[torch.Tensor]:
        """Values of the inter-correlation; what the head reads of it goes into the parts."""
        q = self._heads(branch.query(x))
        if self.constant:
            k, v = self.keys[layer], self.values[layer]
        else:
            k = self._heads(branch.key(reference))
            v = self._heads(branch.value(reference))
            parts["keys"].append(k)
        if self.correlates:
            parts["queries"].append(q)
            sigmas = sigmas_of(branch.sigma(x)).reshape(-1, self.L, 2, self.heads)
            parts["sigmas"].append(sigmas.permute(0, 2, 3, 1))
        return [] if ends else [self._attend(q, k, v)]

    def _split(
        self, branch: Correlation, x: torch.Tensor, reference: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        q, k, v = (
            self._heads(layer(own))
            for layer, own in (
                (branch.query, x),
                (branch.key, reference),
                (branch.value, reference),
            )
        )
        return q, k, v

    def _heads(self, x: torch.Tensor) -> torch.Tensor:
        """(N, L, heads d) to (N, heads, L, d), for any N."""
        return x.reshape(-1, self.L, self.heads, self.width // self.heads).transpose(1, 2)

    def _attend(self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        scale = (self.heads / self.width) ** 0.5
        s = torch.softmax((q * scale) @ k.transpose(-2, -1), dim=-1)
        z = (s @ v).transpose(1, 2)
        return z.reshape(-1, self.L, self.width)


def _errors(features: torch.Tensor, reconstruction: torch.Tensor, *, channels: int) -> torch.Tensor:
    """Eq. 3 of every patch, in operators that every backend has."""
    square = (reconstruction - features).square().mean(-1)
    product = (reconstruction * features).mean(-1) * channels
    lengths = [t.square().mean(-1) * channels for t in (reconstruction, features)]
    cosine = product / torch.sqrt(lengths[0].clamp(min=TINY) * lengths[1].clamp(min=TINY))
    return square + 1 - cosine
