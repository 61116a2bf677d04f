"""Networks of timm and torchvision in torch: build one, load its weights, find its layers.

Only `pyad-edge backbone export` comes here; it needs the extra `[train]`.
"""

from __future__ import annotations

import difflib
import hashlib
import importlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pyad_edge.errors import BackendError

if TYPE_CHECKING:
    import torch

__all__ = [
    "Level",
    "Network",
    "build_network",
    "find_levels",
    "first_line",
    "load_weights",
    "require",
    "truncate",
    "used_modules",
]

TORCHVISION = "torchvision:"
# A counter that evaluation never reads; folded weights leave it out.
UNREAD = "num_batches_tracked"


@dataclass(frozen=True)
class Network:
    """A network with its pre-processing.

    Attributes:
        name: As typed: `resnet18`, `torchvision:resnet18`.
        module: The whole network, in evaluation mode.
        weights_sha256: SHA-256 of the weights: of the file's bytes, or of the state as safetensors
            where there was no file.
        mean: Subtracted from RGB in [0, 1].
        std: Divisor afterwards.
    """

    name: str
    module: torch.nn.Module
    weights_sha256: str
    mean: tuple[float, float, float]
    std: tuple[float, float, float]


@dataclass(frozen=True)
class Level:
    """A layer to export: its output name and the module whose output it is."""

    name: str
    module: str


class _ReachedError(Exception):
    """The deepest wanted layer has answered; what lies behind it need not run."""


def build_network(name: str, *, weights: Path | Literal["hub", "random"], seed: int = 0) -> Network:
    """Builds a network and gives it its weights.

    Args:
        name: A timm name, or `torchvision:` and a torchvision name.
        weights: A safetensors file, `hub` for the publisher's own (downloaded by timm or
            torchvision), or `random` for tests.
        seed: Of random weights.

    Returns:
        The network in evaluation mode. Keys that a file lacks are random; `load_weights` tells
        whether that matters.

    Raises:
        BackendError: if torch or timm are missing, the name is unknown, or the download fails.
    """
    torch = require("torch")
    create, preprocessing = _torchvision(name) if name.startswith(TORCHVISION) else _timm(name)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if weights == "hub":
            try:
                module = create(True)
            except Exception as error:  # any of a dozen network errors, none with a common base
                raise BackendError(
                    f"[backbone export] cannot get the weights of {name} from the hub: "
                    f"{first_line(error)}. Check the network and HF_HUB_OFFLINE, or pass a file: "
                    "`--weights FILE.safetensors`."
                ) from error
        else:
            module = create(False)
    for part in module.modules():
        if getattr(part, "inplace", False):
            # A wanted output must not be overwritten by the activation behind it.
            part.inplace = False
    module.eval()
    mean, std = preprocessing(module)
    sha256 = _sha256(weights) if isinstance(weights, Path) else _state_sha256(module)
    return Network(name, module, sha256, mean, std)


def load_weights(network: Network, file: Path, *, needed: Callable[[str], bool]) -> None:
    """Copies a safetensors file into a network.

    Args:
        network: Changed in place.
        file: Tensors under the network's own key names.
        needed: Whether the exported part of the network reads that key. Others may be missing or
            of another shape, as in files without a classifier.

    Raises:
        BackendError: if the file cannot be read, lacks needed keys, or has keys or shapes that
            the network does not know.
    """
    from safetensors.torch import load_file

    try:
        found: dict[str, Any] = load_file(file)
    except Exception as error:
        raise BackendError(
            f"[backbone export] cannot read {file} as safetensors: {first_line(error)}. Other "
            "formats can run code when opened; convert them with `pyad-edge backbone import`."
        ) from error
    own = network.module.state_dict()
    missing = [k for k in own if k not in found and needed(k) and not k.endswith(UNREAD)]
    unknown = [k for k in found if k not in own]
    misshapen = [
        f"{k} {tuple(found[k].shape)} instead of {tuple(own[k].shape)}"
        for k in found
        if k in own and needed(k) and found[k].shape != own[k].shape
    ]
    problems = [
        f"{what} {', '.join(keys[:4])}{f' and {len(keys) - 4} more' if len(keys) > 4 else ''}"
        for what, keys in (("it lacks", missing), ("unknown:", unknown), ("shapes:", misshapen))
        if keys
    ]
    if problems:
        raise BackendError(
            f"[backbone export] {file} does not fit {network.name}: {'; '.join(problems)}. Are "
            "these the weights of another network, or of fewer layers?"
        )
    network.module.load_state_dict({k: v for k, v in found.items() if needed(k)}, strict=False)


def find_levels(network: Network, layers: Sequence[str]) -> tuple[Level, ...]:
    """Which modules the layers mean.

    A number n, or `layer<n>` where no module has that name, is entry n of timm's list of feature
    levels (for a ResNet the same as `layer<n>`); in torchvision it is `layer<n>` or
    `features.<n>`. Any other name is a module's own.

    Raises:
        BackendError: if a layer does not exist; the message lists those that do.
    """
    modules = {name for name, _ in network.module.named_modules() if name}
    features = [str(f["module"]) for f in getattr(network.module, "feature_info", None) or []]
    numbered = {f"layer{i}": module for i, module in enumerate(features) if module in modules}
    for number in range(100):
        for name in (f"layer{number}", f"features.{number}"):
            if name in modules:
                numbered.setdefault(f"layer{number}", name)
    levels = []
    for layer in layers:
        name = f"layer{int(layer)}" if layer.isdecimal() else layer
        module = name if name in modules else numbered.get(name)
        if module is None:
            offered = ", ".join(n if n == m else f"{n} ({m})" for n, m in sorted(numbered.items()))
            raise BackendError(
                f"[backbone export] {network.name} has no layer {layer!r}; it offers "
                f"{offered or ', '.join(sorted(modules)[:12])}, and every module by its name."
            )
        levels.append(Level(name, module))
    return tuple(levels)


def truncate(network: Network, levels: Sequence[Level]) -> torch.nn.Module:
    """A module that maps (N, 3, H, W) to the outputs of the levels and stops at the deepest.

    The network is shared, not copied.
    """
    torch = require("torch")

    class Truncated(torch.nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.network = network.module
            self.reached: dict[str, Any] = {}
            self.wanted = {level.module for level in levels}
            for module in self.wanted:
                part = network.module.get_submodule(module)
                part.register_forward_hook(self._hook(module))
            self.eval()

        def _hook(self, module: str) -> Callable[[Any, Any, Any], None]:
            def keep(_part: Any, _inputs: Any, output: Any) -> None:
                self.reached[module] = output
                if len(self.reached) == len(self.wanted):
                    raise _ReachedError

            return keep

        def forward(self, image: Any) -> tuple[Any, ...]:
            self.reached = {}
            with suppress(_ReachedError):
                self.network(image)
            reached, self.reached = self.reached, {}
            return tuple(reached[level.module] for level in levels if level.module in reached)

    return Truncated()


def used_modules(network: Network, truncated: torch.nn.Module, image: torch.Tensor) -> set[str]:
    """Names of the modules whose weights the truncated network reads.

    A module counts if it ran or if a gradient reaches one of its parameters, for some modules read
    the weights of their children without calling them.
    """
    torch = require("torch")
    ran: set[str] = set()
    hooks = [
        module.register_forward_pre_hook(lambda _m, _i, name=name: ran.add(name))
        for name, module in network.module.named_modules()
    ]
    try:
        with torch.enable_grad():
            total = sum(output.sum() for output in truncated(image))
    finally:
        for hook in hooks:
            hook.remove()
    parameters = {n: p for n, p in network.module.named_parameters() if p.requires_grad}
    gradients = torch.autograd.grad(total, list(parameters.values()), allow_unused=True)
    read = {
        n.rpartition(".")[0] for n, g in zip(parameters, gradients, strict=True) if g is not None
    }
    return ran | read


def require(package: str, *, operation: str = "backbone export") -> Any:
    """Imports a package of the extra `[train]`.

    Args:
        package: its name.
        operation: that needs it, for the message.

    Raises:
        BackendError: if it is missing, with the command that installs it.
    """
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise BackendError(
            f"[{operation}] needs {package}, which does not import ({error}). Install it with "
            "`pip install pyad_edge[train]`; a machine that only trains from an ONNX file or runs "
            "engines does not need it."
        ) from error


_Create = Callable[[bool], Any]
_Preprocessing = Callable[[Any], tuple[Any, Any]]


def _timm(name: str) -> tuple[_Create, _Preprocessing]:
    timm = require("timm")
    if not timm.is_model(name):
        close = difflib.get_close_matches(name, timm.list_models(), n=3)
        raise BackendError(
            f"[backbone export] timm {timm.__version__} has no network {name!r}"
            f"{'; close names: ' + ', '.join(close) if close else ''}. torchvision's are called "
            "`torchvision:NAME`."
        )

    def preprocessing(module: Any) -> tuple[Any, Any]:
        found = timm.data.resolve_data_config(module.pretrained_cfg)
        return _three(found["mean"]), _three(found["std"])

    return (lambda pretrained: timm.create_model(name, pretrained=pretrained)), preprocessing


def _torchvision(name: str) -> tuple[_Create, _Preprocessing]:
    models = require("torchvision.models")
    short = name.removeprefix(TORCHVISION)
    if short not in models.list_models(module=models):
        close = difflib.get_close_matches(short, models.list_models(module=models), n=3)
        raise BackendError(
            f"[backbone export] torchvision has no classifier {short!r}"
            f"{'; close names: ' + ', '.join(close) if close else ''}. timm's are called without "
            f"`{TORCHVISION}`."
        )
    default = models.get_model_weights(short).DEFAULT

    def preprocessing(_module: Any) -> tuple[Any, Any]:
        transforms = default.transforms()
        return _three(transforms.mean), _three(transforms.std)

    return (
        lambda pretrained: models.get_model(short, weights=default if pretrained else None)
    ), preprocessing


def _three(values: Sequence[float]) -> tuple[float, float, float]:
    a, b, c = (float(v) for v in values)
    return a, b, c


def _sha256(file: Path) -> str:
    try:
        return hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError as error:
        raise BackendError(
            f"[backbone export] cannot read the weights {file}: {error.strerror or error}."
            " Check the path."
        ) from error


def _state_sha256(module: Any) -> str:
    from safetensors.torch import save

    state = {
        key: tensor.detach().clone().contiguous() for key, tensor in module.state_dict().items()
    }
    return hashlib.sha256(save(state)).hexdigest()


def first_line(error: Exception) -> str:
    """What an error says, without the traceback that some libraries put into the message."""
    text = str(error).strip()
    return text.splitlines()[0].rstrip(". ")[:300] if text else type(error).__name__
