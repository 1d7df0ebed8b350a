"""Builds and archives on Ray beside the same on this machine's own processes and threads.

    python scripts/bench_ray.py [--clips 2048] [--rounds 3] [--embedder logmel] [--rows 1e6] [--bank 1e4]

A cluster of this machine alone is started once. Every row is measured once per round; the table shows medians, and
ratios of rates taken in the same round. "Start" is the time until the first results are there: processes or actors that
load their libraries, and for an archive the bank; rates count from then on. Archives are random vectors of 128 numbers.
Processor time is of all processes, and other programs disturb it less than the clock. "Decoding apart" is what a build
does for GPUs: tasks decode, and waves go through Ray's object store to the actors.
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from bench_archive import make_store
from bench_build import SECONDS, write_wavs

import embedders
from ensemble.archive.on_ray import score_on_cluster
from ensemble.archive.rows import Unit
from ensemble.archive.run import ArchiveJob, ArchiveRun, Resources
from featstore.build import BuildOptions, Request, build
from featstore.building.cores import cores
from featstore.building.units import Progress, Workers
from featstore.clip import Clip
from featstore.distributed.ray_build import ray_engine
from featstore.distributed.ray_cluster import cluster

WORKERS = (1, 2)
UNIT_CLIPS = 256
MARK = "BENCH_RAY"


def processor_s() -> float:
    """Processor seconds so far of this process and of all that descend from it, also of Ray's own."""
    total, mark = time.process_time(), f"{MARK}={os.getpid()}".encode()
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has just ended
            if mark in (folder / "environ").read_bytes().split(b"\0"):
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
                total += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return total


@dataclass(frozen=True)
class Measured:
    """Seconds until the first results; items per second, and processor seconds per item, from then on."""

    start: float
    rate: float
    cost: float


class Clock:
    """Measures what is done of `total` items from the first on."""

    def __init__(self, total: int) -> None:
        self.total, self.began = total, time.perf_counter()
        self.ends: list[tuple[float, float, int]] = []

    def __call__(self, done: int) -> None:
        """Note that so many are done."""
        if done and (not self.ends or done == self.total):
            self.ends.append((time.perf_counter() - self.began, processor_s(), done))

    def measured(self) -> Measured:
        """What was noted."""
        (first, spent, before), (last, spent_at_last, after) = self.ends[0], self.ends[-1]
        return Measured(first, (after - before) / (last - first), (spent_at_last - spent) / (after - before))


def built(root: Path, clips: list[Clip], spec: str, workers: Workers, *, apart: bool = False) -> Measured:
    """One build into a store of its own."""
    clock = Clock(len(clips))
    requests = [Request(spec, partial(embedders.create, spec))]
    options = BuildOptions(workers=workers, embed_in_workers=not apart)
    options = replace(options, plan=replace(options.plan, unit_clips=UNIT_CLIPS))

    def report(progress: Progress) -> None:
        clock(progress.done)

    with tempfile.TemporaryDirectory(dir=root.parent) as store:
        build(root, clips, Path(store) / "store", requests, options, report=report)
    return clock.measured()


def scored(work: Path, score: Callable[[ArchiveRun, Path, Callable[[Unit], None]], None], threads: int) -> Measured:
    """One archive run into a folder of its own."""
    run = ArchiveRun(ArchiveJob(str(work / "bank"), str(work / "archive")), Resources(1 << 30, threads))
    clock, done = Clock(sum(unit.rows for unit in run.units)), 0

    def count(unit: Unit, *rest: object) -> None:
        nonlocal done
        done += unit.rows
        clock(done)

    with tempfile.TemporaryDirectory(dir=work) as out:
        score(run, Path(out), count)
    return clock.measured()


def here(run: ArchiveRun, out: Path, done: Callable[[Unit], None]) -> None:
    """Score in this process."""
    run.score(run.units, out, done)


def report(noun: str, rounds: list[dict[tuple[str, int], Measured]]) -> None:
    """Medians over rounds; ratios within a round."""
    print(f"| engine | workers | start, s | {noun}/s | of the same without Ray | its processor time |")
    print("|---|---|---|---|---|---|")
    for engine, n in rounds[0]:
        start = statistics.median(one[engine, n].start for one in rounds)
        rate = statistics.median(one[engine, n].rate for one in rounds)
        ratio = statistics.median(one[engine, n].rate / one["local", n].rate for one in rounds)
        cost = statistics.median(one[engine, n].cost / one["local", n].cost for one in rounds)
        print(f"| {engine} | {n} | {start:.1f} | {rate:,.0f} | {ratio:.2f} | {cost:.2f} |")
    print()


def main() -> None:
    """Measure and print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=2048)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--embedder", default="logmel")
    parser.add_argument("--rows", type=float, default=1e6)
    parser.add_argument("--bank", type=float, default=1e4)
    args = parser.parse_args()
    os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", MKL_NUM_THREADS="1", GOMP_SPINCOUNT="0")
    os.environ[MARK] = str(os.getpid())  # by which processor_s finds the processes
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        clips = write_wavs(work / "data", args.clips)
        make_store(work / "bank", int(args.bank), 128, "train", 0)
        make_store(work / "archive", int(args.rows), 128, "test", 1)
        builds, archives = [], []
        began = time.perf_counter()
        with cluster("local"):
            started = time.perf_counter() - began
            for _ in range(args.rounds):
                build_with = partial(built, work / "data", clips, args.embedder)
                builds.append(
                    {("local", n): build_with(n) for n in WORKERS}
                    | {("ray", n): build_with(ray_engine(n, 0, UNIT_CLIPS)) for n in WORKERS}
                    | {
                        ("ray, decoding apart", n): build_with(ray_engine(n, 0, UNIT_CLIPS), apart=True)
                        for n in WORKERS
                    }
                )
                archives.append(
                    {("local", n): scored(work, here, n) for n in WORKERS}
                    | {("ray", n): scored(work, partial(score_on_cluster, actors=n), 1) for n in WORKERS}
                )
        print(f"{cores()} cores, {args.rounds} rounds; the cluster started in {started:.1f} s\n")
        print(f"{args.clips} clips of {SECONDS} s, {args.embedder}:\n")
        report("clips", builds)
        print(f"{args.rows:.0e} clips of 128 numbers against {args.bank:.0e}:\n")
        report("clips", archives)


if __name__ == "__main__":
    main()
