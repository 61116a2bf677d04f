"""Who is timed in a cell, and whether they all compute the same."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from mtd_patchcore import resnet18_weights
from numpy.typing import NDArray
from report import mtd_pictures

from pyad_edge import Runtime, read_image
from pyad_edge.engine import read_engine
from pyad_edge.preprocessing import to_batch

Array = NDArray[np.float32]
Timed = Callable[[int], Sequence[float]]  # number of a frame (or batch) -> scores of its pictures
Make = Callable[[], Timed]

FRAMES = 16
BATCH = 8
# Largest relative difference of a picture's score from anomalib's eager float32 form (or from the
# official form). bf16 has eight bits: a score is a difference of large numbers to anomalib.
TOLERANCE = {"fp32": 1e-3, "bf16": 0.05}
OURS = {"fp32": ("onnxruntime", "openvino", "native"), "bf16": ("openvino", "native")}


@dataclass(frozen=True)
class Cell:
    """One comparison.

    Attributes:
        peer: ``anomalib`` or ``official``.
        bank: ``small`` or ``large``, see ``engines.py``.
        precision: of network and, where the peer does so, of its search.
        together: pictures at once.
    """

    peer: str
    bank: str
    precision: str
    together: int = 1

    @property
    def name(self) -> str:
        return f"{self.peer}-{self.bank}-{self.precision}-{self.together}"

    @property
    def embedding(self) -> str:
        return "average" if self.peer == "anomalib" else "official"


CELLS = (
    *(Cell("anomalib", bank, p) for p in ("fp32", "bf16") for bank in ("small", "large")),
    *(Cell("official", bank, "fp32", n) for n in (1, BATCH) for bank in ("small", "large")),
)


class Contenders:
    """The forms of one cell, by group: ``ours``, and the peers' by what runs them.

    Args:
        cell: which.
        engine: of its embedding and bank.
        threads: of everybody.
    """

    def __init__(self, cell: Cell, engine: Path, *, threads: int) -> None:
        self.cell, self._path, self._threads = cell, engine, threads
        opened = read_engine(engine)
        self._bank: Array = np.array(opened.tensors["bank/features"])
        self.frames = frames_of(opened.manifest.network.input_size)
        self.batches = [to_batch([frame], opened.manifest.preprocessing) for frame in self.frames]
        n = cell.together
        self.turns = len(self.frames) // n
        self._stacks = [np.concatenate(self.batches[i * n : i * n + n]) for i in range(self.turns)]

    def groups(self) -> dict[str, Mapping[str, Make]]:
        """Makers by group and form; of each group the fastest takes part."""
        ours = {f"{name} {self.cell.precision}": self._ours(name) for name in self._backends()}
        if self.cell.peer == "official":
            return {"pyad_edge": ours, "official, torch + faiss": self._official()}
        return {
            "pyad_edge": ours,
            "anomalib, OpenVINO": self._anomalib("openvino"),
            "anomalib, torch": self._anomalib("torch"),
        }

    def expected(self) -> list[list[float]]:
        """Scores that everybody must give, by turn."""
        if self.cell.peer == "official":
            return [list(self._official_run(channels_last=False)(s)[0]) for s in self._stacks]
        from anomalib_forms import torch_form

        run = torch_form(self._graph(), self.batches[0], "fp32", "eager")
        return [[run(batch)[0]] for batch in self.batches]

    def distances(self) -> float:
        """Largest difference of a patch's distance between float32 pyad_edge and the peer's eager
        form, over the largest distance, on all frames."""
        runtime = Runtime(self._path, threads=self._threads)
        theirs: Callable[[Array], Array]
        if self.cell.peer == "official":
            from official import patch_distances as official_distances

            theirs = partial(official_distances, resnet18_weights(), self._bank)
        else:
            from anomalib_forms import patch_distances

            theirs = partial(patch_distances, self._graph())
        worst = 0.0
        for frame, batch in zip(self.frames, self.batches, strict=True):
            ours = runtime.pipeline.score([frame]).patches.distances
            expected = theirs(batch)
            worst = max(worst, float(np.abs(ours - expected).max() / expected.max()))
        return worst

    def _backends(self) -> tuple[str, ...]:
        return OURS[self.cell.precision]

    def _ours(self, backend: str) -> Make:
        def make() -> Timed:
            # One precision may be a backend's only one, and then has no name to ask for.
            precision = None if self.cell.precision == "fp32" else self.cell.precision
            runtime = Runtime(
                self._path, backend=backend, precision=precision, threads=self._threads
            )
            n = self.cell.together
            if n == 1:
                return lambda i: [runtime.infer(self.frames[i]).score]
            return lambda i: [
                found.score for found in runtime.infer_batch(self.frames[i * n : i * n + n])
            ]

        return make

    def _graph(self) -> Any:
        from anomalib_forms import graph
        from engines import NEIGHBORS

        return graph(resnet18_weights(), self._bank, neighbors=NEIGHBORS)

    def _anomalib(self, group: str) -> Mapping[str, Make]:
        from anomalib_forms import OPENVINO_FORMS, TORCH_FORMS, openvino_form, torch_form

        example, precision = self.batches[0], self.cell.precision

        def of(name: str) -> Make:
            def make() -> Timed:
                # A model of its own for each form: layouts are changed in place.
                if group == "torch":
                    run = torch_form(self._graph(), example, precision, name)
                else:
                    run = openvino_form(self._graph(), example, precision, name, self._threads)
                return lambda i: [run(self.batches[i])[0]]

            return make

        names = TORCH_FORMS if group == "torch" else OPENVINO_FORMS
        return {f"{name}, {precision}": of(name) for name in names}

    def _official_run(self, *, channels_last: bool) -> Any:
        from official import official
        from oracle import patchcore as oracle

        network = oracle.load_resnet18(resnet18_weights())
        return official(network, self._bank, threads=self._threads, channels_last=channels_last)

    def _official(self) -> Mapping[str, Make]:
        def of(channels_last: bool) -> Make:
            def make() -> Timed:
                run = self._official_run(channels_last=channels_last)
                return lambda i: run(self._stacks[i])[0]

            return make

        return {"eager": of(False), "eager, channels last": of(True)}


def frames_of(size: tuple[int, int]) -> list[NDArray[np.uint8]]:
    """Sixteen test pictures, good and not, as frames of the network's size."""
    _, test, _ = mtd_pictures()
    chosen = test[:: len(test) // (FRAMES - 1)][:FRAMES]
    side = (size[1], size[0])
    return [cv2.resize(read_image(p), side, interpolation=cv2.INTER_AREA) for p in chosen]


def largest_difference(run: Timed, expected: Sequence[Sequence[float]]) -> float:
    """Of the scores of all turns, relative to the expected ones; NaN if there is one."""
    found = [
        np.abs(np.asarray(run(i), np.float64) / np.asarray(wanted, np.float64) - 1)
        for i, wanted in enumerate(expected)
    ]
    return float(np.concatenate(found).max())
