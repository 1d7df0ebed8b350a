#!/usr/bin/env python3
"""What one recording costs with a fitted model, and what a folder, a 12-hour file and a stream cost.

    scripts/bench_scoring.py DATA [--work DIR]

DATA is a dataset folder of ten-second clips (`featstore simulate DATA --clips 900`). Builds a store, fits the ensemble
of --ensemble and its ten heaviest members, and prints four tables:

1. milliseconds per clip, warm, in one process with one thread: reading, embedding, scoring;
2. clips per second of `detect score FOLDER` and of `featstore build` for the same new clips, in turns, both as whole
   commands with as many processes as cores;
3. peak memory of `detect score` for one minute and for 12 hours in one file, with windows of 10 s every 10 s;
4. seconds of sound per second of `detect stream` from a pipe that is never empty, windows of 10 s every 5 s.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from statistics import median
from time import perf_counter

os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", MKL_NUM_THREADS="1")  # before the libraries load

import numpy as np

from ensemble.recipe import read_recipe, write_recipe
from ensemble.scoring.file import read_model
from ensemble.scoring.model import Model
from featstore.audio.hashes import content_hash
from featstore.building.work import Task
from featstore.clip import Clip
from featstore.console import table
from featstore.store import FeatureStore

HOURS, RATE_HZ = 12, 16000
ROUNDS, CLIPS, TEN = 3, 100, 10


def command(*words: object, **options: object) -> subprocess.CompletedProcess[str]:
    """Run a command of this project in a process of its own."""
    module, *rest = map(str, words)
    line = [sys.executable, "-m", module, *rest]
    return subprocess.run(line, check=True, text=True, capture_output=True, **options)  # type: ignore[call-overload, no-any-return]


def fitted(store: Path, folder: Path) -> dict[str, Path]:
    """Model files: the chosen ensemble, and its ten heaviest members."""
    models = {"chosen": folder / "chosen.model", "ten members": folder / "ten.model"}
    command("ensemble.cli", "run", store, "--ensemble", "-o", folder / "results")
    recipe = read_recipe(folder / "results/recipe.toml")
    heaviest = sorted(recipe.members, key=lambda member: -member.weight)[:TEN]
    write_recipe(replace(recipe, members=tuple(heaviest)), folder / "ten.toml")
    command("ensemble.cli", "fit", store, "--recipe", folder / "results/recipe.toml", "-o", models["chosen"])
    command("ensemble.cli", "fit", store, "--recipe", folder / "ten.toml", "-o", models["ten members"])
    return models


def single_clips(path: Path, files: list[Path]) -> list[object]:
    """Median milliseconds of a clip: reading, embedding, scoring, and all of it in one call."""
    model = Model.load(path, device="cpu")
    for file in files[:10]:
        model.score_file(file)
    wanted, whole = tuple(range(len(model.lines))), model.worker.job
    times = []
    for file in files:
        clip, task = Clip(str(file), *model.section_of(str(file)), "test"), Task((str(file),), wanted)
        marks = [perf_counter()]
        model.worker.job = replace(whole, embeds=False)
        results = model.worker.run(task)
        marks.append(perf_counter())
        model.worker.embed(task, results)
        marks.append(perf_counter())
        model.verdicts([clip], [[of_embedder[0] for of_embedder in results]])
        marks.append(perf_counter())
        model.worker.job = whole
        model.score_file(file)
        times.append(np.diff([*marks, perf_counter()]))
    return [f"{value:.1f}" for value in 1000 * np.median(times, axis=0)]


def new_clips(known: Path, folder: Path, count: int) -> int:
    """Normal clips of the same simulated plant that are not among the known ones, in FOLDER/MACHINE/test/normal."""
    command("featstore.cli", "simulate", folder.with_name("more"), "--clips", 4 * count)
    contents = {content_hash(path) for path in known.rglob("*.wav")}
    fresh = [path for path in sorted(folder.with_name("more").rglob("*_normal_*.wav")) if "_source_" in path.name]
    fresh = [path for path in fresh if content_hash(path) not in contents]
    for path in fresh[:: max(1, len(fresh) // count)][:count]:
        place = folder / path.parent.parent.name / "test" / "normal"
        place.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, place / f"section_00_{path.parent.name}_{path.name}")
    return len(list(folder.rglob("*.wav")))


def folders(model: Path, data: Path, work: Path, clips: int) -> list[list[object]]:
    """Row of the second table: scoring and building the same new clips as whole commands, in turns."""
    store, times = work / "new.store", dict[str, list[float]](build=[], score=[])
    clips = new_clips(data, work / "new", clips)
    for _ in range(ROUNDS):
        shutil.rmtree(store, ignore_errors=True)
        start = perf_counter()
        command("featstore.cli", "build", work / "new", store, "--layout", "folder", "--anomalies", "none")
        built = perf_counter()
        command("ensemble.cli", "score", model, work / "new", "--layout", "folder", "--csv")
        times["build"].append(built - start)
        times["score"].append(perf_counter() - built)
    rates = {name: clips / median(values) for name, values in times.items()}
    ratios = [b / s for b, s in zip(times["build"], times["score"], strict=True)]
    return [[f"{rates['build']:.0f}", f"{rates['score']:.0f}", f"{100 * median(ratios):.0f} %"]]


def long_files(data: Path, work: Path) -> list[list[object]]:
    """Rows of the third table: seconds and largest process of scoring one minute and 12 hours in one file."""
    store, model, rows = work / "windows.store", work / "windows.model", []
    command("featstore.cli", "build", data, store, "--window", "10", "--hop", "10", "--anomalies", "none")
    command("ensemble.cli", "fit", store, "--default", "-o", model)
    machine, section = FeatureStore.open(store).clips("logmel").sections()[0]
    for seconds in (60, HOURS * 3600):
        file = work / "long.wav"
        write_noise(file, seconds)
        line = ["ensemble.cli", "score", str(model), str(file), "--machine", machine, "--section", section, "--csv"]
        start = perf_counter()
        child = subprocess.Popen([sys.executable, "-m", *line], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode:
            raise SystemExit(f"detect score ended with {child.returncode}")
        rows.append([f"{seconds / 3600:.2f} h", f"{usage.ru_maxrss / 1024:.0f} MB", f"{perf_counter() - start:.0f} s"])
        file.unlink()
    return rows


def write_noise(path: Path, seconds: int) -> None:
    """A 16-bit WAV of noise, a minute of which repeats."""
    import soundfile

    minute = (0.1 * np.random.default_rng(0).standard_normal(60 * RATE_HZ)).clip(-1, 1).astype(np.float32)
    with soundfile.SoundFile(path, "w", RATE_HZ, 1, "PCM_16") as sound:
        for _ in range(seconds // 60):
            sound.write(minute)


def stream(model: Path, work: Path, minutes: int = 10) -> list[list[object]]:
    """Row of the fourth table: how much faster than real time a stream is scored."""
    samples = (3000 * np.random.default_rng(0).standard_normal(60 * RATE_HZ)).astype("<i2")
    raw = work / "stream.raw"
    raw.write_bytes(np.tile(samples, minutes).tobytes())
    place = ["--machine", "fan", "--section", "00"]
    line = ["ensemble.cli", "stream", str(model), "-", "--rate", str(RATE_HZ), "--window", "10", "--hop", "5", *place]
    start = perf_counter()
    with raw.open("rb") as file:
        command(*line, stdin=file)
    seconds = perf_counter() - start
    return [[f"{minutes} min", f"{seconds:.1f} s", f"{60 * minutes / seconds:.0f}"]]


def report(data: Path, work: Path) -> None:
    """Measure, and print every table when it is there."""
    work.mkdir(parents=True, exist_ok=True)
    store = work / "store"
    if not store.exists():
        command("featstore.cli", "build", data, store)
    models = fitted(store, work)
    files = sorted(data.rglob("test/*.wav"))
    clips = len(list(data.rglob("*.wav")))
    header = ["model", "members", "read ms", "embed ms", "score ms", "whole clip ms"]
    rows = []
    for name, model in models.items():
        members = len(read_model(model)[0]["recipe"].split("[[member]]")) - 1
        rows.append([name, members, *single_clips(model, files[:CLIPS])])
    print(table(header, rows), end="\n\n", flush=True)
    rates = folders(models["ten members"], data, work, clips)
    print(table(["build clips/s", "score clips/s", "score / build"], rates), end="\n\n", flush=True)
    print(table(["one file", "largest process", "time"], long_files(data, work)), end="\n\n", flush=True)
    print(table(["stream", "time", "times real time"], stream(models["ten members"], work)))


def main() -> None:
    """Measure in a folder of its own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--work", type=Path, help="Folder that keeps the store and the models.")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        report(arguments.data, arguments.work or Path(folder))


if __name__ == "__main__":
    main()
