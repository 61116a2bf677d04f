"""The network of an engine: what inference needs of the trained model, and nothing twice."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torch.utils.flop_counter import FlopCounterMode

from pyad_edge.export.methods.recontrast.model import ReContrast

__all__ = ["InferenceGraph", "Pairs", "fold_batch_norm", "macs", "shared_steps"]

Pairs = Literal["both", "trained"]
_PROBE = 64
LEVELS = ("layer1", "layer2", "layer3")


class InferenceGraph(nn.Module):  # type: ignore[misc]
    """A trained model, as an engine runs it.

    Compared with the model in evaluation mode:

    - batch norms are folded into the convolutions before them (in float64);
    - each set of heads runs on its own half only; with ``pairs`` = ``trained``, only the half that
      reconstructs the trained encoder passes bottleneck and decoder at all;
    - the first steps of both encoders run once as far as their weights are the same, bit for bit.

    Attributes:
        outputs: names of what ``forward`` returns.
        pairs: (encoder, decoder) indices into ``outputs``.
        shared: steps that both encoders have in common.
    """

    def __init__(self, model: ReContrast, *, pairs: Pairs = "both") -> None:
        super().__init__()
        model = copy.deepcopy(model).cpu().eval().requires_grad_(False)
        model = model.to(memory_format=torch.contiguous_format)
        fold_batch_norm(model, torch.zeros(1, 3, _PROBE, _PROBE))
        frozen, trained = _steps(model.frozen), _steps(model.encoder)
        self.shared = shared_steps(frozen, trained)
        self.stem = nn.ModuleList(frozen[: self.shared])
        self.frozen = nn.ModuleList(frozen[self.shared :])
        self.trained = nn.ModuleList(trained[self.shared :])
        self._wanted = [step in model.encoder.return_layers for step in model.encoder]
        self.bottleneck, self.decoder = model.bottleneck, model.decoder
        self.both = pairs == "both"
        views = ("frozen", "trained") if self.both else ("trained",)
        names = [f"{view}_{level}" for view in views for level in LEVELS]
        self.outputs = (*names, *(f"{name}_reconstructed" for name in names))
        self.pairs = tuple((i, i + len(names)) for i in range(len(names)))

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """(N, 3, H, W) to the encoders' maps, then their reconstructions, as ``outputs`` names."""
        maps: list[torch.Tensor] = []
        image = self._encode(image, self.stem, 0, maps)
        frozen, trained = list(maps), list(maps)
        self._encode(image, self.frozen, self.shared, frozen)
        self._encode(image, self.trained, self.shared, trained)
        first, second = self.decoder.heads
        if not self.both:
            decoded = self.decoder(self.bottleneck(frozen))
            return (*trained, *(head(m) for head, m in zip(second, decoded, strict=True)))
        views = [torch.cat(pair) for pair in zip(trained, frozen, strict=True)]
        # (2, N, ...) by shapes that do not depend on N, which the file leaves open.
        halves = [m.view(2, -1, *m.shape[1:]) for m in self.decoder(self.bottleneck(views))]
        return (
            *frozen,
            *trained,
            *(head(half[0]) for head, half in zip(first, halves, strict=True)),
            *(head(half[1]) for head, half in zip(second, halves, strict=True)),
        )

    def _encode(
        self, x: torch.Tensor, steps: nn.ModuleList, start: int, maps: list[torch.Tensor]
    ) -> torch.Tensor:
        for index, step in enumerate(steps, start):
            x = step(x)
            if self._wanted[index]:
                maps.append(x)
        return x


def _steps(encoder: Any) -> list[nn.Module]:
    """The parts of a timm feature network, which run one after the other."""
    return list(encoder.children())


def shared_steps(frozen: Sequence[nn.Module], trained: Sequence[nn.Module]) -> int:
    """How many leading steps have the same weights, bit for bit, and so the same output."""
    count = 0
    for a, b in zip(frozen, trained, strict=True):
        mine, other = a.state_dict(), b.state_dict()
        if mine.keys() != other.keys() or not all(torch.equal(mine[k], other[k]) for k in mine):
            break
        count += 1
    return count


def fold_batch_norm(network: nn.Module, sample: torch.Tensor) -> int:
    """Folds each norm into the convolution that feeds it; how many there were.

    Which one does is seen in one run: a norm's input is a convolution's output.

    Args:
        network: in evaluation mode; changed in place.
        sample: an input to run it on.
    """
    made: dict[int, tuple[nn.Module, torch.Tensor]] = {}
    found: dict[nn.Module, nn.Module] = {}

    def note(module: nn.Module, _inputs: tuple[Any, ...], output: torch.Tensor) -> None:
        made[id(output)] = (module, output)  # kept, so that no other tensor gets its id

    def look(module: nn.Module, inputs: tuple[Any, ...]) -> None:
        if id(inputs[0]) in made:
            found[module] = made[id(inputs[0])][0]

    hooks = []
    for module in network.modules():
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
            hooks.append(module.register_forward_hook(note))
        elif isinstance(module, nn.BatchNorm2d):
            hooks.append(module.register_forward_pre_hook(look))
    with torch.no_grad():
        network(sample)
    for hook in hooks:
        hook.remove()
    places = {module: name for name, module in network.named_modules()}
    for norm, conv in found.items():
        transposed = isinstance(conv, nn.ConvTranspose2d)
        fused = fuse_conv_bn_eval(conv.double(), norm.double(), transpose=transposed)
        network.set_submodule(places[conv], fused.float())
        network.set_submodule(places[norm], nn.Identity())
    return len(found)


def macs(network: nn.Module, *, size: tuple[int, int]) -> int:
    """Multiply-accumulate operations of one picture of (H, W), counted without running it.

    Matrix work only: convolutions, plain and transposed.
    """
    with _on_meta(network) as meta, FlopCounterMode(display=False) as counter, torch.no_grad():
        meta(torch.zeros(1, 3, *size, device="meta"))
    return int(counter.get_total_flops()) // 2


@contextmanager
def _on_meta(network: nn.Module) -> Iterator[nn.Module]:
    yield copy.deepcopy(network).to("meta").eval()
