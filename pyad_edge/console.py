"""What every command shares: results on stdout, all else on stderr, documented exit codes."""

from __future__ import annotations

import errno
import io
import json
import os
import sys
import traceback
from typing import Any

import typer
from rich.console import Console
from rich.markup import escape

from pyad_edge.errors import PyadError, ResourceError

__all__ = [
    "EXIT_CODES",
    "EXIT_FAULTS",
    "EXIT_INTERRUPTED",
    "EXIT_UNWATCHED",
    "err",
    "out",
    "print_json",
    "run_app",
]

STDOUT = 1
UNEXPECTED = 1
EXIT_FAULTS = 7
EXIT_UNWATCHED = 9
EXIT_INTERRUPTED = 130
EXIT_CODES = {
    0: "done",
    1: "a fault of pyad_edge itself (please report it), the operating system refused something, or "
    "doctor or selftest found something broken",
    2: "an option or argument that cannot be used",
    3: "pictures or folders that cannot be used",
    4: "an engine file that is damaged, foreign, too new, refused by its networks or its "
    "signature, or drifts from its golden scores",
    5: "a backbone or inference backend that cannot do what was asked",
    6: "not enough memory or disk",
    EXIT_FAULTS: "run: the stream ended, but some frames have no verdict (FAULT)",
    8: "a device was lost (a CUDA error that only a new process cures): start again",
    EXIT_UNWATCHED: "run: every frame has its verdict, but the drift monitor failed for some, or "
    "its state was not saved",
    EXIT_INTERRUPTED: "stopped with Ctrl-C",
}

# typer brings click itself in some versions and depends on it in others; this is its own, in each.
_UsageError: Any = next(
    base for base in typer.BadParameter.__mro__ if base.__name__ == "ClickException"
)

out = Console(soft_wrap=True)
err = Console(stderr=True, soft_wrap=True)


def print_json(value: Any, *, indent: int | None = 2) -> None:
    """Write JSON to stdout, flushed, without colour or wrapping; NaN is refused.

    ASCII only: names of files may hold bytes that no encoding of a terminal or pipe can write.
    """
    sys.stdout.write(json.dumps(value, indent=indent, allow_nan=False) + "\n")
    sys.stdout.flush()


def run_app(app: typer.Typer) -> int:
    """Run a command line; every failure becomes a sentence on stderr and an exit code.

    What nobody expected is followed by its traceback.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # as stderr has it
    command = typer.main.get_command(app)
    try:
        code = command.main(prog_name="pyad-edge", standalone_mode=False)
        if code == EXIT_INTERRUPTED:  # newer versions of typer answer Ctrl-C themselves
            return _stopped()
        return int(code) if isinstance(code, int) else 0
    except typer.Exit as stop:
        return int(stop.exit_code)
    except _UsageError as error:
        error.show()
        return int(error.exit_code)
    except PyadError as error:
        return _fail(str(error), error.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        return _stopped()
    except (BrokenPipeError, SystemExit) as stop:
        # The reader went away (run ... | head); typer and rich make a SystemExit of it.
        if not _reader_is_gone(stop):
            raise
        # Python would complain again when it flushes stdout.
        os.dup2(os.open(os.devnull, os.O_WRONLY), STDOUT)
        return 0
    except MemoryError:
        return _fail(
            "The memory of this machine is used up. Close other programs, or use fewer or smaller "
            "pictures.",
            ResourceError.exit_code,
        )
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            subject = f" ({error.filename})" if error.filename else ""
            return _fail(
                f"The operating system refused something: {error.strerror or error}{subject}. "
                "Check that file, its disk and its permissions, then try again.",
                UNEXPECTED,
            )
        where = f" while writing {error.filename}" if error.filename else ""
        return _fail(
            f"The disk is full{where}. Free some space and try again.", ResourceError.exit_code
        )
    except Exception as error:
        code = _fail(
            f"pyad_edge met something it did not expect: {type(error).__name__}: {error}. Please "
            "report it together with the lines below.",
            UNEXPECTED,
        )
        traceback.print_exc()
        return code


def _stopped() -> int:
    err.print("\n[yellow]Stopped.[/] What was finished is kept; no file is left half-written.")
    return EXIT_INTERRUPTED


def _reader_is_gone(error: BaseException) -> bool:
    """Whether a broken pipe is behind an exception."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, BrokenPipeError):
        cause = cause.__context__
    return cause is not None


def _fail(sentence: str, code: int) -> int:
    err.print(f"[bold red]Error:[/] {escape(sentence)}", highlight=False)
    return code
