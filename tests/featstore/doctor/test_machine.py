"""Limits of a container, by files as the system has them, and what is concluded from them."""

from pathlib import Path

import pytest

from featstore.doctor import machine
from featstore.doctor.finding import NOTE, OK
from featstore.doctor.machine import cores_found, cpu_limit, memory_found, memory_limit, variables_found

MEMINFO = "MemTotal:       16000000 kB\nMemFree:         1000000 kB\nMemAvailable:    8000000 kB\n"


@pytest.fixture
def cgroup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file system of groups of version 2 in which this process is in /a/b."""
    text = machine._text

    def of_process(path: Path) -> str:
        return "0::/a/b" if path == Path("/proc/self/cgroup") else text(path)

    monkeypatch.setattr(machine, "_text", of_process)
    (tmp_path / "a" / "b").mkdir(parents=True)
    return tmp_path


def test_the_least_limit_of_all_levels_counts(cgroup: Path) -> None:
    assert cpu_limit(cgroup) is None
    (cgroup / "a" / "b" / "cpu.max").write_text("max 100000\n")
    assert cpu_limit(cgroup) is None
    (cgroup / "a" / "cpu.max").write_text("150000 100000\n")
    (cgroup / "cpu.max").write_text("400000 100000\n")
    assert cpu_limit(cgroup) == 1.5


def test_more_cores_than_the_container_gives_are_a_note(cgroup: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "cores", lambda: 8)
    assert cores_found(cgroup).state == OK
    (cgroup / "cpu.max").write_text("250000 100000\n")
    found = cores_found(cgroup)
    assert (found.state, found.mend) == (NOTE, "--workers 2")
    assert "gives the time of 2.5" in found.text
    monkeypatch.setattr(machine, "cores", lambda: 2)
    assert cores_found(cgroup).state == OK


def test_limits_of_version_1(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = machine._text
    groups = "4:cpu,cpuacct:/job\n3:memory:/job\n1:name=systemd:/x"
    monkeypatch.setattr(machine, "_text", lambda path: groups if "self" in path.parts else text(path))
    (tmp_path / "cpu,cpuacct" / "job").mkdir(parents=True)
    (tmp_path / "memory" / "job").mkdir(parents=True)
    (tmp_path / "cpu,cpuacct" / "job" / "cpu.cfs_quota_us").write_text("-1")
    (tmp_path / "cpu,cpuacct" / "job" / "cpu.cfs_period_us").write_text("100000")
    assert cpu_limit(tmp_path) is None
    (tmp_path / "cpu,cpuacct" / "job" / "cpu.cfs_quota_us").write_text("50000")
    assert cpu_limit(tmp_path) == 0.5
    (tmp_path / "memory" / "job" / "memory.limit_in_bytes").write_text("1000")
    (tmp_path / "memory" / "job" / "memory.usage_in_bytes").write_text("400")
    assert memory_limit(tmp_path) == (1000, 600)


def test_memory_is_that_of_the_container_where_it_has_less(cgroup: Path) -> None:
    meminfo = cgroup / "meminfo"
    meminfo.write_text(MEMINFO)
    assert memory_found(cgroup, meminfo).text == "8.2 GB free of 16.4 GB"
    (cgroup / "a" / "memory.max").write_text("4000000000\n")
    (cgroup / "a" / "memory.current").write_text("3000000000\n")
    (cgroup / "a" / "memory.stat").write_text("anon 5\ninactive_file 2500000000\n")
    found = memory_found(cgroup, meminfo)
    assert (found.text, found.state) == ("3.5 GB free of 4.0 GB (limit of the container)", OK)
    (cgroup / "a" / "memory.stat").write_text("anon 5\n")
    assert (memory_found(cgroup, meminfo).state, memory_found(cgroup, meminfo).mend) == (NOTE, "fewer --workers")


def test_variables_that_are_set_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in machine.VARIABLES:
        monkeypatch.delenv(name, raising=False)
    assert variables_found().text == "nothing is set that changes the commands"
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert variables_found().text == "HF_HUB_OFFLINE=1; weights are not downloaded"
