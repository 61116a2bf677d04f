"""Fixtures that several files share; each is made once and only read."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny_engine import TinyEngine, write_backbone, write_engine, write_pictures


@pytest.fixture(scope="session")
def part_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set of generated parts in the MVTec layout."""
    return write_pictures(tmp_path_factory.mktemp("data") / "part")


@pytest.fixture(scope="session")
def tiny_onnx(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny backbone as a file."""
    return write_backbone(tmp_path_factory.mktemp("backbone") / "tiny.onnx")


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory, part_data: Path, tiny_onnx: Path) -> TinyEngine:
    """An engine with re-weighted scores."""
    return write_engine(tmp_path_factory.mktemp("engine") / "part.pyad", part_data, tiny_onnx)
