"""How much memory is free, by the machine's word and by the container's, from fake files."""

from __future__ import annotations

from pathlib import Path

import pytest

from pyad_edge import ResourceError
from pyad_edge.export import memory
from pyad_edge.export.memory import available_memory

GB = 10**9
MACHINE = 24_000_000 * 1024
UNLIMITED = 9223372036854771712  # what version 1 says for "no limit"


class System:
    """Fake /proc and /sys/fs/cgroup."""

    def __init__(self, folder: Path) -> None:
        self.proc, self.groups = folder / "proc", folder / "cgroup"
        self.write(self.proc / "meminfo", "MemTotal: 32000000 kB\nMemAvailable:   24000000 kB\n")

    @staticmethod
    def write(path: Path, text: str) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def belongs_to(self, *lines: str) -> None:
        self.write(self.proc / "self/cgroup", "".join(line + "\n" for line in lines))

    def group(self, path: str, limit: object, used: int, cache: int = 0) -> None:
        self.write(self.groups / path / "memory.max", f"{limit}\n")
        self.write(self.groups / path / "memory.current", f"{used}\n")
        self.write(self.groups / path / "memory.stat", f"anon 5\ninactive_file {cache}\nfile 7\n")

    def group_v1(self, path: str, limit: int, used: int, cache: int = 0) -> None:
        folder = self.groups / "memory" / path
        self.write(folder / "memory.limit_in_bytes", f"{limit}\n")
        self.write(folder / "memory.usage_in_bytes", f"{used}\n")
        self.write(
            folder / "memory.stat", f"inactive_file {cache // 2}\ntotal_inactive_file {cache}\n"
        )

    @property
    def available(self) -> int:
        return available_memory(proc=self.proc, control_groups=self.groups)


@pytest.fixture
def system(tmp_path: Path) -> System:
    return System(tmp_path)


def test_without_limits_the_machine_decides(system: System) -> None:
    assert system.available == MACHINE
    system.belongs_to("0::/user.slice/work")
    assert system.available == MACHINE
    system.group("user.slice/work", "max", 3 * GB)
    assert system.available == MACHINE
    system.group("user.slice/work", 500 * GB, 3 * GB)
    assert system.available == MACHINE


def test_a_container_sees_its_limit_at_the_root(system: System) -> None:
    system.belongs_to("0::/")
    system.group("", 4 * GB, GB)
    assert system.available == 3 * GB


def test_the_tightest_group_on_the_way_up_decides(system: System) -> None:
    system.belongs_to("0::/pod/container/worker")
    system.group("pod/container/worker", "max", GB)
    system.group("pod/container", 8 * GB, 2 * GB)
    system.group("pod", 9 * GB, 7 * GB)
    system.group("pod/neighbour", GB, GB)
    assert system.available == 2 * GB
    system.group("pod", 9 * GB, GB)
    assert system.available == 6 * GB


def test_cached_files_give_way(system: System) -> None:
    system.belongs_to("0::/")
    system.group("", 4 * GB, 3 * GB, cache=2 * GB)
    assert system.available == 3 * GB


def test_an_overdrawn_group_has_nothing_left(system: System) -> None:
    system.belongs_to("0::/")
    system.group("", GB, GB + 4096)
    assert system.available == 0


@pytest.mark.parametrize("path", ["/../..", "/docker/0123abcd"])
def test_a_path_of_the_host_leads_to_the_root(system: System, path: str) -> None:
    system.belongs_to(f"0::{path}")
    system.group("", 2 * GB, GB)
    assert system.available == GB


def test_version_1(system: System) -> None:
    system.belongs_to("12:cpu,cpuacct:/jobs", "4:memory:/jobs/7", "1:name=systemd:/", "0::/")
    system.group_v1("", UNLIMITED, 8 * GB)
    assert system.available == MACHINE
    system.group_v1("jobs/7", 5 * GB, 2 * GB, cache=GB)
    assert system.available == 4 * GB
    system.group_v1("jobs", 6 * GB, 5 * GB)
    assert system.available == GB


def test_a_system_that_does_not_tell(system: System, monkeypatch: pytest.MonkeyPatch) -> None:
    (system.proc / "meminfo").write_text("MemTotal: 32000000 kB\n")
    monkeypatch.setattr(memory.os, "sysconf", lambda name: {"SC_PAGE_SIZE": 4096}.get(name, 1000))
    assert system.available == 4_096_000
    monkeypatch.delattr(memory.os, "sysconf")
    with pytest.raises(ResourceError, match=r"State a limit with --memory-limit"):
        system.available  # noqa: B018 - the property reads the files
    system.belongs_to("0::/")
    system.group("", 4 * GB, GB)
    assert system.available == 3 * GB


def test_this_machine_tells() -> None:
    assert 0 < available_memory() < 10**15
