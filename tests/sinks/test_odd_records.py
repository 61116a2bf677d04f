"""Records that no format foresaw: odd names, numbers that are none, and what cannot be written."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sinks.inspections import RecordCollector, fault, inspection, wait_for

from pyad_edge.sinks import Outbox, Spool, open_outbox
from pyad_edge.sinks.base import Record, json_line

NAMES = [
    "plain.png",
    os.fsdecode(b"odd\xff\xfe.png"),
    "two\nlines\r\n.png",
    'quote",comma.png',
    "=1+1.png",
    "überkopf \u2028.png",
    "nul\0.png",
]


def test_json_lines_of_any_name_are_read_back(tmp_path: Path) -> None:
    box = open_outbox(f"jsonl:{tmp_path / 'log.jsonl'}", folder=tmp_path / "outbox")
    for index, name in enumerate(NAMES):
        box.put(replace(inspection(index), name=name))
    status = box.close()
    assert (status.written, status.failed, status.on_disk) == (len(NAMES), 0, 0)
    lines = (tmp_path / "log.jsonl").read_bytes().decode().split("\n")
    assert [json.loads(line)["name"] for line in lines[:-1]] == NAMES


def test_a_table_of_any_name_is_a_table_without_formulas(tmp_path: Path) -> None:
    names = [*NAMES, "+1", "-1", "@sum", "\ttab", "\rreturn"]
    box = open_outbox(f"csv:{tmp_path / 'log.csv'}", folder=tmp_path / "outbox")
    for index, name in enumerate(names):
        box.put(replace(inspection(index, score=-0.5), name=name))
    assert box.close().written == len(names)
    with (tmp_path / "log.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    found = [row["name"] for row in rows]
    assert not any(name.startswith(("=", "+", "-", "@", "\t", "\r")) for name in found)
    assert found[2] == NAMES[2]
    assert found[4] == "'=1+1.png"
    assert found[1] == "odd\\udcff\\udcfe.png"
    assert {row["score"] for row in rows} == {"-0.5"}, "numbers stay numbers"


def test_numbers_that_are_none_become_null() -> None:
    record = {"a": float("nan"), "b": [1.0, float("inf")], "c": {"d": -float("inf")}, "e": "NaN"}
    found = json.loads(json_line(record), parse_constant=lambda name: pytest.fail(name))
    assert found == {"a": None, "b": [1.0, None], "c": {"d": None}, "e": "NaN"}


class Refusing(RecordCollector):
    """Cannot write frame 3, whatever happens."""

    def write_records(self, records: Sequence[Record]) -> None:
        if any(record["frame"] == 3 for record in records):
            raise ValueError("frame 3 is not for me")
        super().write_records(records)


@pytest.mark.parametrize("on_disk", [False, True])
def test_a_record_that_cannot_be_written_holds_none_up(tmp_path: Path, on_disk: bool) -> None:
    sink = Refusing()
    spool = Spool(tmp_path)
    if on_disk:
        spool.append([json.dumps(inspection(n).to_dict()).encode() for n in range(10)])
    box = Outbox(sink, name="x", spool=spool)
    for index in range(10 if on_disk else 0, 20):
        box.put(inspection(index))
    wait_for(lambda: box.status.written == 19)
    status = box.close()
    assert sorted(sink.frames) == [n for n in range(20) if n != 3]
    assert (status.skipped, status.dropped, status.on_disk) == (1, 0, 0)
    assert "frame 3" in str(status.error)


def test_what_is_no_plain_data_does_not_stop_the_disk(tmp_path: Path) -> None:
    sink = RecordCollector()
    sink.gate.clear()
    box = Outbox(sink, name="x", spool=Spool(tmp_path), patience=0.01)
    box.put(fault(0))
    wait_for(lambda: sink.calls == 1)
    box.put(fault(1), {"frame": np.uint8(1)})
    box.put(fault(2))
    wait_for(lambda: box.status.on_disk == 1)
    sink.gate.set()
    wait_for(lambda: box.status.written == 2)
    status = box.close()
    assert sink.frames == [0, 2]
    assert (status.dropped, status.on_disk) == (1, 0)
    assert "uint8" in str(status.error)


def test_foreign_files_in_the_outbox_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "notes.jsonl").write_text("mine\n")
    (tmp_path / "000000000007.jsonl").write_text('{"frame": 1}\n[1]\n{"frame": 2}\n{"frame"')
    sink = RecordCollector()
    box = Outbox(sink, name="x", spool=Spool(tmp_path))
    wait_for(lambda: box.status.written == 2)
    status = box.close()
    assert sink.frames == [1, 2]
    assert (status.recovered, status.dropped, status.on_disk) == (4, 2, 0)
    assert (tmp_path / "notes.jsonl").read_text() == "mine\n"
