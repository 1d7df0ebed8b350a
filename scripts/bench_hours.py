#!/usr/bin/env python3
"""Six hours of three machines with ten faults: share of detected faults, and false alarms per hour.

    scripts/bench_hours.py UAV NOISE [--work DIR] [--hours 6] [--snr-db -5] [--seed 0]

UAV: folder of ten-second flights with manifest.csv (file, section, split, label). NOISE: folder of backgrounds,
KIND_*.ogg. The recordings are made of them in ten-minute files:

- A machine is one of the first three sections. A file holds a few flights, which no other file of its half has, in
  turns of ten seconds, cross-faded, each from a random place. The half to train on is made of training flights, the
  half to be watched of normal test flights. So normal sound varies from file to file as from flight to flight.
- Every minute another background follows, of all that there are, at the stated signal-to-noise ratio.
- Ten faults of 5 to 60 s lie at random times of the watched hours: there the flights are those with a broken propeller.

`featstore build --window 10 --hop 5`, `detect fit` and `detect score` then run as a user would run them. A fault is
found if an event (neighbouring windows above the threshold) overlaps it; an event that overlaps no fault is false.
"""

import argparse
import csv
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import soundfile
import soxr

from featstore.console import table

RATE_HZ, FILE_S, FLIGHT_S, BACKGROUND_S = 16000, 600, 10, 60
FADE = RATE_HZ // 20
SECTIONS, FAULTS = ("00", "01", "02"), 10
RATES = (0.01, 0.001)


@dataclass(frozen=True)
class Fault:
    """A fault in a file: start and end in seconds."""

    file: str
    start_s: float
    end_s: float


class Sounds:
    """Flights by (section, split, label), and backgrounds, float32 at RATE_HZ."""

    def __init__(self, uav: Path, noise: Path) -> None:
        self.flights: dict[tuple[str, str, str], list[np.ndarray]] = {}
        with (uav / "manifest.csv").open() as file:
            for row in csv.DictReader(file):
                place = (row["section"], row["split"], row["label"])
                self.flights.setdefault(place, []).append(read(uav / row["file"]))
        self.backgrounds = [read(path) for path in sorted(noise.glob("*.ogg"))]


def read(path: Path) -> np.ndarray:
    """A recording as one channel of power 1."""
    wave, rate_hz = soundfile.read(path, dtype="float32", always_2d=True)
    mono = soxr.resample(wave.mean(axis=1), rate_hz, RATE_HZ)
    return mono / np.sqrt(np.mean(mono**2) + 1e-12)


def sequence(waves: list[np.ndarray], seconds: int, each_s: int, rng: np.random.Generator) -> np.ndarray:
    """Waves for `each_s` seconds one after the other, drawn at random, each from a random place, cross-faded."""
    n, length = seconds * RATE_HZ, each_s * RATE_HZ
    out, ramp = np.zeros(n + FADE, dtype=np.float32), np.linspace(0, 1, FADE, dtype=np.float32)
    for start in range(0, n, length):
        wave = waves[int(rng.integers(len(waves)))]
        part = np.resize(np.roll(wave, int(rng.integers(len(wave)))), min(length, n - start) + FADE)
        part[:FADE] *= ramp
        part[-FADE:] *= ramp[::-1]
        out[start : start + len(part)] += part
    return out[:n]


def make(sounds: Sounds, folder: Path, arguments: argparse.Namespace) -> list[Fault]:
    """Write the recordings, as train/MACHINE and watched/MACHINE, and return the faults of the latter."""
    rng = np.random.default_rng(arguments.seed)
    files = arguments.hours * 3600 // FILE_S // len(SECTIONS)
    gain, faults = 10 ** (-arguments.snr_db / 20), list[Fault]()
    for split, half in (("train", "train"), ("test", "watched")):
        for section in SECTIONS:
            machine = f"uav{section}"
            (folder / half / machine).mkdir(parents=True, exist_ok=True)
            normal = sounds.flights[section, split, "normal"]
            for number in range(files):
                spans = fault_spans(rng, section, number, files) if half == "watched" else []
                wave = sequence(normal[number::files] or [normal[number % len(normal)]], FILE_S, FLIGHT_S, rng)
                for start, end in spans:
                    broken = sequence(sounds.flights[section, "test", "anomaly"], 60, FLIGHT_S, rng)
                    first, count = round(start * RATE_HZ), round((end - start) * RATE_HZ)
                    wave[first : first + count] = broken[:count]
                wave += gain * sequence(sounds.backgrounds, FILE_S, BACKGROUND_S, rng)
                name = f"{half}/{machine}/{number:03d}.wav"
                soundfile.write(folder / name, np.clip(0.05 * wave, -1, 1), RATE_HZ, subtype="PCM_16")
                faults += [Fault(f"{machine}/{number:03d}.wav", *span) for span in spans]
    return faults


def fault_spans(rng: np.random.Generator, section: str, number: int, files: int) -> list[tuple[float, float]]:
    """Faults of one file: FAULTS files in all have one, spread over the machines."""
    chosen = {int(at) for at in np.linspace(0, len(SECTIONS) * files - 1, FAULTS).round()}
    if SECTIONS.index(section) * files + number not in chosen:
        return []
    length = float(rng.uniform(5, 60))
    start = float(rng.uniform(30, FILE_S - 30 - length))
    return [(start, start + length)]


def command(*words: object) -> str:
    """Standard output of a command of this project."""
    module, *rest = map(str, words)
    run = subprocess.run([sys.executable, "-m", module, *rest], check=False, stdout=subprocess.PIPE, text=True)
    if run.returncode not in (0, 3):
        raise SystemExit(f"{module} {' '.join(rest)} ended with {run.returncode}")
    return run.stdout


def events(lines: Iterator[dict[str, object]]) -> Iterator[tuple[str, float, float]]:
    """Recording, start and end of runs of neighbouring reported windows."""
    last: tuple[str, float, float] | None = None
    for line in lines:
        if not line.get("anomaly"):
            continue
        clip, start, end = str(line["clip"]), float(str(line["start_s"])), float(str(line["end_s"]))
        if last and last[0] == clip and start <= last[2] + 1e-3:
            last = (clip, last[1], max(end, last[2]))
            continue
        if last:
            yield last
        last = (clip, start, end)
    if last:
        yield last


def row(work: Path, data: Path, rate: float, faults: list[Fault], hours: float) -> list[str]:
    """Fit at a rate, score the watched hours, and count."""
    model = work / f"{rate:g}.model"
    command("ensemble.cli", "fit", work / "store", "--fpr", rate, "-o", model)
    scored = command("ensemble.cli", "score", model, data / "watched", "--json")
    lines = [json.loads(line) for line in scored.splitlines()]
    windows = [line for line in lines if "score" in line]
    seen = list(events(iter(windows)))
    of_fault = {fault: [event for event in seen if overlaps(event, fault)] for fault in faults}
    true = {event for of in of_fault.values() for event in of}
    false = [event for event in seen if event not in true]
    found = [fault for fault, of in of_fault.items() if of]
    late = [max(0.0, min(end for _, _, end in of_fault[fault]) - fault.end_s) for fault in found]
    normal = [line for line in windows if not any(overlaps(span(line), fault) for fault in faults)]
    reported = sum(bool(line["anomaly"]) for line in normal)
    return [
        f"{100 * rate:g} %",
        f"{len(found)} of {len(faults)}",
        f"{len(false) / hours:.1f}",
        f"{100 * reported / len(normal):.2f} %",
        f"{max(late, default=float('nan')):.0f} s",
    ]


def span(line: dict[str, object]) -> tuple[str, float, float]:
    """Recording, start and end of a scored window."""
    return str(line["clip"]), float(str(line["start_s"])), float(str(line["end_s"]))


def overlaps(event: tuple[str, float, float], fault: Fault) -> bool:
    """Whether an event and a fault share time of one recording."""
    clip, start, end = event
    return clip == fault.file and start < fault.end_s and end > fault.start_s


def report(work: Path, arguments: argparse.Namespace) -> None:
    """Make the recordings, build, fit and score, and print the table."""
    data = work / "data"
    truth = work / "faults.json"
    if not truth.exists():
        faults = make(Sounds(arguments.uav, arguments.noise), data, arguments)
        truth.write_text(json.dumps([asdict(fault) for fault in faults]))
        command("featstore.cli", "build", data / "train", work / "store", "--window", 10, "--hop", 5)
    faults = [Fault(**raw) for raw in json.loads(truth.read_text())]
    header = ["nominal rate", "faults found", "false events / h", "normal windows reported", "first alarm after fault"]
    print(table(header, [row(work, data, rate, faults, arguments.hours) for rate in RATES]))


def main() -> None:
    """Measure in a folder of its own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("uav", type=Path)
    parser.add_argument("noise", type=Path)
    parser.add_argument("--work", type=Path, help="Folder that keeps recordings, store and models.")
    parser.add_argument("--hours", type=int, default=6)
    parser.add_argument("--snr-db", type=float, default=-5.0)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        work = arguments.work or Path(folder)
        work.mkdir(parents=True, exist_ok=True)
        report(work, arguments)


if __name__ == "__main__":
    main()
