from __future__ import annotations

from pathlib import Path

from readme_table import with_table

README = Path(__file__).resolve().parents[1] / "README.md"


def test_every_figure_of_the_readme_comes_from_the_result_files() -> None:
    text = README.read_text()
    assert with_table(text) == text, "run: python benchmarks/readme_table.py"
