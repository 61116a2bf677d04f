"""``pyad-edge bench papers``."""

from __future__ import annotations

import math
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal, Optional, TypeVar

import typer
from rich.markup import escape

from pyad_edge.bench.machine import about_machine, load
from pyad_edge.cli import EPILOG, Threads
from pyad_edge.console import err, out
from pyad_edge.errors import SettingError
from pyad_edge.export import train_options as given
from pyad_edge.export.datasets import DATASETS
from pyad_edge.export.papers.contenders import BANKS, contenders_of
from pyad_edge.export.papers.latency import TIMED, latency_grid, measure_latency
from pyad_edge.export.papers.plots import check_matplotlib, draw_coreset, draw_shots
from pyad_edge.export.papers.protocols import COUNTED, METHODS, Method
from pyad_edge.export.papers.rows import locked, write_json
from pyad_edge.export.papers.runner import Plan, run
from pyad_edge.export.papers.summary import Line, summarise
from pyad_edge.export.papers.table import Grid, grids_of, markdown, rich_table
from pyad_edge.export.papers.training import Circumstances
from pyad_edge.export.progress import progress_bar
from pyad_edge.ops import set_num_threads

__all__ = ["papers_command"]

LEAST_HELD = 1e-6  # of the good pictures: two of them, fewer an engine's threshold cannot rest on
T = TypeVar("T")

# ruff: noqa: UP045 - typer reads Optional on Python 3.10
app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, epilog=EPILOG)


@app.command("papers")
def papers_command(
    dataset: Annotated[
        Optional[str], typer.Option(help=f"One of {', '.join(DATASETS)}.", show_default=False)
    ] = None,
    data: Annotated[
        Optional[Path], typer.Option(help="Folder that holds the data set, as it comes.")
    ] = None,
    methods: Annotated[
        Optional[str],
        typer.Option(help=f"Some of {','.join(METHODS)}; patchcore. All, with --latency."),
    ] = None,
    categories: Annotated[
        Optional[str], typer.Option(help="Some of the data set's, such as bottle,cable; all.")
    ] = None,
    seeds: Annotated[str, typer.Option(help="Such as 0,1,2: mean and spread over them.")] = "0",
    backbone: Annotated[
        list[str],
        typer.Option(
            help="Of patchcore and reconpatch: edge18 (built in) or FILE.onnx from 'pyad-edge "
            "backbone export'. Several times: each by itself."
        ),
    ] = ["edge18"],  # noqa: B006 - typer shows it and never changes it
    layers: given.Layers = None,
    weights: Annotated[
        Optional[str],
        typer.Option(help="Of recontrast and fod: FILE.safetensors, or hub to download them."),
    ] = None,
    network: Annotated[
        str, typer.Option(help="Of these weights, a timm name; the papers': wide_resnet50_2.")
    ] = "resnet18",
    size: Annotated[
        Optional[str],
        typer.Option(help="Resize whole pictures to S or HxW pixels; the papers' protocol."),
    ] = None,
    coreset: Annotated[
        str, typer.Option(help="Shares of the patches in a memory bank, such as 0.25,0.1,0.01.")
    ] = "0.01",
    shots: Annotated[
        Optional[str],
        typer.Option(help="Train on so many pictures, such as 1,2,5,10,16,20,50; on all of them."),
    ] = None,
    budget: Annotated[
        Literal["5m", "30m", "full"],
        typer.Option(help="Shorter schedules for a CPU; full: the papers'."),
    ] = "full",
    steps: Annotated[
        Optional[int],
        typer.Option(min=1, help=f"Explicit number instead, of {', '.join(COUNTED)}."),
    ] = None,
    holdout: Annotated[
        Optional[float],
        typer.Option(help="Share of good pictures that is not trained on; two of them."),
    ] = None,
    device: given.Device = "cpu",
    precision: given.Precision = "fp32",
    threads: Threads = None,
    out_folder: Annotated[
        Optional[Path],
        typer.Option("--out", help="Of rows, results.json, table.md, figures; papers-DATASET."),
    ] = None,
    keep: Annotated[bool, typer.Option("--keep-engines", help="Keep what was trained.")] = False,
    latency: Annotated[
        bool,
        typer.Option("--latency", help="Time the methods here instead, beside the papers' times."),
    ] = False,
    seconds: Annotated[float, typer.Option(help="Of --latency, each method.")] = 5.0,
) -> None:
    """Print the papers' tables with our figures beside the published ones.

    Trains and evaluates category by category. Called again after a stop, with the same options, it
    goes on: finished rows are read, trainings continue from their checkpoints.
    """
    if threads is not None:
        set_num_threads(threads)
    if latency:
        timed = _chosen(methods) if methods is not None else list(TIMED)
        _time(timed, device, threads, seconds, out_folder or Path("papers-latency"))
        return
    chosen = _chosen(methods or "patchcore")
    if dataset is None or dataset not in DATASETS or data is None:
        raise SettingError(
            f"[bench papers] needs --dataset, one of {', '.join(DATASETS)}, and --data, the folder "
            f"that holds it; got {dataset or 'no data set'} and {data or 'no folder'}."
        )
    shares = _numbers(coreset, "--coreset", float, low=0.0, high=1.0)
    counts = _numbers(shots, "--shots", int, low=0, high=10**6) if shots is not None else ()
    if steps is not None and not set(chosen) & set(COUNTED):
        raise SettingError(f"[bench papers] --steps is of {', '.join(COUNTED)}.")
    study = len(shares) > 1 and bool(set(chosen) & set(BANKS))
    if study or counts:
        check_matplotlib()
    plan = Plan(
        root=data,
        categories=tuple(_words(categories)) if categories is not None else None,
        contenders=tuple(
            contenders_of(
                chosen,
                backbones=backbone,
                layers=layers,
                weights=weights,
                network=network,
                coresets=shares,
                budget=budget,
                steps=steps,
            )
        ),
        seeds=_numbers(seeds, "--seeds", int, low=-1, high=2**63 - 1),
        shots=counts or (None,),
        size=given.size_of(size, "--size"),
        around=Circumstances(
            dataset=dataset,
            holdout=LEAST_HELD if holdout is None else holdout,
            precision=precision,
            device=device,
            threads=threads,
            layers=layers,
        ),
        out=out_folder or Path(f"papers-{dataset}"),
        keep=keep,
    )
    before = load()
    with locked(plan.out), progress_bar() as progress:
        rows = run(plan, progress=progress, say=lambda text: err.print(escape(text)))
    lines = summarise(rows, dataset)
    _write(plan.out, rows, lines, dataset, load_before=before)
    if counts:
        draw_shots(plan.out / "shots.png", lines, dataset)
    elif study:
        draw_coreset(plan.out / "coreset.png", lines, dataset)


def _write(
    folder: Path,
    rows: list[dict[str, Any]],
    lines: list[Line],
    dataset: str,
    *,
    load_before: float | None,
) -> None:
    """Everything that was found: JSON and Markdown into the folder, tables on stdout."""
    content = {"benchmark": "papers", "dataset": dataset, "load_before": load_before, "rows": rows}
    _show(folder, content, grids_of(lines, dataset))


def _time(
    methods: list[Any], device: str, threads: int | None, seconds: float, folder: Path
) -> None:
    if not 0 < seconds <= 3600:
        raise SettingError(f"[bench papers] expected --seconds from 0 to 3,600, got {seconds}.")
    with locked(folder), progress_bar() as progress:
        rows = measure_latency(
            methods, device=device, threads=threads, seconds=seconds, progress=progress
        )
    _show(folder, {"benchmark": "papers latency", "rows": rows}, [latency_grid(rows)])


def _show(folder: Path, content: dict[str, Any], grids: list[Grid]) -> None:
    for grid in grids:
        out.print(rich_table(grid))
        for note in grid.notes:
            out.print(escape(note), style="dim", highlight=False)
    command = shlex.join(["pyad-edge", *sys.argv[1:]])
    about = {"command": command, "machine": about_machine()}
    write_json(folder / "results.json", about | content)
    (folder / "table.md").write_text(markdown(grids), encoding="utf-8")
    err.print(escape(f"wrote {folder / 'results.json'} and table.md"), highlight=False)


def _chosen(text: str) -> list[Method]:
    found: list[Method] = []
    for word in _words(text):
        match = next((method for method in METHODS if method == word), None)
        if match is None:
            raise SettingError(
                f"Expected --methods as some of {','.join(METHODS)}, got '{word}' in '{text}'."
            )
        if match not in found:
            found.append(match)
    if not found:
        raise SettingError(f"Expected --methods as some of {','.join(METHODS)}, got '{text}'.")
    return found


def _numbers(
    text: str, option: str, kind: Callable[[str], T], *, low: float, high: float
) -> tuple[T, ...]:
    """Different numbers above ``low``, at most ``high``, in the order given."""
    try:
        found = tuple(dict.fromkeys(kind(word) for word in _words(text)))
    except ValueError:
        found = ()
    values = [float(str(value)) for value in found]
    if not values or not all(math.isfinite(v) and low < v <= high for v in values):
        raise SettingError(
            f"Expected {option} as numbers above {low:g} and up to {high:g} with commas between "
            f"them, got '{text}'."
        )
    return found


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]
