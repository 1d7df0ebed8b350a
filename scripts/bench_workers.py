"""Throughput of a shared build with 1, 2 and 4 workers, and what sharing costs.

    python scripts/bench_workers.py [--clips 640] [--rounds 7] [--embedder logmel] [--unit-clips 64]

Every worker is a process of its own with one thread, imported and warm before the clock starts. *Bare* are the same
processes on the same units with nothing coordinated and nothing written: no plan to read, no claim, no file, no commit.
The cost of sharing is plan, work and commit over the bare work, within one round: in processor time, of all processes,
and in time on the clock, which also waits for the disk and for whatever else the machine does. *Bare again* is the same
as bare: how far its ratio is from 1 is how far the machine's noise goes.
"""

import argparse
import multiprocessing
import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
from bench_build import RATE, SECONDS, write_wavs

import embedders
from featstore.build import BuildOptions, Request, build
from featstore.building.cores import cores
from featstore.building.plan import PlanOptions
from featstore.building.prepare import infos_of, job_of
from featstore.building.units import UnitRun
from featstore.clip import Clip
from featstore.distributed.gather import commit
from featstore.distributed.planfile import plan_for
from featstore.distributed.shares import Share, plan_shares, work_share

WORLDS = (1, 2, 4)
BARE = ("bare", "again")
HOW = ("bare", "rank", "claim", "again")


@dataclass(frozen=True)
class Setting:
    """What every run has in common; picklable."""

    root: Path
    spec: str
    unit_clips: int

    @property
    def requests(self) -> list[Request]:
        """The one embedder."""
        return [Request(self.spec, partial(embedders.create, self.spec))]

    @property
    def options(self) -> BuildOptions:
        """One process per worker."""
        return BuildOptions(workers=0, plan=PlanOptions(self.unit_clips))


@dataclass(frozen=True)
class Run:
    """One build: seconds of the work, of plan and commit together, and processor seconds of both."""

    work: float
    rest: float
    work_cpu: float
    rest_cpu: float


def worker(setting: Setting, rank: int, pipe: Connection) -> None:
    """One worker process: told a build, get ready, wait for the start, do the share, say the processor time."""
    requests, options = setting.requests, setting.options
    requests[0].make().embed(np.zeros((1, RATE * SECONDS), np.float32))
    for how, world, store in iter(pipe.recv, None):
        plan = plan_for(store, [setting.spec])
        units = [plan.unit(number) for number in range(rank, len(plan), world)]
        run = UnitRun(infos_of(requests, options), plan.clips)
        pipe.send("ready")
        pipe.recv()
        start = time.process_time()
        if how in BARE:
            run.execute(units, job_of(setting.root, requests, options), 0, lambda unit, shards: None)
        else:
            share = Share(claim=True) if how == "claim" else Share(rank, world)
            work_share(setting.root, store, requests, options, share)
        pipe.send(time.process_time() - start)


def hire(setting: Setting) -> list[Connection]:
    """Warm worker processes, one pipe to each."""
    context = multiprocessing.get_context("spawn")
    pipes = []
    for rank in range(max(WORLDS)):
        ours, theirs = context.Pipe()
        context.Process(target=worker, args=(setting, rank, theirs), daemon=True).start()
        pipes.append(ours)
    return pipes


def shared(setting: Setting, clips: list[Clip], store: Path, how: str, pipes: list[Connection]) -> Run:
    """One build by as many workers as there are pipes."""
    start, start_cpu = time.perf_counter(), time.process_time()
    plan_shares(setting.root, clips, store, setting.requests, setting.options, asked={})
    rest, rest_cpu = time.perf_counter() - start, time.process_time() - start_cpu
    for pipe in pipes:
        pipe.send((how, len(pipes), store))
    for pipe in pipes:
        pipe.recv()
    start = time.perf_counter()
    for pipe in pipes:
        pipe.send("go")
    work_cpu = sum(pipe.recv() for pipe in pipes)
    work = time.perf_counter() - start
    if how in BARE:  # the plan only told the units
        return Run(work, 0.0, work_cpu, 0.0)
    start, start_cpu = time.perf_counter(), time.process_time()
    gathered, opened = commit(store)
    assert gathered[0].complete
    assert opened.rows(setting.spec) == len(clips)
    return Run(work, rest + time.perf_counter() - start, work_cpu, rest_cpu + time.process_time() - start_cpu)


def plain(setting: Setting, clips: list[Clip], store: Path) -> Run:
    """A plain build in one warm process: this one."""
    setting.requests[0].make().embed(np.zeros((1, RATE * SECONDS), np.float32))
    start, start_cpu = time.perf_counter(), time.process_time()
    build(setting.root, clips, store, setting.requests, setting.options)
    return Run(time.perf_counter() - start, 0.0, time.process_time() - start_cpu, 0.0)


def measure(setting: Setting, clips: list[Clip], rounds: int, folder: Path) -> Iterator[dict[tuple[str, int], Run]]:
    """Every kind of build once per round, interleaved."""
    pipes = hire(setting)
    for number in range(rounds):
        found = {
            (how, world): shared(setting, clips, folder / f"{number}-{how}-{world}", how, pipes[:world])
            for world in WORLDS
            for how in HOW
        }
        found["plain", 1] = plain(setting, clips, folder / f"{number}-plain")
        yield found
    for pipe in pipes:
        pipe.send(None)


def report(clips: int, unit_clips: int, rounds: list[dict[tuple[str, int], Run]]) -> None:
    """Medians over rounds; costs are ratios within a round."""
    units = -(-clips // unit_clips)
    print(f"{clips} clips of {SECONDS} s in {units} units, {len(rounds)} rounds, {cores()} cores\n")
    print(
        "| workers | units | clips/s | per worker | bare | plan and commit, s | processor time / bare | clock / bare |"
    )
    print("|---|---|---|---|---|---|---|---|")
    names = {"rank": "by rank", "claim": "claimed", "plain": "plain build", "again": "bare again"}
    for key in [("plain", 1), *((how, world) for world in WORLDS for how in ("rank", "claim", "again"))]:
        how, world = key
        pairs = [(one[key], one["bare", world]) for one in rounds]
        work, bare = (statistics.median(side) for side in zip(*((a.work, b.work) for a, b in pairs), strict=True))
        rest = statistics.median(a.rest for a, _ in pairs)
        cpu = statistics.median((a.work_cpu + a.rest_cpu) / b.work_cpu for a, b in pairs)
        clock = statistics.median((a.work + a.rest) / b.work for a, b in pairs)
        rate = f"{clips / work:,.0f} | {clips / work / world:,.0f} | {clips / bare / world:,.0f}"
        print(f"| {world} | {names[how]} | {rate} | {rest:.2f} | {cpu:.3f} | {clock:.3f} |")


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=640)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--embedder", default="logmel")
    parser.add_argument("--unit-clips", type=int, default=64)
    args = parser.parse_args()
    os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", MKL_NUM_THREADS="1", GOMP_SPINCOUNT="0")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        clips = write_wavs(folder / "data", args.clips)
        setting = Setting(folder / "data", args.embedder, args.unit_clips)
        report(args.clips, args.unit_clips, list(measure(setting, clips, args.rounds, folder)))


if __name__ == "__main__":
    main()
