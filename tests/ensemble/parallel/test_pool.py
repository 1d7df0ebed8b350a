"""Tasks in processes: results, order, shared memory, errors, and processes that end with their parent."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from ensemble.parallel.pool import PROCESSES_FROM, Task, processes_for, run_tasks
from ensemble.parallel.rows import SharedRows
from featstore.building.cores import cores
from featstore.errors import ResourceError
from tests.support.places import ROOT


def total(rows: SharedRows, start: int) -> tuple[int, float]:
    return os.getpid(), float(rows.array[start:].sum())


def double(value: int) -> int:
    return 2 * value


def fail(value: int) -> int:
    raise ValueError(f"task {value}")


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def filled(shape: tuple[int, ...]) -> SharedRows:
    rows = SharedRows(shape)
    rows.array[...] = np.arange(rows.array.size, dtype=np.float32).reshape(shape)
    return rows


@pytest.mark.parametrize("processes", [1, 2])
def test_every_task_gives_its_result(processes: int) -> None:
    batches = [[Task(double, (i,), cost=i, label=i) for i in range(5)], [], [Task(double, (7,), label=7)]]
    results = list(run_tasks(batches, processes))
    assert {task.label: result for task, result in results} == {i: 2 * i for i in (0, 1, 2, 3, 4, 7)}
    if processes == 1:
        assert [task.label for task, _ in results] == [4, 3, 2, 1, 0, 7], "the largest first"


def test_processes_read_the_memory_of_their_parent() -> None:
    rows = filled((6, 2, 3))
    results = [result for _, result in run_tasks([[Task(total, (rows, i)) for i in range(4)]], 2)]
    assert os.getpid() not in {process for process, _ in results}
    assert sorted(value for _, value in results) == sorted(float(rows.array[i:].sum()) for i in range(4))


def test_a_copy_of_the_rows_is_read_only_and_memory_is_freed() -> None:
    before = len(list(Path("/proc/self/fd").iterdir())) if sys.platform == "linux" else 0
    rows = filled((3, 2))
    copy = SharedRows.__new__(SharedRows)
    copy.__setstate__(rows.__getstate__())
    np.testing.assert_array_equal(copy.array, rows.array)
    with pytest.raises(ValueError, match="read-only"):
        copy.array[0] = 1
    rows.array[0] = 9
    assert (copy.array[0] == 9).all(), "the same memory"
    del rows, copy
    if sys.platform == "linux":
        assert len(list(Path("/proc/self/fd").iterdir())) == before
    with pytest.raises(ResourceError, match="cannot reserve"):
        SharedRows((2**60,))


@pytest.mark.parametrize("processes", [1, 2])
def test_an_error_of_a_task_is_raised_and_ends_the_processes(processes: int) -> None:
    with pytest.raises(ValueError, match="task 3"):
        list(run_tasks([[Task(fail, (3,)), *(Task(time.sleep, (60,)) for _ in range(4))]], processes))


def test_a_process_that_dies_is_reported() -> None:
    with pytest.raises(ResourceError, match="--workers"):
        list(run_tasks([[Task(die, ()), Task(double, (1,))]], 2))


def test_processes_are_used_where_they_pay() -> None:
    assert processes_for(4, PROCESSES_FROM - 1, None) == 1
    assert 1 <= processes_for(4, PROCESSES_FROM, None) <= 4
    assert processes_for(2, 1.0, 8) == 2
    assert processes_for(5000, 1.0, 1000) == 2 * cores()
    assert processes_for(2, 1e12, 0) == 0


PARENT = """
import time
from ensemble.parallel.pool import Task, run_tasks
list(run_tasks([[Task(time.sleep, (300,)), Task(time.sleep, (300,))]], 2))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="children are listed in /proc")
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_processes_end_with_their_parent(how: signal.Signals, tmp_path: Path) -> None:
    script = tmp_path / "parent.py"
    script.write_text(f"if __name__ == '__main__':\n    {PARENT.strip().replace(chr(10), chr(10) + '    ')}\n")
    parent = subprocess.Popen([sys.executable, script], cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)})
    children = _children(parent.pid, 3)
    parent.send_signal(how)
    parent.wait(20)
    end = time.monotonic() + 20
    while any(Path(f"/proc/{child}").exists() for child in children) and time.monotonic() < end:
        time.sleep(0.05)
    assert not [child for child in children if Path(f"/proc/{child}").exists()]


def _children(parent: int, count: int) -> list[int]:
    """The processes of a parent, once there are as many: two workers and Python's resource tracker."""
    file = Path(f"/proc/{parent}/task/{parent}/children")
    end = time.monotonic() + 30
    while time.monotonic() < end:
        children = [int(child) for child in file.read_text().split()]
        if len(children) >= count:
            time.sleep(1)
            return children
        time.sleep(0.05)
    raise AssertionError("the workers did not start")
