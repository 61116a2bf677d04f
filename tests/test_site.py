"""The documentation site: it builds without a warning, is whole, and fetches nothing."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import unquote

import pytest
import typer

import pyad_edge
import pyad_edge.ops
from pyad_edge.export.cli import app
from pyad_edge.export.papers.command import app as papers_app

yaml = pytest.importorskip("yaml")
pytest.importorskip("mkdocs")
pytest.importorskip("mkdocstrings")

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"


def hook(name: str) -> ModuleType:
    """A hook of the site as a module."""
    spec = importlib.util.spec_from_file_location(name, DOCS / f"_site/{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built as `make docs` does; a warning is a failure."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder


class Sources(HTMLParser):
    """What a page makes a browser fetch, and where its links lead."""

    def __init__(self) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.links: list[str] = []
        self.ids: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.ids.add(given.get("id", ""))
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        elif tag == "link" and given.get("rel") not in ("canonical", "prev", "next"):
            self.fetched.append(given.get("href", ""))
        elif tag not in ("a", "link", "form"):
            self.fetched += [given[name] for name in ("src", "data", "poster") if name in given]
            self.fetched += [part.split()[0] for part in given.get("srcset", "").split(",") if part]


def read(page: Path) -> Sources:
    found = Sources()
    found.feed(page.read_text())
    return found


def in_navigation(nav: Any) -> Iterator[str]:
    """Every page of a navigation."""
    if isinstance(nav, str):
        yield nav
    elif isinstance(nav, dict):
        for below in nav.values():
            yield from in_navigation(below)
    else:
        for below in nav:
            yield from in_navigation(below)


def test_every_page_is_in_the_navigation_once() -> None:
    listed = list(in_navigation(yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"]))
    written = {path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md")}
    assert "tutorial.md" in written
    assert len(set(listed)) == len(listed)
    assert set(listed) - {"commands.md", *hook("repository_pages").JOINED} == written


@pytest.mark.slow
def test_nothing_is_fetched_from_elsewhere(site: Path) -> None:
    pages = sorted(site.rglob("*.html"))
    assert len(pages) > 30
    fetched = 0
    for page in pages:
        for source in read(page).fetched:
            assert not re.match(r"[a-z]*:?//", source), f"{page.name} fetches {source}"
            fetched += 1
    assert fetched > len(pages)  # they do have scripts and styles
    sheets = sorted(site.rglob("*.css"))
    assert sheets
    for sheet in sheets:
        found = re.findall(r"(?:url\(|@import)\s*['\"]?(https?:)?//[^)'\"]*", sheet.read_text())
        assert not found, f"{sheet.name} fetches {found}"


@pytest.mark.slow
def test_links_lead_to_pages_and_headings(site: Path) -> None:
    pages = {page: read(page) for page in site.rglob("*.html") if page.name != "404.html"}
    dead = []
    for page, found in pages.items():
        for link in found.links:
            path, _, anchor = unquote(link).partition("#")
            if re.match(r"[a-z]+:", link):
                continue
            target = (page.parent / path).resolve() if path else page
            known = pages.get(target)
            if not target.exists() or (anchor and known is not None and anchor not in known.ids):
                dead.append(f"{page.relative_to(site)} -> {link}")
    assert not dead, dead


@pytest.mark.slow
def test_the_search_needs_no_server(site: Path) -> None:
    index = (site / "search/search_index.js").read_text()
    assert 'src="_site/iframe-worker.js"' in (site / "index.html").read_text()
    for word in ("greedy_coreset", "--false-reject", "tutorial.html", "api/runtime.html"):
        assert word in index


@pytest.mark.slow
def test_every_public_name_is_documented(site: Path) -> None:
    names = set(pyad_edge.__all__) - {"__version__"}
    texts = [(site / f"api/{page}.html").read_text() for page in ("runtime", "errors", "ops")]
    for name in names:
        assert any(re.search(rf'id="pyad_edge\.[a-z_.]*{name}"', text) for text in texts), name
    for name in pyad_edge.ops.__all__:
        assert re.search(rf'id="pyad_edge\.ops\.[a-z_.]*{name}"', texts[2]), name


def commands(words: tuple[str, ...], command: Any) -> Iterator[tuple[tuple[str, ...], Any]]:
    if not hasattr(command, "commands"):
        yield words, command
    for name, below in getattr(command, "commands", {}).items():
        yield from commands((*words, name), below)


def test_every_command_and_option_is_on_the_page_of_commands() -> None:
    page = hook("command_pages").page()
    sections = dict(re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", page, re.MULTILINE | re.DOTALL))
    found = dict(commands((), typer.main.get_command(app)))
    found["bench", "papers"] = typer.main.get_command(papers_app)
    assert len(found) > 10
    assert set(sections) == {" ".join(words) for words in found}
    for words, command in found.items():
        section = sections[" ".join(words)]
        for one in command.params:
            for flag in (*one.opts, *one.secondary_opts):
                if one.param_type_name == "option" and one.name != "help":
                    assert f"`{flag}`" in section, f"{' '.join(words)} {flag}"
    assert "`--mode` `infer|decide`" in sections["run"]
    assert "Default: `0.001`." in sections["train patchcore"]
    assert "**Needed.**" in sections["train patchcore"]


@pytest.mark.parametrize(
    ("own", "source", "given", "expected"),
    [
        ("a.md", "docs/a.md", "[x](b.md#c)", "[x](b.md#c)"),
        ("a.md", "docs/a.md", "[x](../CONTRIBUTING.md)", "[x](contributing.md)"),
        ("a.md", "docs/a.md", "[x](../README.md#install)", "[x](index.md)"),
        ("m/p.md", "docs/m/p.md", "[x](../../export/distill.md#e)", "[x](../edge18.md#e)"),
        ("a.md", "docs/a.md", "[it](../benchmarks/run.py)", "it (`benchmarks/run.py`)"),
        ("a.md", "docs/a.md", "[`run.py`](../benchmarks/run.py)", "`run.py`"),
        ("a.md", "docs/a.md", "`[x](../f.py)` ![p](../p.png)", "`[x](../f.py)` ![p](../p.png)"),
        ("a.md", "docs/a.md", "```\n[x](../f.py)\n```", "```\n[x](../f.py)\n```"),
        ("a.md", "docs/a.md", "[x](https://example.org/a)", "[x](https://example.org/a)"),
        ("benchmarks.md", "benchmarks/README.md", "[x](../docs/latency.md)", "[x](latency.md)"),
        ("benchmarks.md", "benchmarks/README.md", "[x](results)", "x (`benchmarks/results`)"),
        ("edge18.md", "export/distill.md", "[x](../benchmarks/README.md)", "[x](benchmarks.md)"),
    ],
)
def test_links_of_the_repository_become_links_of_the_site(
    own: str, source: str, given: str, expected: str
) -> None:
    assert hook("repository_pages").translate(given, own=own, source=source) == expected
