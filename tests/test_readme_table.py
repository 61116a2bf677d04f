from __future__ import annotations

from pathlib import Path

from readme_table import PAGE, with_papers, with_table

README = Path(__file__).resolve().parents[1] / "README.md"


def test_every_figure_of_the_readme_comes_from_the_result_files() -> None:
    text = README.read_text()
    assert with_table(text) == text, "run: python benchmarks/readme_table.py"


def test_the_table_of_the_papers_page_comes_from_the_result_file() -> None:
    text = PAGE.read_text()
    assert with_papers(text) == text, "run: python benchmarks/readme_table.py"
