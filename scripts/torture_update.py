#!/usr/bin/env python3
"""Kill `detect fit --update` at random moments; the model file must always be whole, the old one or the new one.

    scripts/torture_update.py [--kills 50] [--seed 0]

Simulates two small plants, builds a store of each, and fits a model to the first. Each time it starts an update with
the second store, kills it (SIGKILL) after a random part of the time that a whole update takes, and half of the kills
come amid the writing of the model. Then it loads the model and counts its training clips. A killed update that had not
ended is started again the next time, so nothing of it may stay behind.
"""

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from ensemble.scoring.model import Model
from featstore.console import table

AMID_WRITE = """
import os, random, signal, sys
whole = os.write
def torn(descriptor, data):
    whole(descriptor, data[: random.randrange(len(data) + 1)])
    os.kill(os.getpid(), signal.SIGKILL)
os.write = torn
from ensemble.cli import main
main(sys.argv[1:])
"""
"""`detect`, killed at its first write of a file through the file layer: that of the model."""


def command(*words: object) -> None:
    """Run a command of this project."""
    module, *rest = map(str, words)
    subprocess.run([sys.executable, "-m", module, *rest], check=True, capture_output=True)


def prepared(work: Path) -> tuple[Path, Path]:
    """A fitted model, and a store with clips that it lacks."""
    for name, seed in (("first", 1), ("second", 2)):
        command("featstore.cli", "simulate", work / f"{name}.data", "--clips", 60, "--seed", seed)
        command("featstore.cli", "build", work / f"{name}.data", work / f"{name}.store", "--anomalies", "none")
    command("ensemble.cli", "fit", work / "first.store", "--default", "-o", work / "fitted.model")
    return work / "fitted.model", work / "second.store"


def outcome(model: Path, sizes: dict[int, str]) -> str:
    """Which model the file holds; what is wrong with it where it is neither."""
    try:
        clips = len(Model.load(model).fitted.train)
    except Exception as error:
        return f"broken: {error}"
    return sizes.get(clips, f"{clips} clips")


def tortured(work: Path, kills: int, seed: int) -> Counter[str]:
    """How often each outcome came."""
    rng = random.Random(seed)
    fitted, store = prepared(work)
    model = work / "plant.model"
    shutil.copy(fitted, model)
    began = time.monotonic()
    command("ensemble.cli", "fit", "--update", model, store)
    whole_s = time.monotonic() - began
    sizes = {len(Model.load(fitted).fitted.train): "old model", len(Model.load(model).fitted.train): "new model"}
    counts: Counter[str] = Counter()
    for number in range(kills):
        if outcome(model, sizes) == "new model":
            shutil.copy(fitted, model)
        words = ["-c", AMID_WRITE] if number % 2 else ["-m", "ensemble.cli"]
        line = [sys.executable, *words, "fit", "--update", str(model), str(store)]
        child = subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            child.wait(60 if number % 2 else rng.uniform(0.3, 1.1) * whole_s)
        except subprocess.TimeoutExpired:
            os.kill(child.pid, signal.SIGKILL)
            child.wait()
        kind = "amid the write" if number % 2 else "any moment"
        ended = "killed" if child.returncode == -signal.SIGKILL else "ended"
        counts[f"{kind}, {ended}: {outcome(model, sizes)}"] += 1
    command("ensemble.cli", "fit", "--update", model, store)
    counts[f"a whole update afterwards: {outcome(model, sizes)}"] += 1
    counts["temporary files of killed updates"] = len(list(work.glob("plant.model.*")))
    return counts


def main() -> None:
    """Kill and count."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        counts = tortured(Path(folder), arguments.kills, arguments.seed)
    print(table(["outcome", "times"], [[name, f"{count}"] for name, count in counts.items()]))


if __name__ == "__main__":
    main()
