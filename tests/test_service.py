"""The systemd unit: as systemd reads it, and in step with the exit codes."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from pyad_edge.console import EXIT_CODES, EXIT_FAULTS, EXIT_INTERRUPTED
from pyad_edge.errors import DataError, EngineError, SettingError
from pyad_edge.watchdog import Watchdog

ROOT = Path(__file__).resolve().parents[1]
UNIT = ROOT / "deploy" / "systemd" / "pyad-edge@.service"


def setting(name: str) -> str:
    (value,) = re.findall(rf"^{name}=(.*)$", UNIT.read_text(), re.MULTILINE)
    return str(value)


def test_systemd_accepts_the_unit(tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed")
    text = UNIT.read_text()
    program = "/opt/pyad-edge/bin/pyad-edge"
    assert program in text
    for name, content in {
        "pyad-edge@.service": text.replace(program, "/bin/true"),  # which has to exist
        "wrong@.service": text.replace("Type=notify", "Type=notifying"),
    }.items():
        (tmp_path / name).write_text(content)
        done = subprocess.run(
            ["systemd-analyze", "verify", "--man=no", str(tmp_path / name)],
            capture_output=True,
            text=True,
            check=False,
        )
        complaints = [line for line in done.stderr.splitlines() if name.split("@")[0] in line]
        if name.startswith("wrong"):
            assert complaints, "it would have complained"
        else:
            assert not complaints, done.stderr


def test_restarts_follow_the_exit_codes() -> None:
    prevented = {int(code) for code in setting("RestartPreventExitStatus").split()}
    mistakes = {error.exit_code for error in (SettingError, DataError, EngineError)}
    assert prevented == mistakes
    assert prevented < set(EXIT_CODES)
    assert EXIT_FAULTS not in prevented
    assert setting("SuccessExitStatus") == str(EXIT_INTERRUPTED)
    assert setting("Restart") == "on-failure"


def test_the_watchdog_has_time_for_several_pings() -> None:
    seconds = int(setting("WatchdogSec"))
    environment = {"WATCHDOG_USEC": str(seconds * 1_000_000)}
    dog = Watchdog.from_environment(lambda: 0.0, lambda: "", environment)
    assert dog.limit_s is not None
    assert dog.period_s < dog.limit_s == seconds / 2
    assert setting("Type") == "notify"
