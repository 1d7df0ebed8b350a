#!/usr/bin/env python3
"""Delay from a fault to the alarm of `detect watch`, for recorders that write a file every minute.

    scripts/bench_watch.py WORK [--rate 0.01]

WORK: the folder of `scripts/bench_hours.py --work WORK`, with its model, recordings and faults. The minutes from the
start to the end of every fault are written one after the other into a watched folder, each in four pieces, as a
recorder does. Printed are the seconds from the last byte of a file to its last result, and those from the end of a
fault to its alarm: the rest of the minute in which the fault ends, plus the former.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from threading import Thread
from typing import Any

import soundfile

from featstore.console import table

MINUTE_S, PIECES, APART_S = 60, 4, 7200
TIMEOUT_S = 120.0


@dataclass(frozen=True)
class Told:
    """A line of the watch, and when it was read."""

    at: float
    message: dict[str, Any]


class Watched:
    """A watch in a process of its own, and what it has told."""

    def __init__(self, model: Path, folder: Path) -> None:
        line = ["ensemble.cli", "watch", model, folder, "--heartbeat", 2, "--journal", folder.with_name("journal")]
        words = [sys.executable, "-m", *map(str, line)]
        self.process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self.told: list[Told] = []
        Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        for line in self.process.stdout or ():
            self.told.append(Told(time.time(), json.loads(line)))

    def wait(self, kind: str, file: str = "") -> float:
        """When the last message of a kind, about a file, was told; waits for the first."""
        until = time.time() + TIMEOUT_S
        while time.time() < until:
            known = list(self.told)
            times = [t.at for t in known if t.message["type"] == kind and file in ("", t.message.get("file"))]
            if times:
                return max(times)
            time.sleep(0.02)
        raise SystemExit(f"no {kind} of {file} within {TIMEOUT_S:g} s")


def write_minute(source: Path, number: int, path: Path, end: float) -> float:
    """Write one minute of a recording in pieces, as if it had ended at `end`; when the last byte was written."""
    wave, rate_hz = soundfile.read(source, MINUTE_S * 16000, start=number * MINUTE_S * 16000, dtype="int16")
    step = -(-len(wave) // PIECES)
    with soundfile.SoundFile(path, "w", rate_hz, 1, "PCM_16") as sound:
        for start in range(0, len(wave), step):
            sound.write(wave[start : start + step])
            sound.flush()
            time.sleep(0.2)
    os.utime(path, (end, end))
    return time.time()


def measure(work: Path, rate: float, folder: Path) -> list[list[str]]:
    """A row of medians and maxima for files, and one for faults."""
    faults = json.loads((work / "faults.json").read_text())
    watched = Watched(work / f"{rate:g}.model", folder)
    files, alarms, began = [], [], time.time() - APART_S * (len(faults) + 1)
    try:
        watched.wait("heartbeat")
        for i, fault in enumerate(faults):
            machine = Path(fault["file"]).parent.name
            (folder / machine).mkdir(exist_ok=True)
            last = int(fault["end_s"] // MINUTE_S)
            written = {}
            for number in range(int(fault["start_s"] // MINUTE_S), last + 1):
                name = f"{machine}/{i:02d}_{number:02d}.wav"
                end = began + i * APART_S + (number + 1) * MINUTE_S
                written[name] = write_minute(work / "data" / "watched" / fault["file"], number, folder / name, end)
                files.append(watched.wait("result", name) - written[name])
            of_fault = [t for t in list(watched.told) if t.message["type"] == "alarm" and t.message["file"] in written]
            if of_fault:
                rest = (last + 1) * MINUTE_S - fault["end_s"]
                first = of_fault[0]
                done = written[first.message["file"]]
                is_last = first.message["file"].endswith(f"_{last:02d}.wav")
                alarms.append((first.at - done, rest + first.at - done if is_last else 0.0))
    finally:
        watched.process.terminate()
        watched.process.wait()
    rows = [["last byte to last result of a file", f"{len(files)}", *spread(files)]]
    rows.append(["last byte to alarm", f"{len(alarms)} of {len(faults)}", *spread([after for after, _ in alarms])])
    rows.append(["end of fault to alarm", f"{len(alarms)} of {len(faults)}", *spread([whole for _, whole in alarms])])
    return rows


def spread(values: list[float]) -> list[str]:
    """Median and maximum in seconds."""
    return [f"{median(values):.2f} s", f"{max(values):.2f} s"] if values else ["-", "-"]


def main() -> None:
    """Measure in a folder of its own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path)
    parser.add_argument("--rate", type=float, default=0.01)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        watched = Path(folder) / "watched"
        watched.mkdir()
        print(table(["time", "count", "median", "maximum"], measure(arguments.work, arguments.rate, watched)))


if __name__ == "__main__":
    main()
