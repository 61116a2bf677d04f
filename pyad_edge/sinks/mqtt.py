"""Records to an MQTT broker, with QoS 1: the broker acknowledges each."""

from __future__ import annotations

import importlib
import os
import ssl
import time
from collections.abc import Sequence
from typing import Any
from urllib.parse import unquote, urlsplit

from pyad_edge.errors import BackendError, SettingError
from pyad_edge.sinks.base import Record, json_line
from pyad_edge.streaming import Inspection

__all__ = ["MqttSink"]

_PORTS = {"mqtt": 1883, "mqtts": 8883}
_QOS = 1  # at least once
_LOOK_S = 0.02  # seconds between looks at the connection


class MqttSink:
    """Publishes every record as JSON and returns when the broker has acknowledged it.

    The connection is made, and made again after a loss, in the background with pauses of 1 to 30
    seconds; until it stands `write_records` raises, and the outbox keeps the records.

    Args:
        url: ``mqtt://[user[:password]@]host[:port]/topic``, or ``mqtts://`` with TLS. ``{camera}``
            in the topic becomes the camera's name. Without a password in the url that of the
            environment variable ``PYAD_EDGE_MQTT_PASSWORD`` is used.
        timeout: seconds to wait for an acknowledgement.

    Raises:
        SettingError: if the url cannot be used.
        BackendError: if paho-mqtt is missing.
    """

    def __init__(self, url: str, *, timeout: float = 10.0) -> None:
        parts = urlsplit(url)
        self._topic = unquote(parts.path.lstrip("/"))
        try:
            port = parts.port or _PORTS[parts.scheme]
        except (KeyError, ValueError) as error:
            raise SettingError(f"{_wanted(url)} ({error})") from error
        # A question mark or # would begin another part of the url: no topic has them here.
        if not parts.hostname or not self._topic or any(c in url for c in "+#?\0"):
            raise SettingError(_wanted(url))
        self._timeout = timeout
        self._client = _client()
        if parts.username:
            password = parts.password or os.environ.get("PYAD_EDGE_MQTT_PASSWORD")
            self._client.username_pw_set(unquote(parts.username), password and unquote(password))
        if parts.scheme == "mqtts":
            self._client.tls_set_context(ssl.create_default_context())
        self._client.reconnect_delay_set(min_delay=1, max_delay=30)
        self._where = f"{parts.hostname}:{port}"
        self._client.connect_async(parts.hostname, port, keepalive=20)
        self._client.loop_start()

    def write(self, inspection: Inspection) -> None:
        """Publish one record."""
        self.write_records([inspection.to_dict()])

    def write_records(self, records: Sequence[Record]) -> None:
        """Publish records and wait for all acknowledgements.

        Raises:
            ConnectionError: if the broker is away or does not acknowledge in time.
        """
        end = time.monotonic() + self._timeout
        for _ in range(int(self._timeout / _LOOK_S)):  # not by a clock that may jump
            if self._client.is_connected():
                break
            time.sleep(_LOOK_S)
        if not self._client.is_connected():
            raise ConnectionError(f"[mqtt] the broker {self._where} is not reached.")
        sent = []
        for record in records:
            topic = self._topic.replace("{camera}", _level(str(record.get("camera", "camera"))))
            payload = json_line(record)
            sent.append(self._client.publish(topic, payload, qos=_QOS))
        for message in sent:
            if message.rc == 0:
                message.wait_for_publish(min(max(0.0, end - time.monotonic()), self._timeout))
            if message.rc != 0 or not message.is_published():
                raise ConnectionError(
                    f"[mqtt] the broker {self._where} did not acknowledge within "
                    f"{self._timeout:g} s."
                )

    def close(self) -> None:
        """Disconnect."""
        self._client.disconnect()
        self._client.loop_stop()


def _client() -> Any:
    try:
        paho = importlib.import_module("paho.mqtt.client")
    except ImportError as error:
        raise BackendError(
            "[mqtt] the package paho-mqtt is missing. Install it with "
            "`pip install 'pyad_edge[mqtt]'`."
        ) from error
    return paho.Client(paho.CallbackAPIVersion.VERSION2)


def _level(camera: str) -> str:
    """A camera's name as one level of a topic."""
    return "".join("_" if c in "+#/\0" else c for c in camera)


def _wanted(url: str) -> str:
    shown = urlsplit(url)._replace(netloc="...").geturl() if "@" in url else url
    return (
        "[mqtt] expected mqtt://[user[:password]@]host[:port]/topic or mqtts://..., the topic "
        f"without +, # and ?, got {shown!r}."
    )
