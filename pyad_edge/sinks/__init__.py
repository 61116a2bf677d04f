"""Where inspections go: files, pictures, a broker, a function. None of them holds the camera up."""

from pyad_edge.sinks.base import RecordSink, Sink
from pyad_edge.sinks.callback import CallbackSink
from pyad_edge.sinks.jsonlines import JsonLinesSink
from pyad_edge.sinks.mqtt import MqttSink
from pyad_edge.sinks.opening import open_outbox, outbox_folder
from pyad_edge.sinks.outbox import Outbox, OutboxStatus
from pyad_edge.sinks.overlays import OverlaySink
from pyad_edge.sinks.spool import Spool, SpoolFullError
from pyad_edge.sinks.table import CsvSink

__all__ = [
    "CallbackSink",
    "CsvSink",
    "JsonLinesSink",
    "MqttSink",
    "Outbox",
    "OutboxStatus",
    "OverlaySink",
    "RecordSink",
    "Sink",
    "Spool",
    "SpoolFullError",
    "open_outbox",
    "outbox_folder",
]
