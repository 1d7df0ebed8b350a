"""Each unit has first owner, independent of clocks; after its death exactly one other worker gets it."""

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
    """A worker that claimed unit 0 and was killed; its lease and last heartbeat remain."""
    worker = Leases(tmp_path, limit_s=LIMIT)
    (tmp_path / f"{worker.worker}.beat").write_bytes(b"0000000000000007")
    assert take(worker, 0)
    return worker


def test_a_unit_has_one_owner_while_that_owner_is_alive(tmp_path: Path) -> None:
    with Leases(tmp_path, limit_s=LIMIT) as first, Leases(tmp_path, limit_s=LIMIT) as second:
        assert take(first, 0)
        assert take(second, 1)
        until = time.monotonic() + 4 * LIMIT
        while time.monotonic() < until:
            assert not take(second, 0)
            time.sleep(LIMIT / 10)


def test_unfinished_units_are_free_when_their_worker_ends(tmp_path: Path) -> None:
    with Leases(tmp_path) as first:
        assert take(first, 0)
    with Leases(tmp_path) as second:
        assert take(second, 0)
    assert not list(tmp_path.glob("*.beat"))


def test_the_lease_of_a_dead_owner_ends_after_the_limit(dead: Leases, tmp_path: Path) -> None:
    with Leases(tmp_path, limit_s=LIMIT) as other:
        assert wait_for(other, 0) >= LIMIT
        assert not take(dead, 0), "the owner that only slept sees that it has lost the unit"


def test_only_one_of_many_workers_gets_a_free_unit(dead: Leases, tmp_path: Path) -> None:
    others = [Leases(tmp_path, limit_s=LIMIT) for _ in range(4)]
    held = dead.held()[0]
    for other in others:
        other.claim(0, held)
    time.sleep(LIMIT * 1.1)
    assert sum(other.claim(0, held) for other in others) == 1


def test_wall_clocks_have_no_effect(dead: Leases, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that is years off changes neither the units of live workers nor those of dead ones."""
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
def test_an_invalid_lease_ends_after_the_limit(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "00000000.0000.lease").write_bytes(text)
    with Leases(tmp_path, limit_s=LIMIT) as worker:
        assert not take(worker, 0)
        assert wait_for(worker, 0) > 0


def test_a_symbolic_link_is_not_a_heartbeat(dead: Leases, tmp_path: Path) -> None:
    beat = tmp_path / f"{dead.worker}.beat"
    beat.unlink()
    beat.symlink_to("/proc/uptime")
    with Leases(tmp_path, limit_s=LIMIT) as worker:
        assert wait_for(worker, 0) >= LIMIT


def test_a_removed_plan_has_no_leases(tmp_path: Path) -> None:
    gone = Leases(tmp_path / "gone")
    assert gone.held() == {}
    assert not gone.claim(0)
    with pytest.raises(StoreError, match="cannot write"), gone:
        pass


def test_a_worker_claims_its_own_unit_again_at_once_and_nobody_else_does(tmp_path: Path) -> None:
    """Its first result may have been refused."""
    with Leases(tmp_path) as own, Leases(tmp_path) as other:
        for generation in range(3):
            assert take(own, 5)
            assert own.held()[5] == (generation, f"00000005.{generation:04d}.lease")
            assert (tmp_path / own.held()[5][1]).read_text() == own.worker
            assert not take(other, 5)
        assert not own.claim(5), "the first generation is there already"
