"""An engine that is signed, its keys, and a state folder of the test's own."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from pyad_edge.trust.keys import generate_keys
from pyad_edge.trust.sign import sign_engine

ENGINES = Path(__file__).resolve().parents[1] / "engines"


@dataclass(frozen=True)
class Signed:
    """Files of one test.

    Attributes:
        engine: signed as version 3 of ``bolt-m6``.
        signature: beside it.
        private, public: the keys.
        state: where accepted versions are remembered.
    """

    engine: Path
    signature: Path
    private: Path
    public: Path
    state: Path

    def sign(self, version: int, *, product: str = "bolt-m6", key: Path | None = None) -> None:
        """Sign again."""
        sign_engine(self.engine, key=key or self.private, product=product, version=version)


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A private key's file and its public one's."""
    private = tmp_path_factory.mktemp("keys") / "line.pem"
    return private, generate_keys(private)[0]


@pytest.fixture
def signed(tmp_path: Path, keys: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> Signed:
    monkeypatch.setenv("PYAD_EDGE_STATE", str(tmp_path / "state"))
    monkeypatch.delenv("PYAD_EDGE_PASSPHRASE", raising=False)
    engine = tmp_path / "part.pyad"
    shutil.copy(ENGINES / "v4_grad.pyad", engine)
    made = Signed(engine, tmp_path / "part.pyad.sig", *keys, tmp_path / "state")
    made.sign(3)
    return made
