"""All commands: those of the line, and those of the workshop: train, eval, backbone, demo."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Annotated, Optional

import typer
from rich.markup import escape

from pyad_edge.bench.words import BenchCommand
from pyad_edge.cli import (
    EPILOG,
    EngineFile,
    FalseReject,
    FixedThreshold,
    Threads,
    app,
    open_runtime,
)
from pyad_edge.console import err, out, print_json, run_app
from pyad_edge.errors import SettingError
from pyad_edge.export.advise.command import advise_command
from pyad_edge.export.augment_study import (
    SHEET,
    AugmentStudy,
    render_study,
    study_augmentations,
)
from pyad_edge.export.demo import run_demo
from pyad_edge.export.evaluate import evaluate, render
from pyad_edge.export.methods.fod.command import train_fod_command
from pyad_edge.export.methods.grad.command import train_grad_command
from pyad_edge.export.methods.patchcore.command import train_patchcore_command
from pyad_edge.export.methods.reconpatch.command import train_reconpatch_command
from pyad_edge.export.methods.recontrast.command import train_recontrast_command
from pyad_edge.export.methods.refinement.command import train_refinement_command
from pyad_edge.export.papers.command import app as papers_app
from pyad_edge.export.progress import progress_bar
from pyad_edge.export.targets.command import export_command
from pyad_edge.export.train_app import train_app
from pyad_edge.export.weights_import.command import backbone_import_command
from pyad_edge.options import AllowRollback, Product, RequireSignature

__all__ = ["app", "main"]

backbone_app = typer.Typer(
    help="Make backbone files (needs the extra \\[train]).", no_args_is_help=True, epilog=EPILOG
)
app.add_typer(train_app, name="train")
train_app.command("patchcore")(train_patchcore_command)
train_app.command("reconpatch")(train_reconpatch_command)
train_app.command("recontrast")(train_recontrast_command)
train_app.command("grad")(train_grad_command)
train_app.command("fod")(train_fod_command)
train_app.command("refinement")(train_refinement_command)
app.add_typer(backbone_app, name="backbone")
app.command("export")(export_command)
BenchCommand.words["papers"] = lambda: typer.main.get_command(papers_app)
app.command("advise")(advise_command)


@app.command("eval")
def eval_command(
    engine: EngineFile,
    data: Annotated[Path, typer.Option(help="A data set in MVTec layout with test pictures.")],
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
    save: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="Write an overlay of every test picture to this folder."),
    ] = None,
    patch: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            metavar="ROW,COL",
            help="Of FOD engines with --save: whose correlations are drawn beside the map; the "
            "patch with the highest score if not given.",
        ),
    ] = None,
    augment: Annotated[
        bool,
        typer.Option(
            "--augment",
            help="How the engine bears pictures that are turned, shifted, relit or blurred; --save "
            "writes a sheet of them.",
        ),
    ] = False,
    seed: Annotated[int, typer.Option(min=0, help="Of --augment.")] = 0,
    false_reject: FalseReject = None,
    threshold: FixedThreshold = None,
    threads: Threads = None,
    require_signature: RequireSignature = None,
    product: Product = None,
    allow_rollback: AllowRollback = False,
) -> None:
    """Measure an engine: AUROC of pictures and pixels, AUPRO, F1, false rejects, ms per picture."""
    runtime = open_runtime(
        engine,
        false_reject=false_reject,
        threshold=threshold,
        threads=threads,
        require_signature=require_signature,
        product=product,
        allow_rollback=allow_rollback,
    )
    if augment:
        with progress_bar() as progress:
            study = study_augmentations(runtime, data, seed=seed, save=save, progress=progress)
        _print_study(study, as_json=as_json, save=save)
        return
    with progress_bar() as progress:
        report = evaluate(runtime, data, save=save, patch=_patch(patch, save), progress=progress)
    if as_json:
        print_json(report.to_dict())
    else:
        out.print(render(report))
        for note in report.notes:
            err.print(f"[yellow]Note:[/] {escape(note)}", highlight=False)
        if save is not None:
            err.print(f"Overlays: {escape(str(save))}")


def _patch(text: str | None, save: Path | None) -> tuple[int, int] | None:
    if text is None:
        return None
    found = re.fullmatch(r"\s*(\d{1,5})\s*,\s*(\d{1,5})\s*", text)
    if found is None or save is None:
        raise SettingError(
            f"Expected --patch as ROW,COL, such as 10,3, beside --save FOLDER, got '{text}'"
            f"{' without --save' if save is None else ''}."
        )
    return int(found[1]), int(found[2])


def _print_study(study: AugmentStudy, *, as_json: bool, save: Path | None) -> None:
    if as_json:
        print_json(study.to_dict())
        return
    out.print(render_study(study))
    for note in study.notes:
        err.print(f"[yellow]Note:[/] {escape(note)}", highlight=False)
    if save is not None:
        err.print(f"Sheet: {escape(str(save / SHEET))}")


@backbone_app.command("export")
def backbone_export_command(
    name: Annotated[
        str, typer.Argument(metavar="NETWORK", help="A timm name, or torchvision:NAME.")
    ],
    weights: Annotated[
        str,
        typer.Option(help="FILE.safetensors, or 'hub' to download them, or 'random' for tests."),
    ],
    layers: Annotated[str, typer.Option(help="Levels wanted, such as 2,3 or layer2,layer3.")],
    out_file: Annotated[Path, typer.Option("--out", help="The ONNX file to write.")],
    seed: Annotated[int, typer.Option(help="Of random weights.")] = 0,
) -> None:
    """Export a network of timm or torchvision as a backbone file that 'train' accepts."""
    from pyad_edge.export.onnx import export_backbone

    report = export_backbone(name, weights=weights, layers=layers, out=out_file, seed=seed)
    err.print(escape(report.statement()), highlight=False)


backbone_app.command("import")(backbone_import_command)


@app.command()
def demo(
    folder: Annotated[
        Path, typer.Option("--out", help="Where pictures, engine and overlays go.")
    ] = Path("demo-out"),
    seed: Annotated[int, typer.Option(help="Of the generated pictures.")] = 0,
    threads: Threads = None,
) -> None:
    """Generate pictures of a part, fit an engine, and inspect a stream of new ones."""
    run_demo(folder, seed=seed, threads=threads)


def main() -> None:
    """Entry point of the command ``pyad-edge``."""
    sys.exit(run_app(app))
