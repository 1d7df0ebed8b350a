"""Kill builds with SIGKILL at random moments, resume each, and look for lost or wrong rows.

    python scripts/torture_build.py [--kills 50] [--seed 0]

After every kill the store must open, hold every row it ever held, and hold only rows of the uninterrupted build; the
last build must equal it row by row and pass `featstore verify`. No worker process may outlive its build.
"""

import argparse
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile as sf

from featstore.errors import StoreError
from featstore.store import FeatureStore

CLIPS, UNIT, RATE = 240, 6, 16_000
Rows = dict[str, bytes]


@dataclass
class Tally:
    """What the kills found."""

    kills: int = 0
    mid_build: int = 0
    finished: int = 0
    opened: int = 0
    wrong: int = 0
    orphans: int = 0


def rows(store: Path) -> Rows:
    """Bytes of every row, in order; nothing when no build got as far as a manifest."""
    if not (store / "manifest").is_dir() or not any((store / "manifest").glob("*.json")):
        return {}
    opened = FeatureStore.open(store)
    if "logmel" not in opened.embeddings:
        return {}
    return dict(zip(opened.clips("logmel").keys(), map(bytes, opened.matrix("logmel")), strict=True))


def opened_rows(store: Path) -> Rows | None:
    """Rows of a store, None when it does not open."""
    try:
        return rows(store)
    except StoreError as error:
        print(f"does not open: {error}", file=sys.stderr)
        return None


def start(data: Path, store: Path, workers: int) -> subprocess.Popen[bytes]:
    """A build as a user would run it."""
    command = [sys.executable, "-m", "featstore.cli", "build", str(data), str(store), "-e", "logmel"]
    command += ["--unit-clips", str(UNIT), "--workers", str(workers)]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def children(pid: int) -> list[int]:
    """Process ids below `pid`."""
    found = subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True, check=False).stdout.split()
    return [int(child) for child in found] + [below for child in found for below in children(int(child))]


def alive(pid: int) -> bool:
    """Whether a process still runs (a zombie does not)."""
    status = Path(f"/proc/{pid}/stat")
    return status.exists() and status.read_text().rpartition(")")[2].split()[0] != "Z"


def kill_once(data: Path, store: Path, rng: random.Random, expected: Rows, tally: Tally) -> bool:
    """One build, one kill; True when the build was already finished."""
    before = rows(store)
    build = start(data, store, rng.choice([0, 1, 2]))
    deadline = time.monotonic() + rng.uniform(0.5, 5.0)
    while time.monotonic() < deadline and build.poll() is None:
        time.sleep(0.005)
    below = children(build.pid)
    build.send_signal(signal.SIGKILL)
    done = build.wait() == 0
    tally.kills += not done
    after = opened_rows(store)
    tally.opened += not done and after is not None
    after = after or {}
    tally.wrong += sum(after.get(key) != row for key, row in before.items())  # lost or changed
    tally.wrong += sum(expected.get(key) != row for key, row in after.items())  # never in the uninterrupted build
    tally.mid_build += not done and 0 < len(after) < len(expected)
    time.sleep(1.5)
    tally.orphans += sum(alive(pid) for pid in below)
    return done


def main() -> None:
    """Run the kills and print what was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    rng, noise = random.Random(args.seed), np.random.default_rng(args.seed)
    tally = Tally()
    with tempfile.TemporaryDirectory() as temporary:
        data = Path(temporary, "data", "fan", "normal")
        data.mkdir(parents=True)
        for i in range(CLIPS):
            sf.write(data / f"{i:04d}.wav", noise.uniform(-0.5, 0.5, RATE), RATE)
        whole, store = Path(temporary, "whole"), Path(temporary, "store")
        start(Path(temporary, "data"), whole, 2).wait()
        expected = rows(whole)
        while tally.kills < args.kills:
            if kill_once(Path(temporary, "data"), store, rng, expected, tally):
                tally.finished += 1
                check_whole(store, expected)
                shutil.rmtree(store)
        start(Path(temporary, "data"), store, 2).wait()
        check_whole(store, expected)
    whole_builds = tally.finished + 1
    print("| killed | amid the rows | store opened | rows lost or changed | resumed to the end, equal | workers left |")
    print("|---|---|---|---|---|---|")
    print(f"| {tally.kills} | {tally.mid_build} | {tally.opened} | {tally.wrong} | {whole_builds} | {tally.orphans} |")
    raise SystemExit(tally.wrong > 0 or tally.opened < tally.kills or tally.orphans > 0)


def check_whole(store: Path, expected: Rows) -> None:
    """The finished store equals the uninterrupted one row by row, in the same order, and verifies."""
    if list(rows(store).items()) != list(expected.items()):
        raise SystemExit("the resumed store differs from the uninterrupted one")
    subprocess.run([sys.executable, "-m", "featstore.cli", "verify", str(store)], check=True, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    main()
