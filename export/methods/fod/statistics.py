"""Statistics of correlations and their gradients, block by block: no (L, L) tensor is kept.

The gradients of divergence and entropy do not depend on what follows in the network, so they are
formed while a block of the attention is in the cache; the backward pass only scales them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch

from pyad_edge.export.methods.fod.targets import axes, target_axes

__all__ = ["EPS", "RowStatistics", "Weights", "row_statistics"]

EPS = 1e-4  # inside the divergence's logarithms, as in the kernel and the public code
CPU_BLOCK, CUDA_BLOCK = 1 << 18, 1 << 26  # elements; a megabyte stays in a core's cache


@dataclass(frozen=True)
class Weights:
    """Factors of a branch's terms in the loss.

    Attributes:
        target: of Div(T, SG[S]), which moves the target.
        correlation: of Div(SG[T], S), which moves the correlation.
        entropy: of Ent(S).
    """

    target: float = 0.0
    correlation: float = 0.0
    entropy: float = 0.0


@dataclass(frozen=True, eq=False)
class RowStatistics:
    """What the rows of a correlation say.

    Attributes:
        loss: () float32, the weighted terms, each a mean over pictures, heads and rows.
        divergence: (N, R) float32, symmetric KL, mean over heads; no gradient.
        entropy: (N, R) float32, the same of the entropy.
    """

    loss: torch.Tensor
    divergence: torch.Tensor
    entropy: torch.Tensor


def row_statistics(
    queries: torch.Tensor,
    keys: torch.Tensor,
    sigma_x: torch.Tensor,
    sigma_y: torch.Tensor,
    *,
    grid: tuple[int, int],
    weights: Weights,
    rows: torch.Tensor | None = None,
) -> RowStatistics:
    """Divergence of softmax attention from its target (eqs. 4 to 6, 9) and its entropy (eq. 7).

    Args:
        queries: (N, heads, L, d), float32 or bfloat16; products are formed in their dtype.
        keys: the same, or (heads, L, d) shared by all pictures.
        sigma_x, sigma_y: (N, heads, L) float32, positive.
        grid: (h, w), L = h w.
        weights: of the loss's terms.
        rows: (R,) int64, patches that are looked at; none: all.
    """
    if rows is not None:
        queries = queries[:, :, rows]
        sigma_x, sigma_y = sigma_x[..., rows], sigma_y[..., rows]
    found = _Statistics.apply(queries, keys, sigma_x, sigma_y, grid, weights, rows)
    return RowStatistics(*found)


class _Statistics(torch.autograd.Function):  # type: ignore[misc]
    @staticmethod
    def forward(
        ctx: Any,
        queries: torch.Tensor,
        keys: torch.Tensor,
        sigma_x: torch.Tensor,
        sigma_y: torch.Tensor,
        grid: tuple[int, int],
        weights: Weights,
        rows: torch.Tensor | None,
    ) -> tuple[torch.Tensor, ...]:
        learns = any(ctx.needs_input_grad[:4]) and weights != Weights()
        with _without_autocast(queries.device):
            places = axes(grid, queries.device)
            if rows is not None:
                places = places[0][rows], places[1][rows]
            found, gradients = _compute(
                queries, keys, sigma_x, sigma_y, places, weights, learns=learns
            )
        ctx.save_for_backward(*gradients)
        ctx.mark_non_differentiable(*found[1:])
        return found

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> tuple[Any, ...]:
        if not ctx.saved_tensors:
            return (None,) * 7
        scaled = [(own * grads[0]).to(own.dtype) for own in ctx.saved_tensors]
        return (*scaled, None, None, None)


def _without_autocast(device: torch.device) -> AbstractContextManager[None]:
    """A context in which dtypes stay as they are; torch's meta device has none of its own."""
    kind = device.type if device.type in ("cpu", "cuda") else "cpu"
    context: AbstractContextManager[None] = torch.autocast(kind, enabled=False)
    return context


def _compute(
    queries: torch.Tensor,
    keys: torch.Tensor,
    sigma_x: torch.Tensor,
    sigma_y: torch.Tensor,
    places: tuple[torch.Tensor, torch.Tensor],
    weights: Weights,
    *,
    learns: bool,
) -> tuple[tuple[torch.Tensor, ...], tuple[torch.Tensor, ...]]:
    """Loss, divergence and entropy; the loss's gradients by the first four arguments."""
    N, heads, R, d = queries.shape
    L = keys.shape[-2]
    grid = places[1].shape[1], places[0].shape[1]
    across, down = places
    q = queries.reshape(N * heads, R, d)
    k = keys.expand(N, heads, L, d).reshape(N * heads, L, d)
    sx, sy = (s.reshape(N * heads, R) for s in (sigma_x, sigma_y))
    x_axis, y_axis = target_axes(across, sx), target_axes(down, sy)
    divergence = q.new_empty(N * heads, R, dtype=torch.float32)
    entropy = torch.empty_like(divergence)
    by_q, by_k = (torch.zeros_like(t, dtype=torch.float32) for t in (q, k))
    by_x, by_y = torch.zeros_like(divergence), torch.zeros_like(divergence)
    blocks = _Blocks(N * heads, R, L, q)
    for b, i in blocks:
        log_s, s, t, ratio, difference, s_eps, g = blocks.memory(b, i)
        blocks.product(q[b, i], k[b].mT, out=log_s).mul_(d**-0.5)
        log_s -= log_s.amax(-1, keepdim=True)
        torch.exp(log_s, out=s)
        total = s.sum(-1, keepdim=True)
        s /= total
        log_s -= total.log_()
        entropy[b, i] = -torch.mul(s, log_s, out=t).sum(-1)
        shaped = t.view(*t.shape[:2], *grid)
        torch.mul(y_axis[b, i][..., :, None], x_axis[b, i][..., None, :], out=shaped)
        torch.sub(s, t, out=difference)
        torch.add(s, EPS, out=s_eps)
        t_eps = torch.add(t, EPS, out=g)
        torch.div(s_eps, t_eps, out=ratio).log_()
        if learns and weights.target:
            # d Div / d T, times T: what the target's logarithm gets.
            torch.div(difference, t_eps, out=g).add_(ratio).mul_(t).neg_()
            shaped = g.view(*g.shape[:2], *grid)
            by_x[b, i] = _by_sigma(shaped.sum(-2), x_axis[b, i], across[i], sx[b, i])
            by_y[b, i] = _by_sigma(shaped.sum(-1), y_axis[b, i], down[i], sy[b, i])
        divergence[b, i] = torch.mul(difference, ratio, out=t).sum(-1)
        if learns:
            difference.div_(s_eps).add_(ratio).mul_(weights.correlation)
            difference.sub_(log_s, alpha=weights.entropy).mul_(s)  # constants change nothing
            difference.addcmul_(s, difference.sum(-1, keepdim=True), value=-1.0).mul_(d**-0.5)
            narrow = blocks.narrow(difference)
            by_q[b, i] = torch.bmm(narrow, k[b]).float()
            by_k[b] += torch.bmm(narrow.mT, q[b, i]).float()
    terms = (weights.target + weights.correlation) * divergence + weights.entropy * entropy
    per_row = [m.reshape(N, heads, R).mean(1) for m in (divergence, entropy)]
    found = (terms.mean(), *per_row)
    if not learns:
        return found, ()
    mean = 1.0 / (N * heads * R)
    whole = by_k.reshape(N, heads, L, d).mul_(mean)
    gradients = (
        by_q.reshape(queries.shape).mul_(mean).to(queries.dtype),
        (whole if keys.dim() == 4 else whole.sum(0)).to(keys.dtype),
        by_x.mul_(mean * weights.target).reshape(sigma_x.shape),
        by_y.mul_(mean * weights.target).reshape(sigma_y.shape),
    )
    return found, gradients


def _by_sigma(
    g: torch.Tensor, axis: torch.Tensor, squared: torch.Tensor, sigma: torch.Tensor
) -> torch.Tensor:
    """Gradient by the spread, of one by the logarithm of a normalised axis.

    d log T(x) / d sigma = (x^2 - E[x^2]) / sigma^3.
    """
    mean = (axis * squared).sum(-1)
    return ((g * squared).sum(-1) - g.sum(-1) * mean) / sigma**3


class _Blocks:
    """Slices of (picture and head, row), and memory for one of them at a time.

    Fresh memory for every operation would cost more than the arithmetic.

    Args:
        batch: pictures times heads.
        R, L: rows and columns.
        like: queries; its device and dtype.
    """

    COUNT = 7

    def __init__(self, batch: int, R: int, L: int, like: torch.Tensor) -> None:
        size = CPU_BLOCK if like.device.type == "cpu" else CUDA_BLOCK
        self.batch, self.R, self.L = batch, R, L
        self.rows = min(R, max(1, size // L))
        self.together = min(batch, max(1, size // (R * L))) if self.rows == R else 1
        elements = self.together * self.rows * L
        self._narrow = like.new_empty(elements)
        self._wide = [like.new_empty(elements, dtype=torch.float32) for _ in range(self.COUNT)]

    def __iter__(self) -> Iterator[tuple[slice, slice]]:
        """Every block."""
        for b in range(0, self.batch, self.together):
            for i in range(0, self.R, self.rows):
                yield (
                    slice(b, min(b + self.together, self.batch)),
                    slice(i, min(i + self.rows, self.R)),
                )

    def memory(self, b: slice, i: slice) -> list[torch.Tensor]:
        """Arrays of a block, float32."""
        shape = (b.stop - b.start, i.stop - i.start, self.L)
        return [m[: shape[0] * shape[1] * shape[2]].view(shape) for m in self._wide]

    def product(self, a: torch.Tensor, b: torch.Tensor, *, out: torch.Tensor) -> torch.Tensor:
        """A batched product of narrow matrices, as float32."""
        if a.dtype == torch.float32:
            torch.bmm(a, b, out=out)
            return out
        made = self._narrow[: out.numel()].view(out.shape)
        torch.bmm(a, b, out=made)
        return out.copy_(made)

    def narrow(self, values: torch.Tensor) -> torch.Tensor:
        """Values in the dtype of the products; the memory of the last call is used again."""
        if self._narrow.dtype == torch.float32:
            return values
        return self._narrow[: values.numel()].view(values.shape).copy_(values)
