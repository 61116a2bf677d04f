"""anomalib's PatchCore as bare graphs, each in the fastest form that it takes on this machine.

The model is anomalib's own ``PatchcoreModel`` (2.x, from PyPI) with given weights and bank. Of its
``Engine``, dataclasses, pre- and post-processor nothing is timed: a prepared tensor goes in, the
picture's score and the map come out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov
import torch
from anomalib.models.image.patchcore.torch_model import PatchcoreModel
from numpy.typing import NDArray
from safetensors.torch import load_file

Array = NDArray[np.float32]
Run = Callable[[Array], tuple[float, Array]]  # (1, 3, H, W) -> score, (H, W) map

OPENVINO_PRECISION = {"fp32": "f32", "bf16": "bf16"}
OPENVINO_FORMS: Mapping[str, Mapping[str, Any]] = {
    "latency hint": {"PERFORMANCE_HINT": "LATENCY"},
    "one stream, not pinned": {"NUM_STREAMS": 1, "ENABLE_CPU_PINNING": False},
}
TORCH_FORMS = tuple(
    form + layout for layout in ("", ", channels last") for form in ("eager", "traced", "compiled")
)


class Graph(torch.nn.Module):
    """PatchcoreModel with a plain tuple for an answer, so that it can be traced and converted."""

    def __init__(self, model: PatchcoreModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, batch: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        found = self.model(batch)
        return found.pred_score, found.anomaly_map


def graph(weights: Path, bank: Array, *, neighbors: int) -> Graph:
    """anomalib's model: ResNet-18 with these weights, its default layers 2 and 3, this bank."""
    model = PatchcoreModel(
        layers=["layer2", "layer3"], backbone="resnet18", pre_trained=False, num_neighbors=neighbors
    )
    network = model.feature_extractor.feature_extractor
    missing = network.load_state_dict(load_file(weights), strict=False).missing_keys
    if any(not key.startswith(("layer4", "fc")) for key in missing):
        raise SystemExit(f"{weights} lacks {missing}")
    model.memory_bank = torch.from_numpy(np.array(bank))
    return Graph(model).eval()


def patch_distances(model: Graph, batch: Array) -> Array:
    """(1, h, w) distance of each patch to its nearest bank row, as the model computes it."""
    inner = model.model
    with torch.inference_mode():
        levels = inner.feature_extractor(torch.from_numpy(batch))
        embedding = inner.generate_embedding(
            {k: inner.feature_pooler(v) for k, v in levels.items()}
        )
        h, w = embedding.shape[-2:]
        found, _ = inner.nearest_neighbors(inner.reshape_embedding(embedding), n_neighbors=1)
    distances: Array = found.numpy().reshape(1, h, w)
    return distances


def torch_form(model: Graph, example: Array, precision: str, name: str) -> Run:
    """One of TORCH_FORMS, ready to run. bf16 is torch's autocast: casting the whole model would
    take the distances from bf16 numbers as well."""
    form, _, suffix = name.partition(", ")
    layout = torch.channels_last if suffix else torch.contiguous_format

    def cast() -> AbstractContextManager[Any]:
        return nullcontext() if precision == "fp32" else torch.autocast("cpu", torch.bfloat16)

    module: Any = model.to(memory_format=layout)
    tensor = torch.from_numpy(example).contiguous(memory_format=layout)
    if form == "traced":
        with torch.no_grad(), cast():
            module = torch.jit.freeze(torch.jit.trace(module, tensor, check_trace=False))
    elif form == "compiled":
        module = torch.compile(module, dynamic=False)

    def run(batch: Array) -> tuple[float, Array]:
        with torch.inference_mode(), cast():
            found = torch.from_numpy(batch).contiguous(memory_format=layout)
            score, anomaly_map = module(found)
        return float(score[0]), anomaly_map[0, 0].float().numpy()

    return run


def openvino_form(model: Graph, example: Array, precision: str, name: str, threads: int) -> Run:
    """One of OPENVINO_FORMS: fixed input size, the input tensor shared, not copied."""
    with torch.no_grad():
        found = ov.convert_model(
            model, example_input=torch.from_numpy(example), input=list(example.shape)
        )
    settings = {
        "INFERENCE_NUM_THREADS": threads,
        "INFERENCE_PRECISION_HINT": OPENVINO_PRECISION[precision],
        **OPENVINO_FORMS[name],
    }
    request = ov.Core().compile_model(found, "CPU", settings).create_infer_request()

    def run(batch: Array) -> tuple[float, Array]:
        request.set_input_tensor(ov.Tensor(batch, shared_memory=True))
        request.infer()
        score = float(request.get_output_tensor(0).data.ravel()[0])
        return score, request.get_output_tensor(1).data[0, 0]

    return run
