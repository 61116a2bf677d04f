"""Drift of camera and line: charts that alarm and never move the threshold by themselves."""

from pyad_edge.drift.alarm import DriftAlarm
from pyad_edge.drift.monitor import DriftMonitor

__all__ = ["DriftAlarm", "DriftMonitor"]
