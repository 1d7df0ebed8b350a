"""A simulated plant whose file names hold times: a week of machines, some of which have faults; its store and results.

No label of the week is known to the store.
"""

import csv
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import NamedTuple

WEEK = datetime(2026, 3, 2, 6, 0)


class Folders(NamedTuple):
    """Folders of recordings, store and results."""

    data: Path
    store: Path
    results: Path


@dataclass(frozen=True)
class Plan:
    """Machines, how many recordings the simulation makes of all and their length, and what is taken of these.

    training: training recordings of each machine; week: recordings of its week. anomalies: those to generate. faults:
    places of the faulty ones of a machine among these, in the order of time.
    """

    machines: Sequence[str] = ("fan", "pump", "gearbox", "valve")
    clips: int = 480
    seconds: float = 6
    training: int = 40
    week: int = 24
    anomalies: str = "auto"
    faults: Mapping[str, Sequence[int]] = field(default_factory=lambda: {"gearbox": range(14, 24), "pump": (9, 10)})


def dated_plant(work: Path, plan: Plan | None = None, *, ensemble: bool = True) -> Folders:
    """The folders below `work`, made where they are missing. ensemble: run the chosen one, else the default."""
    plan = plan or Plan()
    folders = Folders(work / "recordings", work / "plant", work / "results")
    if not folders.results.is_dir():
        sizes = ("--machines", ",".join(plan.machines), "--clips", plan.clips, "--seconds", plan.seconds)
        run("featstore", "simulate", work / "raw", *sizes)
        arrange(work / "raw", folders.data, plan)
        made = ("--anomalies", plan.anomalies)
        run("featstore", "build", folders.data / "recordings.csv", folders.store, *made)
        choice = "--ensemble" if ensemble else "--default"
        run("detect", folders.store, choice, "--data", folders.data, "-o", folders.results)
    return folders


def arrange(raw: Path, data: Path, plan: Plan) -> None:
    """Copy recordings of the source domain to names that hold a time, and list them in a table."""
    with (raw / "truth.csv").open(newline="", encoding="utf-8") as file:
        truth = [row for row in csv.DictReader(file) if row["domain"] == "source"]
    rows: list[list[str]] = [["path", "machine", "split", "label"]]
    for machine in plan.machines:
        own = [row for row in truth if row["machine"] == machine]
        faulty = iter([row for row in own if row["label"] == "anomaly"])
        normal = iter([row for row in own if row["label"] == "normal"])
        for i in range(plan.training):
            when = WEEK - timedelta(days=21) + timedelta(hours=12 * i)
            rows.append(_copied(raw, data, next(normal), when, "train"))
        for i in range(plan.week):
            row = next(faulty if i in plan.faults.get(machine, ()) else normal)
            rows.append(_copied(raw, data, row, WEEK + timedelta(hours=7 * i), "test"))
    with (data / "recordings.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)


def _copied(raw: Path, data: Path, row: dict[str, str], when: datetime, split: str) -> list[str]:
    """Copy a recording; returns its row of the table."""
    name = f"{row['machine']}/{when:%Y-%m-%d_%H-%M-%S}.wav"
    (data / name).parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(raw / row["file_name"], data / name)
    return [name, row["machine"], split, "normal" if split == "train" else ""]


def run(*command: object) -> None:
    """Run a command of the project."""
    subprocess.run([str(part) for part in command], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
