"""MQTT against a broker of a few lines: acknowledged, reconnected, delivered after a restart."""

from __future__ import annotations

import json
import socket
import threading
from contextlib import suppress
from pathlib import Path

import pytest
from sinks.inspections import inspection, wait_for

from pyad_edge.sinks import MqttSink, Outbox, Spool, outbox

pytest.importorskip("paho.mqtt.client")


class Broker:
    """Speaks as much MQTT 3.1.1 as a publisher with QoS 1 needs."""

    def __init__(self, port: int = 0) -> None:
        self.received: list[tuple[str, dict[str, object]]] = []
        self.logins: list[bytes] = []
        self.acknowledges = True
        self._server = socket.create_server(("127.0.0.1", port))
        self.port = self._server.getsockname()[1]
        self._peers: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def close(self) -> None:
        # shutdown first: close alone leaves the thread in accept or recv.
        for peer in (self._server, *self._peers):
            with suppress(OSError):
                peer.shutdown(socket.SHUT_RDWR)
            peer.close()
        for thread in self._threads:
            thread.join(5)

    def _accept(self) -> None:
        while True:
            try:
                peer, _ = self._server.accept()
            except OSError:
                return
            self._peers.append(peer)
            thread = threading.Thread(target=self._serve, args=(peer,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, peer: socket.socket) -> None:
        with peer, peer.makefile("rb") as stream:
            try:
                while head := stream.read(1):
                    length = shift = 0
                    while True:
                        byte = stream.read(1)[0]
                        length |= (byte & 127) << shift
                        shift += 7
                        if byte < 128:
                            break
                    self._answer(peer, head[0], stream.read(length))
            except (OSError, IndexError):
                return

    def _answer(self, peer: socket.socket, head: int, body: bytes) -> None:
        kind = head >> 4
        if kind == 1:  # CONNECT
            self.logins.append(body)
            peer.sendall(b"\x20\x02\x00\x00")
        elif kind == 3:  # PUBLISH
            assert (head >> 1) & 3 == 1, "QoS 1"
            end = 2 + int.from_bytes(body[:2], "big")
            if self.acknowledges:
                self.received.append((body[2:end].decode(), json.loads(body[end + 2 :])))
                peer.sendall(b"\x40\x02" + body[end : end + 2])
        elif kind == 12:  # PINGREQ
            peer.sendall(b"\xd0\x00")


def frames(broker: Broker) -> list[object]:
    return [record["frame"] for _, record in broker.received]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def test_records_are_published_and_acknowledged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYAD_EDGE_MQTT_PASSWORD", "secret")
    broker = Broker()
    sink = MqttSink(f"mqtt://me@127.0.0.1:{broker.port}/line%201/{{camera}}/verdict")
    records = [inspection(n, camera="left/+#").to_dict() for n in range(5)]
    sink.write_records(records)
    assert [record for _, record in broker.received] == records
    assert {topic for topic, _ in broker.received} == {"line 1/left___/verdict"}
    assert broker.logins[0].endswith(b"\x00\x02me\x00\x06secret")
    sink.close()
    broker.close()


def test_a_broker_that_does_not_acknowledge_has_not_got_it() -> None:
    broker = Broker()
    broker.acknowledges = False
    sink = MqttSink(f"mqtt://127.0.0.1:{broker.port}/a", timeout=0.3)
    with pytest.raises(ConnectionError, match="did not acknowledge within"):
        sink.write_records([inspection(0).to_dict()])
    sink.close()
    broker.close()


def test_a_broker_that_is_away_gets_everything_when_it_is_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "_FIRST_PAUSE", 0.05)
    port = free_port()
    sink = MqttSink(f"mqtt://127.0.0.1:{port}/a", timeout=0.2)
    box = Outbox(sink, name="mqtt", spool=Spool(tmp_path), patience=0.01)
    for n in range(40):
        box.put(inspection(n))
    wait_for(lambda: box.status.failed > 0)
    assert "is not reached" in str(box.status.error)
    assert box.status.written == 0
    broker = Broker(port)  # paho tries again after a second
    wait_for(lambda: box.status.written == 40)
    status = box.close()
    assert frames(broker) == list(range(40))
    assert (status.dropped, status.on_disk) == (0, 0)
    broker.close()


def test_what_was_not_delivered_is_delivered_after_a_restart(tmp_path: Path) -> None:
    url = f"mqtt://127.0.0.1:{(port := free_port())}/a"
    box = Outbox(MqttSink(url, timeout=0.1), name="mqtt", spool=Spool(tmp_path))
    for n in range(20):
        box.put(inspection(n))
    assert box.close(timeout=0.5).on_disk == 20
    broker = Broker(port)
    box = Outbox(MqttSink(url), name="mqtt", spool=Spool(tmp_path))
    box.put(inspection(20))
    wait_for(lambda: box.status.written == 21)
    assert box.close().recovered == 20
    assert frames(broker) == list(range(21))
    broker.close()
