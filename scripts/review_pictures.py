#!/usr/bin/env python3
"""Pictures of the page of `detect review` for the docs: desktop, phone, dark. Needs Chromium and its driver.

    python scripts/review_pictures.py [--work FOLDER] [--out docs]

The plant is simulated: a week of four machines, of which a gearbox develops a fault and a pump has one. File names hold
the times of the recordings, and no label is known to the store.
"""

import argparse
import csv
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "support"))

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

MACHINES = ("fan", "pump", "gearbox", "valve")
WEEK = datetime(2026, 3, 2, 6, 0)
TRAINING = 40
"""Training recordings of each machine."""

FAULTS = {"gearbox": range(14, 24), "pump": range(9, 11)}
"""Places of the faulty recordings of a machine among the 24 of its week, in the order of time."""


def main() -> None:
    """Make the plant, its store and its results; open the page and take the pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, help="Folder to keep the plant in; default a temporary one.")
    parser.add_argument("--out", type=Path, default=ROOT / "docs")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        work = arguments.work or Path(temporary)
        data, store, results = dated_plant(work)
        with page(store, results, data) as address:
            pictures(address, arguments.out, Path(temporary))


def dated_plant(work: Path) -> tuple[Path, Path, Path]:
    """Folders of recordings, store and results below `work`, made where they are missing."""
    data, store, results = work / "recordings", work / "plant", work / "results"
    if not results.is_dir():
        run("featstore", "simulate", work / "raw", "--machines", ",".join(MACHINES), "--clips", 480, "--seconds", 6)
        arrange(work / "raw", data)
        run("featstore", "build", data / "recordings.csv", store)
        run("detect", store, "--ensemble", "--data", data, "-o", results)
    return data, store, results


def arrange(raw: Path, data: Path) -> None:
    """Copy recordings of the source domain to names that hold a time, and list them without labels in a table."""
    with (raw / "truth.csv").open(newline="", encoding="utf-8") as file:
        truth = [row for row in csv.DictReader(file) if row["domain"] == "source"]
    rows: list[list[str]] = [["path", "machine", "split", "label"]]
    for machine in MACHINES:
        own = [row for row in truth if row["machine"] == machine]
        faulty = iter([row for row in own if row["label"] == "anomaly"])
        normal = [row for row in own if row["label"] == "normal"]
        training, others = normal[:TRAINING], iter(normal[TRAINING:])
        for i, row in enumerate(training):
            rows.append(copied(raw, data, row, WEEK - timedelta(days=21) + timedelta(hours=12 * i), "train"))
        for i in range(24):
            row = next(faulty if i in FAULTS.get(machine, ()) else others)
            rows.append(copied(raw, data, row, WEEK + timedelta(hours=7 * i), "test"))
    with (data / "recordings.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)


def copied(raw: Path, data: Path, row: dict[str, str], when: datetime, split: str) -> list[str]:
    """Copy a recording; returns its row of the table."""
    name = f"{row['machine']}/{when:%Y-%m-%d_%H-%M-%S}.wav"
    (data / name).parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(raw / row["file_name"], data / name)
    return [name, row["machine"], split, "normal" if split == "train" else ""]


def run(*command: object) -> None:
    """Run a command of the project; its messages go to the terminal."""
    subprocess.run([str(part) for part in command], check=True, stdout=subprocess.DEVNULL)


@contextmanager
def page(store: Path, results: Path, data: Path) -> Iterator[str]:
    """The address of a running page."""
    command = ["detect", "review", str(store), "--results", str(results), "--data", str(data)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            line = next(line for line in server.stdout if "http://" in line)
            yield re.search(r"http://\S+", line)[0]  # type: ignore[index]
        finally:
            server.terminate()


def pictures(address: str, out: Path, work: Path) -> None:
    """Every picture of the docs."""
    from browser import browser, resize

    with browser(work) as driver:
        driver.get(address)
        for name, part, (width, height), dark in SHOTS:
            resize(driver, width, height, dark=dark)
            show(driver, part)
            driver.save_screenshot(str(out / f"review-{name}.png"))
            print(f"wrote {out / f'review-{name}.png'}")


SHOTS = (
    ("overview", "overview", (1280, 800), False),
    ("triage", "triage", (1280, 900), False),
    ("threshold", "threshold", (1280, 800), False),
    ("map-dark", "map", (1280, 800), True),
    ("phone", "triage", (375, 760), False),
)
"""Name of a picture, the part that it shows, its size in pixels, and whether its colours are dark."""


def show(driver: "Chrome", part: str) -> None:
    """Show a part and wait until it has drawn."""
    driver.execute_script(f"location.hash = '#{part}'")
    time.sleep(4)


if __name__ == "__main__":
    main()
