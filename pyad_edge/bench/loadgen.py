"""The scenarios with MLPerf's LoadGen as the clock (PyPI: ``mlcommons-loadgen``)."""

from __future__ import annotations

import importlib
import importlib.util
import re
import tempfile
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from pyad_edge.bench.scenarios import Answer, Run, Scenario
from pyad_edge.errors import ResourceError, SettingError

__all__ = ["has_loadgen", "loadgen_clock", "read_summary", "run_loadgen"]

MODULE = "mlperf_loadgen"
# Key: its name in LoadGen's summary, and what one of its units is in ours.
FIELDS = {
    "p50": ("50.00 percentile latency (ns)", 1e-6),
    "p90": ("90.00 percentile latency (ns)", 1e-6),
    "p99": ("99.00 percentile latency (ns)", 1e-6),
    "p99_9": ("99.90 percentile latency (ns)", 1e-6),
    "max": ("Max latency (ns)", 1e-6),
    "mean": ("Mean latency (ns)", 1e-6),
    "frames_per_second": ("Samples per second", 1.0),
}


def has_loadgen() -> bool:
    """Whether LoadGen is installed."""
    return importlib.util.find_spec(MODULE) is not None


def loadgen_clock() -> str:
    """LoadGen's name and version."""
    return f"LoadGen {version('mlcommons-loadgen')}"


def run_loadgen(
    scenario: Scenario,
    answer: Answer,
    *,
    frames: int,
    together: int,
    queries: int,
    seconds: float,
    expected: float,
) -> Run:
    """Run a scenario in LoadGen's performance mode; arguments as in ``run_scenario``.

    Args:
        expected: seconds that one query takes about; LoadGen prepares its queries by it.

    Raises:
        SettingError: if LoadGen is not installed.
        ResourceError: if its log cannot be written or read.
    """
    if not has_loadgen():
        raise SettingError(
            "[bench] LoadGen is not installed. Run: pip install 'pyad_edge[bench]', or choose "
            "--clock own."
        )
    lg: Any = importlib.import_module(MODULE)
    latencies: list[float] = []
    failed: list[BaseException] = []
    inspected = 0

    def issue(samples: Sequence[Any]) -> None:
        # An exception must not travel through LoadGen's C++: it would end the process.
        nonlocal inspected
        size = together if scenario == "Offline" else len(samples)
        for first in range(0, len(samples), size):
            part = samples[first : first + size]
            if not failed:
                start = time.perf_counter()
                try:
                    answer([int(sample.index) for sample in part])
                except BaseException as error:
                    failed.append(error)
                latencies.append((time.perf_counter() - start) * 1e3)
                inspected += len(part)
            lg.QuerySamplesComplete([lg.QuerySampleResponse(s.id, 0, 0) for s in part])

    with tempfile.TemporaryDirectory() as folder:
        settings = _settings(lg, scenario, together, queries, seconds, expected)
        output = lg.LogOutputSettings()
        output.outdir, output.copy_summary_to_stdout = folder, False
        logs = lg.LogSettings()
        logs.log_output, logs.enable_trace = output, False
        system = lg.ConstructSUT(issue, lambda: None)
        library = lg.ConstructQSL(frames, frames, lambda _: None, lambda _: None)
        begin = time.perf_counter()
        try:
            lg.StartTestWithLogSettings(system, library, settings, logs)
        finally:
            spent = time.perf_counter() - begin
            lg.DestroyQSL(library)
            lg.DestroySUT(system)
        if failed:
            raise failed[0]
        try:
            text = (Path(folder) / "mlperf_log_summary.txt").read_text()
        except OSError as error:
            raise ResourceError(
                f"[bench] LoadGen's summary cannot be read: {error.strerror}. Is the folder for "
                "temporary files full or read-only? Or choose --clock own."
            ) from error
    official, verdict = read_summary(text)
    return Run(scenario, loadgen_clock(), np.array(latencies), inspected, spent, official, verdict)


def read_summary(text: str) -> tuple[dict[str, float], str]:
    """Figures of LoadGen's summary in ms and frames per second, and its verdict on the run.

    Raises:
        ResourceError: if the text has no verdict, as of a log that was cut off.
    """
    found = dict(re.findall(r"^(.+?)\s*: (.+)$", text, re.MULTILINE))
    if "Result is" not in found:
        raise ResourceError(
            "[bench] LoadGen's summary has no line 'Result is'. Its log is cut off or of another "
            "version; choose --clock own."
        )
    figures = {
        key: float(found[name]) * unit for key, (name, unit) in FIELDS.items() if name in found
    }
    return figures, found["Result is"].strip()


def _settings(
    lg: Any, scenario: Scenario, together: int, queries: int, seconds: float, expected: float
) -> Any:
    settings = lg.TestSettings()
    settings.scenario = getattr(lg.TestScenario, scenario)
    settings.mode = lg.TestMode.PerformanceOnly
    settings.min_query_count = queries
    settings.min_duration_ms = round(seconds * 1e3)
    nanoseconds = max(round(expected * 1e9 / 2), 1)  # half of it, so that queries do not run out
    if scenario == "SingleStream":
        settings.single_stream_expected_latency_ns = nanoseconds
    elif scenario == "MultiStream":
        settings.multi_stream_samples_per_query = together
        settings.multi_stream_expected_latency_ns = nanoseconds
    else:
        settings.min_duration_ms = 0
        settings.min_query_count = queries * together
        settings.offline_expected_qps = together / expected
    return settings
