"""``pyad-edge drift show`` and ``drift ack``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from pyad_edge.console import err, out, print_json
from pyad_edge.drift.alarm import DriftAlarm
from pyad_edge.drift.state import acknowledge, read_state
from pyad_edge.errors import SettingError
from pyad_edge.options import EPILOG

__all__ = ["app"]

app = typer.Typer(
    help="Look at a drift monitor's state, or acknowledge its alarms.",
    no_args_is_help=True,
    epilog=EPILOG,
)

StateFile = Annotated[
    Path, typer.Argument(metavar="STATE", help="The file of run --drift.", show_default=False)
]


@app.command()
def show(
    state: StateFile,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Say how far learning is, and which alarms stand."""
    found = read_state(state)
    if found is None:
        raise SettingError(f"[drift] {state} does not exist. `run --drift` makes it.")
    learned = len(next(iter(found.values.values()), []))
    alarms = [DriftAlarm(**one.model_dump()) for one in found.alarms]
    if as_json:
        print_json(
            {
                "engine_sha256": found.engine_sha256,
                "learned": found.shape_seen + learned,
                "to_learn": found.shape + found.learn,
                "alarms": [alarm.to_dict() for alarm in alarms],
            }
        )
        return
    out.print(
        f"{found.shape_seen + learned} of {found.shape + found.learn} good frames learned; "
        f"{len(alarms)} alarms stand.",
        highlight=False,
    )
    for alarm in alarms:
        out.print(escape(alarm.sentence()), highlight=False)


@app.command()
def ack(state: StateFile) -> None:
    """Acknowledge the alarms that stand: the running monitor, else the next one, clears them."""
    alarms = acknowledge(state)
    names = ", ".join(alarm.chart for alarm in alarms)
    text = f"Acknowledged: {names}." if alarms else "No alarm stands."
    err.print(escape(text), highlight=False)
