"""A simulated plant: computed recordings of machines in the layout of a DCASE year, for the demo and for tests.

    OUT/simulation.json                                   the parameters; marks OUT as a simulated plant
    OUT/dev_data/raw/<machine>/{train,test}/*.wav         16-bit; normal clips train, half of the test clips faulty
    OUT/dev_data/raw/<machine>/attributes_00.csv          file_name,d1p,d1v,... as in the challenge
    OUT/truth.csv                                         fault and severity of every clip; written last

The style of 2020 is described in featstore.plant.individuals.dcase2020.
A clip depends only on the seed and on its machine, split, domain, label and number: more clips, other machines or
another number of worker processes do not change it (on one platform with one set of library versions).
"""

import csv
import io
import json
import wave
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from featstore.building.cores import cores
from featstore.disk.files import free_bytes, is_full
from featstore.errors import DataError, ResourceError
from featstore.plant.plan import RAW, Plant
from featstore.plant.style import DCASE2023, AnyPlant, C, P, Style

VERSION = 1
PARAMETER_FILE = "simulation.json"
CHUNK = 32  # clips per task of a worker
CLIPS_PER_WORKER = 100  # for fewer clips, starting another process takes longer than it saves
SPARE_BYTES = 64 << 20


@dataclass(frozen=True)
class Simulation:
    """Result of `simulate`: recordings in the folder, and how many of them were rendered in this call."""

    clips: int
    rendered: int


def simulate(
    out: Path,
    plant: AnyPlant | None = None,
    style: Style[Any, Any] = DCASE2023,
    *,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Simulation:
    """Write a simulated plant to `out`, or finish one that was interrupted.

    style: that of the plant. workers: processes, by default one per usable core. progress(done, total) is called as
    clips are finished. Raises DataError for a folder with other content and ResourceError where the disk is too small.
    """
    plant = plant or Plant()
    if not out.exists():  # before a plan of any size is listed
        _check_space(out.absolute().parent, plant.clips * plant.file_bytes)
    clips = list(style.plan(plant))
    _claim(out, plant, style)
    missing = [clip for clip in clips if not _is_done(out / clip.path, plant)]
    _check_space(out, len(missing) * plant.file_bytes)
    for machine in plant.machines:
        for split in ("train", "test"):
            _make_folder(out / RAW / machine / split)
    done = len(clips) - len(missing)
    for count in _render_all(out, plant, style, missing, workers):
        done += count
        if progress:
            progress(done, len(clips))
    for path, rows in style.tables(plant, clips):
        _write(out / path, _csv(rows))
    return Simulation(len(clips), len(missing))


def _render_all(out: Path, plant: P, style: Style[P, C], clips: Sequence[C], workers: int | None) -> Iterator[int]:
    """Render `clips` and yield the number of clips of each finished task."""
    chunks = [clips[start : start + CHUNK] for start in range(0, len(clips), CHUNK)]
    workers = cores() if workers is None else workers
    workers = min(workers, -(-len(clips) // CLIPS_PER_WORKER))
    if workers <= 1:
        yield from (_render(out, plant, style, chunk) for chunk in chunks)
        return
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        tasks = [pool.submit(_render, out, plant, style, chunk) for chunk in chunks]
        try:
            yield from (task.result() for task in as_completed(tasks))
        finally:
            pool.shutdown(cancel_futures=True)


def _render(out: Path, plant: P, style: Style[P, C], clips: Sequence[C]) -> int:
    for clip in clips:
        pcm = np.round(style.synthesise(plant, clip) * 32767).astype("<i2")
        content = io.BytesIO()
        with wave.open(content, "wb") as file:
            file.setparams((plant.channels, 2, plant.sample_rate_hz, len(pcm), "NONE", ""))
            file.writeframes(pcm.tobytes())
        _write(out / clip.path, content.getvalue())
    return len(clips)


def _claim(out: Path, plant: P, style: Style[P, C]) -> None:
    """Mark `out` as the folder of this simulation; DataError where it has other content."""
    parameters = {"simulated": True, "by": "featstore simulate", "version": VERSION, **style.parameters(plant)}
    wanted = json.loads(json.dumps(parameters))
    mark = out / PARAMETER_FILE
    if mark.is_file():
        try:
            marked = json.loads(mark.read_text())
        except ValueError as error:
            raise DataError(f"{mark}: not readable as JSON ({error}); choose another folder") from error
        if marked != wanted:
            different = [key for key in wanted if not isinstance(marked, dict) or marked.get(key) != wanted[key]]
            raise DataError(
                f"{out}: a simulated plant with other parameters ({', '.join(different) or 'extra keys'} differ); "
                "use the same parameters to resume it, or another folder"
            )
        return
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise DataError(f"{out}: not empty and has no {PARAMETER_FILE}; choose a new or an empty folder")
    _make_folder(out)
    _write(mark, (json.dumps(parameters, indent=2) + "\n").encode())


def _is_done(path: Path, plant: AnyPlant) -> bool:
    return path.is_file() and path.stat().st_size == plant.file_bytes


def _check_space(out: Path, needed: int) -> None:
    if is_full(out, needed + SPARE_BYTES):
        raise ResourceError(
            f"{out}: the simulated recordings need {needed:,} bytes, {free_bytes(out):,} are free; "
            "simulate fewer clips, or free space and start again to resume"
        )


def _make_folder(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"{path}: cannot be created ({error.strerror or error}); choose another folder") from error


def _write(path: Path, content: bytes) -> None:
    """Write all of a file or nothing."""
    # Without fsync, unlike `write_new`: there are thousands of recordings, and a lost one is simulated again.
    part = path.with_name(f".{path.name}.part")
    try:
        part.write_bytes(content)
        part.replace(path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise ResourceError(f"{path}: cannot be written ({error.strerror or error}); start again to resume") from error


def _csv(rows: Sequence[Sequence[str]]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode()
