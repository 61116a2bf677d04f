"""A frame scored by a memory bank, as one CUDA graph."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from pyad_edge.backends.device_session import DeviceSession
from pyad_edge.device.bank import DeviceBank
from pyad_edge.device.frame_graph import ColorOrder, FrameGraph
from pyad_edge.device.memory import DevicePart, ResultBlock
from pyad_edge.engine_manifest import MemoryBankHead as HeadSettings
from pyad_edge.engine_manifest import Preprocessing
from pyad_edge.ops import cuda

__all__ = ["BankGraph"]


class BankGraph(FrameGraph):
    """Pre-processing, network, aggregation, search, and the map where it is wanted.

    Args:
        session, preprocessing, shapes, color_order: as for :class:`FrameGraph`.
        bank: on the device.
        head: how features are scored.
        sigma: of the map's Gaussian, in pixels of the network's input.
        maps: whether a map is wanted.

    Raises:
        BackendError: if the device fails or has not enough memory.
    """

    def __init__(
        self,
        session: DeviceSession,
        bank: DeviceBank,
        head: HeadSettings,
        preprocessing: Preprocessing,
        *,
        shapes: Sequence[tuple[int, ...]] | None,
        color_order: ColorOrder,
        sigma: float,
        maps: bool,
    ) -> None:
        super().__init__(session, preprocessing, shapes=shapes, color_order=color_order)
        self._bank, self._head = bank, head
        self._sigma, self._maps = sigma, maps
        N, (H, W), (h, w) = self._input.shape[0], self.size, self.grid
        P, D = h * w, bank.memory.dim
        held = cuda.DeviceArray((N, h, w, D), np.float32)
        self._patches = DevicePart(held, held.pointer, (N, h, w, D), np.float32)
        scores: dict[str, Any] = {
            "around": ((N, bank.k), np.float32),
            "winners": ((N,), np.int64),
            "squared": ((N, P), np.float32),
            "rows": ((N, P), np.int64),
            "distances": ((N, P), np.float32),
        }
        drawn: dict[str, Any] = {"maxima": ((N,), np.float32), "maps": ((N, H, W), np.float32)}
        self.results = ResultBlock(scores | (drawn if maps else {}))
        self._room = bank.memory.workspace(N * P)
        self._map_room = cuda.anomaly_map_workspace(N, size=(H, W)) if maps else None
        self._capture()

    def _enqueue_results(self) -> None:
        stream, parts = self._session.stream, self.results.device
        aggregation = self._head.aggregation
        cuda.patch_aggregation(
            self._features,
            variant=aggregation.variant,
            pre_dim=aggregation.pre_dim,
            target_dim=aggregation.target_dim,
            out=self._patches,
            stream=stream,
        )
        N, h, w, D = self._patches.shape
        queries = self._patches.reshaped(N * h * w, D)
        squared, rows = parts["squared"], parts["rows"]
        self._bank.memory.search(
            queries,
            out=(squared.reshaped(N * h * w, 1), rows.reshaped(N * h * w, 1)),
            workspace=self._room,
            stream=stream,
        )
        cuda.picture_scores(
            squared,
            rows,
            out=(parts["distances"], parts["winners"], parts["around"]),
            patches=queries,
            bank=self._bank.rows,
            neighborhoods=self._bank.neighborhoods,
            stream=stream,
        )
        if self._maps:
            scored = squared if self._head.scoring == "maximum" else parts["distances"]
            cuda.anomaly_map(
                scored.reshaped(N, h, w),
                size=self.size,
                sigma=self._sigma,
                out=(parts["maps"], parts["maxima"]),
                workspace=self._map_room,
                stream=stream,
            )
