"""JSON Lines, CSV and overlays: whole lines, whole pictures, names that open a sink."""

from __future__ import annotations

import csv
import errno
import io
import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from sinks.inspections import fault, inspection

from pyad_edge import BackendError, DataError, SettingError, read_image
from pyad_edge.sinks import CsvSink, JsonLinesSink, OverlaySink, open_outbox, outbox_folder
from pyad_edge.sinks.table import COLUMNS


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_json_lines_grow_by_whole_lines(tmp_path: Path) -> None:
    path = tmp_path / "new" / "log.jsonl"
    sink = JsonLinesSink(path)
    sink.write(inspection(0))
    sink.write_records([inspection(1).to_dict(), fault(2).to_dict()])
    sink.close()
    path.write_bytes(path.read_bytes() + b'{"cut off by a power')
    sink = JsonLinesSink(path)
    sink.write(inspection(3, camera="überkopf"))
    sink.close()
    lines = path.read_text("utf-8").splitlines()
    assert lines[3] == '{"cut off by a power'
    found = [json.loads(line) for line in lines[:3] + lines[4:]]
    assert [record["frame"] for record in found] == [0, 1, 2, 3]
    assert found[3]["camera"] == "überkopf"
    assert (found[2]["verdict"], found[2]["fault"]) == ("FAULT", "black")
    assert found[0] == inspection(0).to_dict()


class FullDisk(io.RawIOBase):
    """Takes 50 bytes more."""

    def __init__(self, file: io.RawIOBase) -> None:
        self._file, self._room = file, 50

    def write(self, block: object) -> int:
        if not self._room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        part = bytes(block)[: self._room]  # type: ignore[call-overload]
        self._room -= len(part)
        return self._file.write(part) or 0

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._file.seek(offset, whence)

    def truncate(self, size: int | None = None) -> int:
        return self._file.truncate(size)


def test_a_full_disk_leaves_whole_lines(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    sink = JsonLinesSink(path)
    sink.write(inspection(0))
    whole = sink._file._file
    sink._file._file = FullDisk(whole)  # type: ignore[assignment]
    with pytest.raises(OSError, match="No space"):
        sink.write(inspection(1))
    assert path.read_text("utf-8") == json.dumps(inspection(0).to_dict()) + "\n"
    sink._file._file = whole
    sink.write(inspection(1))
    sink.close()
    assert [json.loads(line)["frame"] for line in path.read_text("utf-8").splitlines()] == [0, 1]


def test_a_table_has_one_row_an_inspection(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    for batch in ([inspection(0, score=1.75), fault(1)], [inspection(2, score=9.0)]):
        sink = CsvSink(path)
        sink.write_records([item.to_dict() for item in batch])
        sink.close()
    first, second, third = rows(path)
    assert list(first) == list(COLUMNS)
    assert [row["verdict"] for row in (first, second, third)] == ["REVIEW", "FAULT", "NG"]
    assert (first["score"], first["peak_x"], first["peak_y"], first["regions"]) == (
        "1.75",
        "5",
        "6",
        "1",
    )
    assert (second["score"], second["regions"], second["fault"]) == ("", "", "black")
    assert second["error"] == "[gate] almost every pixel is dark; is the light on?"
    other = tmp_path / "other.csv"
    other.write_text("a,b\n1,2\n")
    with pytest.raises(DataError, match="begins with other columns"):
        CsvSink(other)


@pytest.mark.parametrize(
    ("what", "frames"), [("all", [0, 1, 2]), ("review", [1, 2]), ("anomalous", [2])]
)
def test_overlays_show_what_is_wanted(tmp_path: Path, what: str, frames: list[int]) -> None:
    sink = OverlaySink(tmp_path / "pictures", what=what)  # type: ignore[arg-type]
    for index, score in enumerate((1.0, 1.75, 9.0)):
        sink.write(inspection(index, score=score, camera="cam/../1"))
    sink.write(fault(3))
    sink.close()
    found = sorted(path.name for path in (tmp_path / "pictures").iterdir())
    stamps = [f"20010909T0146{40 + index}.000Z" for index in frames]
    names = zip(stamps, frames, strict=True)
    assert found == [f"cam_.._1_{stamp}_{index:06d}_{index}.png" for stamp, index in names]
    assert read_image(tmp_path / "pictures" / found[0]).ndim == 3


def test_overlays_ask_for_the_picture_of_other_formats(tmp_path: Path) -> None:
    asked = []

    def picture(image: NDArray[np.generic]) -> NDArray[np.uint8]:
        asked.append(image.shape)
        return np.full((32, 32, 3), 200, np.uint8)

    sink = OverlaySink(tmp_path, picture=picture)
    sink.write(inspection(0))
    assert asked == [(32, 32, 3)]
    (path,) = tmp_path.iterdir()
    assert (read_image(path) == 200).all(axis=2).any()


def test_a_later_run_replaces_no_overlay(tmp_path: Path) -> None:
    for hour in (0, 1):  # indices begin anew with every run
        one = replace(inspection(0), captured_at=1e9 + 3600 * hour + 0.25)
        OverlaySink(tmp_path).write(one)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "left_20010909T014640.250Z_000000_0.png",
        "left_20010909T024640.250Z_000000_0.png",
    ]


def test_names_open_sinks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYAD_EDGE_OUTBOX", str(tmp_path / "state"))
    assert outbox_folder() == tmp_path / "state"
    specs = [
        f"jsonl:{tmp_path / 'a.jsonl'}",
        f"csv:{tmp_path / 'a.csv'}",
        f"overlays:{tmp_path / 'pictures'}?what=review",
    ]
    boxes = [open_outbox(spec) for spec in specs]
    for index, score in enumerate((1.0, 1.75)):
        for box in boxes:
            box.put(inspection(index, score=score))
    statuses = [box.close() for box in boxes]
    assert [status.name for status in statuses] == specs
    assert [status.written for status in statuses] == [2, 2, 2]
    assert len((tmp_path / "a.jsonl").read_text("utf-8").splitlines()) == 2
    assert len(rows(tmp_path / "a.csv")) == 2
    assert [path.name for path in (tmp_path / "pictures").iterdir()] == [
        "left_20010909T014641.000Z_000001_1.png"
    ]
    assert len(list((tmp_path / "state").iterdir())) == 2


@pytest.mark.parametrize(
    "spec",
    [
        "",
        "log.jsonl",
        "jsonl:",
        "xml:a.xml",
        "overlays:a?what=none",
        "overlays:a?when=all",
        "overlays:?what=all",
        "mqtt://host",
        "mqtt:///topic",
        "mqtt://host/a/#",
        "mqtt://host/a/+/b",
        "mqtt://host:99999/a",
        "mqtt://host:x/a",
        "mqtts:host/topic",
    ],
)
def test_names_that_open_nothing_are_refused(
    spec: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SettingError, match=r"^\[(sink|mqtt)\] expected .* got '"):
        open_outbox(spec, folder=tmp_path)


def test_a_password_is_never_repeated(tmp_path: Path) -> None:
    with pytest.raises(SettingError) as caught:
        open_outbox("mqtt://me:secret@host/a/#", folder=tmp_path)
    assert "secret" not in str(caught.value)


def test_what_cannot_be_written_is_refused_at_once(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for spec in ("jsonl:{}/file/a.jsonl", "csv:{}/file/a.csv", "overlays:{}/file", "jsonl:{}"):
        with pytest.raises(DataError):
            open_outbox(spec.format(tmp_path), folder=tmp_path / "outbox")


def test_a_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "paho.mqtt.client", None)
    with pytest.raises(BackendError, match=r"pip install 'pyad_edge\[mqtt\]'"):
        open_outbox("mqtt://localhost/a", folder=tmp_path)
