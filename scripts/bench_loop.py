#!/usr/bin/env python3
"""Do marks made in the page help? Twenty clips are marked by their labels; the others are measured before and after.

    python scripts/bench_loop.py DATA [DATA ...] --work DIR [--marks 20]

DATA are folders in a DCASE layout with labelled test clips. For each, `featstore build DATA STORE` and
`detect STORE --ensemble` run as a user runs them. Then the clips that are furthest above their threshold are marked
through the page's API (POST /marks): fault where the label is anomaly, normal where it is normal. `detect STORE
--ensemble` runs again: the faults take part in the choice, and the normal clips are in the banks. Printed, on the clips
that were not marked, which are the same before and after:

- the official score with its 95 % interval, and the difference with that of the paired comparison
  (`detectors.metrics.intervals.compare`);
- false alarms among the normal clips and hits among the anomalies at the stated rate of 10 %, and the paired bootstrap
  of the differences of both rates (95 %, clips drawn again within machine, section, domain and label).

The row `same members` runs the recipe of before with the marks: what the banks alone change.
"""

import argparse
import csv
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from detectors.metrics.intervals import Interval, compare, intervals
from detectors.metrics.labels import Labels
from detectors.metrics.scores import ScoreTable
from ensemble.output import labelled, year_of
from ensemble.page.scored import scored_of
from ensemble.recipe import read_recipe
from ensemble.review.server.app import application
from ensemble.review.session import Session
from ensemble.run import detect
from featstore.store import FeatureStore
from featstore.table import ClipTable

MARKED = 20
REPLICATES = 2000
MARK_OF = {"anomaly": "fault", "normal": "normal"}


def run(module: str, *arguments: object) -> None:
    """A command as a user gives it, without what it prints."""
    command = [sys.executable, "-m", module, *map(str, arguments)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


@dataclass(frozen=True)
class Run:
    """Scores and decisions of a run by clip."""

    score: dict[str, float]
    reported: dict[str, bool]

    @classmethod
    def of(cls, out: Path) -> "Run":
        """Those of the scores.csv of a folder."""
        with (out / "scores.csv").open(newline="", encoding="utf-8", errors="surrogateescape") as file:
            rows = list(csv.DictReader(file))
        scores = {row["clip"]: float(row["score"]) for row in rows}
        return cls(scores, {row["clip"]: row["decision"] == "1" for row in rows})

    def table(self, keys: tuple[str, ...]) -> ScoreTable:
        """The scores of some clips."""
        return ScoreTable("run", keys, np.array([self.score[key] for key in keys]))

    def decisions(self, labels: Labels) -> np.ndarray:
        """Whether each labelled clip is reported (m,)."""
        return np.array([self.reported[key] for key in labels.keys])


def mark_highest(store: Path, results: Path, count: int) -> dict[str, str]:
    """Mark the clips furthest above their threshold through the page's API; mark by key."""
    from starlette.testclient import TestClient

    opened = FeatureStore.open(store)
    detection = detect(opened, read_recipe(results / "recipe.toml"))
    session = Session(store, results, scored_of(detection, title=store.name), who="bench_loop")
    label, keys = detection.clips.column("label"), session.scored.keys
    marks = {keys[item.row]: MARK_OF[label[item.row]] for item in session.items[:count]}
    with TestClient(application(session), headers={"X-Review": "1"}) as client:
        for key, mark in marks.items():
            body = {"clip": key, "mark": mark, "start_s": None, "end_s": None, "note": ""}
            client.post("/marks", json=body).raise_for_status()
    return marks


def unmarked(store: Path, marked: dict[str, str]) -> tuple[Labels, int]:
    """Labels of the test clips without a mark that the official rule can measure, and the year of the rule."""
    opened = FeatureStore.open(store)
    clips = opened.clips(sorted(opened.embeddings)[0])
    tests = clips[clips.where(split="test", variant="")]
    kept: ClipTable = tests[np.array([key not in marked for key in tests.keys()])]  # noqa: SIM118 - a table
    year = year_of(kept)
    measurable, reasons = labelled(kept, year)
    for reason in reasons:
        print(f"left out: {reason}")
    return Labels.of(measurable), year


def rate_change(before: np.ndarray, after: np.ndarray, labels: Labels, anomalies: bool) -> Interval:
    """Difference of the share that is reported, among anomalies or normal clips, with its paired bootstrap."""
    rows = np.flatnonzero(labels.is_anomaly == anomalies)
    change = after[rows].astype(float) - before[rows]
    columns = [labels.machine[rows], labels.section[rows], labels.domain[rows]]
    stratum = np.unique(np.stack(columns), axis=1, return_inverse=True)[1].reshape(-1)
    rng = np.random.default_rng(0)
    drawn = np.zeros((REPLICATES, 0))
    for number in range(stratum.max() + 1):
        own = change[stratum == number]
        drawn = np.concatenate([drawn, own[rng.integers(len(own), size=(REPLICATES, len(own)))]], axis=1)
    low, high = np.quantile(drawn.mean(axis=1), [0.025, 0.975])
    return Interval(float(change.mean()), float(low), float(high))


def text(interval: Interval, sign: str = "") -> str:
    """An interval in points."""
    value, low, high = (format(100 * number, f"{sign}.1f") for number in (interval.value, interval.low, interval.high))
    return f"{value} [{low}, {high}]"


def rows_of(
    name: str, runs: dict[str, Run], labels: Labels, year: int, changes: dict[str, list[tuple[float, ...]]]
) -> list[str]:
    """The lines of a folder in the table; the first run is that of before. changes: are added to, by run."""
    lines, before = [], next(iter(runs.values()))
    for title, each in runs.items():
        table, reported = each.table(labels.keys), each.decisions(labels)
        normal, anomaly = ~labels.is_anomaly, labels.is_anomaly
        cells = [name, title, text(intervals(table, labels, year).score)]
        cells += [f"{int(reported[mask].sum())} of {int(mask.sum())}" for mask in (normal, anomaly)]
        if each is before:
            cells += ["", "", ""]
        else:
            was = before.decisions(labels)
            change = [compare(table, before.table(labels.keys), labels, year).score]
            change += [rate_change(was, reported, labels, anomalies) for anomalies in (False, True)]
            cells += [text(interval, "+") for interval in change]
            changes.setdefault(title, []).append(tuple(interval.value for interval in change))
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def bench(data: Path, work: Path, count: int, changes: dict[str, list[tuple[float, ...]]]) -> list[str]:
    """Run, mark, run again: the lines of one folder; its changes are added to `changes`."""
    store, out = work / f"{data.name}.store", work / data.name
    if not store.exists():
        run("featstore.cli", "build", data, store)
    with tempfile.TemporaryDirectory(dir=work) as folder:
        own = Path(shutil.copytree(store, Path(folder) / "store"))
        run("ensemble.cli", own, "--ensemble", "-o", out / "before")
        marks = mark_highest(own, out / "before", count)
        faults = sum(mark == "fault" for mark in marks.values())
        print(f"{data.name}: marked {faults} faults and {len(marks) - faults} false alarms as normal", flush=True)
        run("ensemble.cli", own, "--recipe", out / "before" / "recipe.toml", "-o", out / "same")
        run("ensemble.cli", own, "--ensemble", "-o", out / "after")
        labels, year = unmarked(store, marks)
    folders = {"before": "before", "same members": "same", "chosen again": "after"}
    runs = {title: Run.of(out / name) for title, name in folders.items()}
    marked = f"{data.name} ({faults} faults, {len(marks) - faults} normal)"
    return rows_of(marked, runs, labels, year, changes)


def main() -> None:
    """Parse, bench, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, nargs="+")
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--marks", type=int, default=MARKED, help=f"clips to mark in each folder [{MARKED}]")
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    changes: dict[str, list[tuple[float, ...]]] = {}
    lines = [line for data in args.data for line in bench(data, args.work, args.marks, changes)]
    for title, of_run in changes.items():
        means = (f"{100 * value:+.1f}" for value in np.mean(of_run, axis=0))
        lines.append(f"| mean of {len(of_run)} | {title} | | | | {' | '.join(means)} |")
    names = " ".join(data.name for data in args.data)
    print(f"\n`python scripts/bench_loop.py {names} --work DIR --marks {args.marks}`\n")
    header = ("data (marked)", "run", "official score", "false alarms", "hits")
    header += ("score: change", "false-alarm rate: change", "hit rate: change")
    print(f"| {' | '.join(header)} |\n|{'---|' * len(header)}")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
