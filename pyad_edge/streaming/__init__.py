"""Streams that lose nothing: every trigger gets one verdict, or one fault that has a name."""

from pyad_edge.streaming.frames import Device, Frame, Grab
from pyad_edge.streaming.gate import GateSettings
from pyad_edge.streaming.link import State, StateChange
from pyad_edge.streaming.record import Fault, FaultCode, Inspection
from pyad_edge.streaming.settings import StreamSettings
from pyad_edge.streaming.stream import CameraStatus, Stream, inspect_sources

__all__ = [
    "CameraStatus",
    "Device",
    "Fault",
    "FaultCode",
    "Frame",
    "GateSettings",
    "Grab",
    "Inspection",
    "State",
    "StateChange",
    "Stream",
    "StreamSettings",
    "inspect_sources",
]
