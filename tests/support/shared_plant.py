"""A planned build of small recordings and its worker processes, for tests of shared builds."""

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from fakes import MomentsEmbedder, make_clips
from places import SUPPORT

from featstore.build import BuildOptions, Request
from featstore.building.plan import PlanOptions
from featstore.clip import Clip
from featstore.distributed.planfile import PlanFile
from featstore.distributed.shares import Share, ShareReport, plan_shares, work_share
from featstore.store import FeatureStore

MOMENTS = Request("moments", MomentsEmbedder)
INLINE = BuildOptions(workers=0, plan=PlanOptions(unit_clips=2))
LIMIT_S = 0.6

WORKER = f"""
import os, sys, time
root, store, rank, world, claim, trap = sys.argv[1:]
sys.path.insert(0, {str(SUPPORT)!r})
{{before}}
from dataclasses import dataclass
from pathlib import Path
import fakes, shared_plant
from featstore.distributed.shares import Share, work_share
from featstore.build import Request

@dataclass(frozen=True)
class Trapped(fakes.MomentsEmbedder):
    "Reports its start and waits to be killed, while the trap file exists."
    def embed(self, waves):
        if os.path.exists(trap):
            Path(trap + ".caught").touch()
            time.sleep(60)
        return super().embed(waves)

share = Share(int(rank), int(world), claim=claim == "claim", limit_s=shared_plant.LIMIT_S)
work_share(Path(root), Path(store), [Request("moments", Trapped)], shared_plant.INLINE, share)
"""


@dataclass(frozen=True)
class Plant:
    """Recordings, the list of their clips, and a store with the plan of their build."""

    root: Path
    clips: list[Clip]
    store: Path

    @property
    def trap(self) -> Path:
        """While this file exists, worker processes stop in the middle of a unit."""
        return self.root.parent / "trap"

    def plan(self, clips: Sequence[Clip] | None = None) -> PlanFile | None:
        return plan_shares(self.root, self.clips if clips is None else clips, self.store, [MOMENTS], INLINE, asked={})

    def work(self, share: Share | None = None) -> ShareReport:
        return work_share(self.root, self.store, [MOMENTS], INLINE, share or Share())

    def worker(self, rank: int = 0, world: int = 1, *, claim: bool = True, before: str = "") -> subprocess.Popen[str]:
        """A worker in its own process; it runs `before` before its imports."""
        how = ["0", "1", "claim"] if claim else [str(rank), str(world), "ranked"]
        arguments = [str(self.root), str(self.store), *how, str(self.trap)]
        script = WORKER.replace("{before}", before)
        return subprocess.Popen([sys.executable, "-c", script, *arguments], stderr=subprocess.PIPE, text=True)

    def caught(self) -> subprocess.Popen[str]:
        """A claiming worker that waits in the middle of a unit."""
        self.trap.touch()
        process = self.worker()
        deadline = time.monotonic() + 30
        while not Path(f"{self.trap}.caught").exists():
            assert process.poll() is None, process.communicate()[1]
            assert time.monotonic() < deadline
            time.sleep(0.01)
        self.trap.unlink()
        return process


def make_plant(folder: Path, n: int = 11) -> Plant:
    """`n` recordings, one of them damaged, in units of two."""
    clips = make_clips(folder / "data", n)
    (folder / "data" / clips[2].path).write_bytes(b"no sound")
    return Plant(folder / "data", clips, folder / "store")


def done(*processes: subprocess.Popen[str]) -> None:
    """Wait for the processes, which must end without an error."""
    for process in processes:
        _, stderr = process.communicate(timeout=60)
        assert process.returncode == 0, stderr


def assert_same_rows(first: Path, second: Path) -> None:
    """Both stores have the same embeddings, rows, facts and rejections, in the same order."""
    a, b = FeatureStore.open(first), FeatureStore.open(second)
    assert dict(a.embeddings) == dict(b.embeddings)
    assert a.embeddings
    for name in a.embeddings:
        assert list(a.clips(name)) == list(b.clips(name))
        np.testing.assert_array_equal(a.matrix(name), b.matrix(name))
        assert a.rejected(name) == b.rejected(name)
        for fact, values in a.facts(name).items():
            np.testing.assert_array_equal(values, b.facts(name)[fact])


def files_below(store: Path) -> set[str]:
    """All files in the store except manifests and shards."""
    files = {str(path.relative_to(store)) for path in store.rglob("*") if path.is_file()}
    return {name for name in files if not name.startswith(("manifest" + os.sep, "shards" + os.sep))}
