"""One owner per unit, whatever clocks say; a dead owner's unit goes to exactly one other."""

import time
from pathlib import Path

import pytest

from featstore.distributed.lease import Leases
from featstore.errors import StoreError

LIMIT = 0.3


def take(leases: Leases, unit: int) -> bool:
    return leases.claim(unit, leases.held().get(unit))


def wait_for(leases: Leases, unit: int) -> float:
    """Seconds until the unit could be claimed."""
    start = time.monotonic()
    while not take(leases, unit):
        assert time.monotonic() - start < 20
        time.sleep(LIMIT / 10)
    return time.monotonic() - start


@pytest.fixture
def dead(tmp_path: Path) -> Leases:
    """A worker that claimed unit 0 and was killed: its lease and its last beat stay."""
    worker = Leases(tmp_path, limit_s=LIMIT)
    (tmp_path / f"{worker.worker}.beat").write_bytes(b"0000000000000007")
    assert take(worker, 0)
    return worker


def test_a_unit_has_one_owner_as_long_as_that_one_lives(tmp_path: Path) -> None:
    with Leases(tmp_path, limit_s=LIMIT) as one, Leases(tmp_path, limit_s=LIMIT) as two:
        assert take(one, 0)
        assert take(two, 1)
        until = time.monotonic() + 4 * LIMIT
        while time.monotonic() < until:
            assert not take(two, 0)
            time.sleep(LIMIT / 10)


def test_what_a_worker_did_not_finish_is_free_when_it_leaves(tmp_path: Path) -> None:
    with Leases(tmp_path) as one:
        assert take(one, 0)
    with Leases(tmp_path) as two:
        assert take(two, 0)
    assert not list(tmp_path.glob("*.beat"))


def test_a_lease_that_outlived_its_owner_is_taken_over_after_the_limit(dead: Leases, tmp_path: Path) -> None:
    with Leases(tmp_path, limit_s=LIMIT) as other:
        assert wait_for(other, 0) >= LIMIT
        assert not take(dead, 0), "the owner that only slept sees that it has lost the unit"


def test_only_one_of_many_takes_over(dead: Leases, tmp_path: Path) -> None:
    others = [Leases(tmp_path, limit_s=LIMIT) for _ in range(4)]
    held = dead.held()[0]
    for other in others:
        other.claim(0, held)
    time.sleep(LIMIT * 1.1)
    assert sum(other.claim(0, held) for other in others) == 1


def test_clocks_decide_nothing(dead: Leases, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Years ahead or behind, a worker neither robs the living nor spares the dead."""
    monkeypatch.setattr(time, "time", lambda: 4e9)
    with Leases(tmp_path, limit_s=LIMIT) as ahead:
        assert wait_for(ahead, 0) >= LIMIT
        monkeypatch.setattr(time, "time", lambda: 0.0)
        with Leases(tmp_path, limit_s=LIMIT) as behind:
            until = time.monotonic() + 3 * LIMIT
            while time.monotonic() < until:
                assert not take(behind, 0)
                time.sleep(LIMIT / 10)


@pytest.mark.parametrize(
    "text", [b"", b"../../elsewhere", b"\xff" * 32, b"x" * 1000], ids=["torn", "path", "bytes", "long"]
)
def test_a_lease_that_names_no_worker_holds_for_the_limit_only(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "00000000.0000.lease").write_bytes(text)
    with Leases(tmp_path, limit_s=LIMIT) as worker:
        assert not take(worker, 0)
        assert wait_for(worker, 0) > 0


def test_a_linked_beat_is_no_sign_of_life(dead: Leases, tmp_path: Path) -> None:
    beat = tmp_path / f"{dead.worker}.beat"
    beat.unlink()
    beat.symlink_to("/proc/uptime")
    with Leases(tmp_path, limit_s=LIMIT) as worker:
        assert wait_for(worker, 0) >= LIMIT


def test_a_plan_that_has_left_holds_nothing(tmp_path: Path) -> None:
    gone = Leases(tmp_path / "gone")
    assert gone.held() == {}
    assert not gone.claim(0)
    with pytest.raises(StoreError, match="cannot write"), gone:
        pass
