"""A hook of MkDocs: pages outside docs/ join the site, and links to files that do not become text.

The pages' own links are those that work in the repository. Here a link to a file under docs/ or to
a page that joins leads to that page; any other is replaced by its text and the path that it names.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File

ROOT = Path(__file__).resolve().parents[2]
JOINED = {
    "benchmarks.md": "benchmarks/README.md",
    "changelog.md": "CHANGELOG.md",
    "contributing.md": "CONTRIBUTING.md",
    "edge18.md": "export/distill.md",
    "patchcore-equations.md": "export/methods/patchcore/README.md",
}
"""Pages of the site by the files that they are."""
HOME = "index.md"  # stands for README.md, which has other headings

_CODE = re.compile(r"^```.*?^```$|`[^`\n]+`", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"(?<!!)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)\s#]+)(#[^)\s]*)?\)")


def on_files(files: Any, config: Any) -> Any:
    """Let the pages join; one that is missing is a broken site."""
    for page, source in JOINED.items():
        files.append(File.generated(config, page, content=(ROOT / source).read_text("utf-8")))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Turn links of the repository into links of the site."""
    own = page.file.src_uri
    source = JOINED.get(own, f"docs/{own}")
    return translate(markdown, own=own, source=source)


def translate(markdown: str, *, own: str, source: str) -> str:
    """Rewrite a page's links.

    Args:
        markdown: of the page.
        own: its place on the site, such as ``methods/patchcore.md``.
        source: its place in the repository.
    """
    code = [match.span() for match in _CODE.finditer(markdown)]

    def rewrite(match: re.Match[str]) -> str:
        text, target, anchor = match[1], match[2], match[3] or ""
        inside = any(start <= match.start() < end for start, end in code)
        if inside or re.match(r"[a-z]+:", target):
            return match[0]
        path = posixpath.normpath(posixpath.join(posixpath.dirname(source), target))
        place = _place(path)
        if place is not None:
            there = posixpath.relpath(place, posixpath.dirname(own) or ".")
            return f"[{text}]({there}{anchor if place != HOME else ''})"
        plain = text.strip("`")
        return text if plain in (path, posixpath.basename(path)) else f"{text} (`{path}`)"

    return _LINK.sub(rewrite, markdown)


def _place(path: str) -> str | None:
    """Where a file of the repository is on the site; None: nowhere."""
    if path == "README.md":
        return HOME
    for page, source in JOINED.items():
        if source == path:
            return page
    return path.removeprefix("docs/") if path.startswith("docs/") else None
