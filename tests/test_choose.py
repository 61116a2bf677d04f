"""How to choose: its figures are those of the methods' own pages."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
NUMBER = r"(\d\.\d{3,4})(?: ± [\d.]+)?"


def test_its_figures_stand_on_the_pages_of_the_methods() -> None:
    text = (ROOT / "docs/choose.md").read_text()
    rows = re.findall(r"^\| ([A-Z][^|]+) \| (0\.\d{3}) \| (0\.\d{3}) \|", text, re.MULTILINE)
    assert len(rows) == 8
    pages = "\n".join(page.read_text() for page in (ROOT / "docs/methods").glob("*.md"))
    measured = {
        (f"{float(image):.3f}", f"{float(aupro):.3f}")
        for image, _, aupro in re.findall(rf"\| {NUMBER} \| {NUMBER} \| {NUMBER} \|", pages)
    }
    readme = (ROOT / "README.md").read_text()
    edge18 = re.findall(r"(?:image AUROC|AUPRO[^|]*) \| (0\.\d{3}) \|", readme)
    for name, image, aupro in rows:
        if "edge18" in name:
            assert [image, aupro] == edge18
        else:
            assert (image, aupro) in measured, name
