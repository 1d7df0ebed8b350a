#!/usr/bin/env python3
"""What `--anomalies auto` costs: the whole `featstore build DATA STORE` with it beside `--anomalies none`.

    python scripts/bench_build_auto.py DATA [DATA ...] [--rounds 3] [--cores 0,1]

Every round builds each folder into new stores, once with and once without generated anomalies, each as its own command
with its start-up time. Printed are the medians over the rounds of the seconds, and of the ratio of both within a round:
on the clock, and in processor time (which a busy machine changes less, and which counts every core). --cores: the
processors to use, where the system has `taskset`.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import perf_counter

from featstore.console import table


@dataclass(frozen=True)
class Cost:
    """Seconds of one command on the clock and in all its processes, and the rows of the store afterwards."""

    clock_s: float
    processor_s: float
    rows: int


def build(data: Path, anomalies: str, cores: str) -> Cost:
    """One build into a new store."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "featstore.cli", "build", str(data), f"{folder}/store", "--json"]
        pinned = ["taskset", "-c", cores] if cores else []
        before, start = os.times(), perf_counter()
        done = subprocess.run(
            [*pinned, *command, "--anomalies", anomalies], check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        clock_s, after = perf_counter() - start, os.times()
        processor_s = after.children_user + after.children_system - before.children_user - before.children_system
        return Cost(clock_s, processor_s, max(json.loads(done.stdout)["rows"].values()))


def row(data: Path, rounds: int, cores: str) -> list[str]:
    """The line of the table for a folder."""
    without, auto = [], []
    for _ in range(rounds):
        without.append(build(data, "none", cores))
        auto.append(build(data, "auto", cores))
    pairs = list(zip(auto, without, strict=True))
    ratios = [[a.clock_s / w.clock_s for a, w in pairs], [a.processor_s / w.processor_s for a, w in pairs]]
    return [
        data.name,
        f"{without[0].rows:,}",
        f"{auto[0].rows - without[0].rows:,}",
        f"{median(cost.clock_s for cost in without):.1f} s",
        f"{median(cost.clock_s for cost in auto):.1f} s",
        *(f"{median(ratio):.2f}  {min(ratio):.2f}-{max(ratio):.2f}" for ratio in ratios),
    ]


def main() -> None:
    """Parse, build, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, nargs="+")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--cores", default="")
    args = parser.parse_args()
    header = ["data", "recordings", "anomalies", "none", "auto", "ratio", "of processor time"]
    print(table(header, [row(data, args.rounds, args.cores) for data in args.data]))


if __name__ == "__main__":
    main()
