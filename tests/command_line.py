"""Run a command of the line inside the test's process; the few that must be real use subprocess."""

from __future__ import annotations

import contextlib
import io
import re
import sys
from dataclasses import dataclass
from unittest import mock

from pyad_edge.console import run_app
from pyad_edge.export.cli import app
from pyad_edge.ops import num_threads, set_num_threads


@dataclass(frozen=True)
class Answer:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def sentence(self) -> str:
        """The error, in one line; a refusal has exactly one and no traceback."""
        assert "Traceback" not in self.err + self.out
        parts = re.split(r"^Error: ", self.err, flags=re.MULTILINE)
        assert len(parts) == 2, self.err
        return parts[1].strip()


def call(*arguments: object) -> Answer:
    """Run ``pyad-edge`` with these arguments."""
    out, err = io.StringIO(), io.StringIO()
    threads = num_threads()
    argv = ["pyad-edge", *map(str, arguments)]
    try:
        with (
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
            mock.patch.object(sys, "argv", argv),
        ):
            code = run_app(app)
    finally:
        set_num_threads(threads)  # --threads holds for the process
    return Answer(code, out.getvalue(), err.getvalue())
