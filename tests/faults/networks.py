"""A network that does as it is told, in place of ONNX Runtime's, below a real ``Runtime``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from pyad_edge.backends.onnxruntime_session import OnnxRuntimeSession

__all__ = ["ILLEGAL", "Network", "Step"]

# As ONNX Runtime says it.
ILLEGAL = "CUDA failure 700: an illegal memory access was encountered ; GPU=0 ; hostname=line"

# What a run does after the real one: nothing; an exception; a call with the session; or ILLEGAL,
# from which on every run fails in the same way.
Step = BaseException | Callable[[Any], object] | str | None


class Network:
    """Follows a script, a step for each run; after the last one all is well.

    Attributes:
        runs: so far.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, script: Sequence[Step]) -> None:
        self.runs = 0
        self._script = list(script)
        real = OnnxRuntimeSession.run

        def run(session: Any) -> None:
            if not hasattr(session, "outputs"):  # it is being planned
                return real(session)
            self.runs += 1
            step = self._script[0] if self._script else None
            if self._script and step != ILLEGAL:
                self._script.pop(0)
            if isinstance(step, str):
                raise RuntimeError(step)
            if isinstance(step, BaseException):
                raise step
            real(session)
            if step is not None:
                step(session)
            return None

        monkeypatch.setattr(OnnxRuntimeSession, "run", run)
