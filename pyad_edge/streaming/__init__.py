"""Streams that lose nothing: every trigger gets one verdict, or one fault that has a name."""

from pyad_edge.streaming.record import Fault, FaultCode, Inspection

__all__ = ["Fault", "FaultCode", "Inspection"]
