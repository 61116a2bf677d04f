from __future__ import annotations

import importlib.util

import numpy as np
import pytest

from pyad_edge.errors import BackendError
from pyad_edge.ops import cuda
from pyad_edge.ops.nearest_neighbors import nearest_neighbors

built = importlib.util.find_spec("pyad_edge._cuda") is not None


def test_absence_is_a_sentence_and_never_a_crash() -> None:
    reason = cuda.why_unavailable()
    if reason is None:
        assert cuda.device_count() > 0
        return
    assert cuda.device_count() == 0
    assert ("nvcc" in reason) != built  # names the build where that is what is missing
    with pytest.raises(BackendError, match=r"\[cuda\]"):
        cuda.nearest_neighbors(np.ones((2, 3), np.float32), np.ones((2, 3), np.float32))


class Broken:
    """A module whose device does not answer."""

    def device_count(self) -> int:
        raise RuntimeError("CUDA error 803: driver and library do not match")


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (ModuleNotFoundError("no", name="pyad_edge._cuda"), "built without CUDA"),
        (ModuleNotFoundError("No module named 'x'", name="x"), "do not load: No module named 'x'"),
        (ImportError("libcudart.so.13: cannot open"), r"do not load: libcudart\.so\.13"),
        (Broken(), "does not answer: CUDA error 803"),
    ],
)
def test_a_missing_build_and_a_broken_one_are_told_apart(
    monkeypatch: pytest.MonkeyPatch, answer: object, words: str
) -> None:
    def load(name: str) -> object:
        assert name == "pyad_edge._cuda"
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(importlib, "import_module", load)
    assert cuda.device_count() == 0
    with pytest.raises(BackendError, match=rf"^\[cuda\] .*{words}"):
        cuda.nearest_neighbors(np.ones((2, 3), np.float32), np.ones((2, 3), np.float32))


@pytest.mark.cuda
@pytest.mark.skipif(cuda.device_count() == 0, reason="no CUDA device here")
@pytest.mark.parametrize(("Q", "M", "D"), [(1, 1, 1), (9, 257, 19), (100, 333, 384)])
def test_bit_equal_to_the_cpu(Q: int, M: int, D: int) -> None:
    rng = np.random.default_rng(Q)
    queries = rng.integers(-2, 3, (Q, D)).astype(np.float32) + rng.choice([0, 0.1], (Q, 1)).astype(
        "f4"
    )
    bank = rng.integers(-2, 3, (M, D)).astype(np.float32)
    for ours, theirs in zip(
        cuda.nearest_neighbors(queries, bank), nearest_neighbors(queries, bank), strict=True
    ):
        assert ours.tobytes() == theirs.tobytes()
