"""A simulated plant: computed recordings of machines in the DCASE 2023 layout, for the demo and for load tests.

    OUT/simulation.json                                   the parameters; marks OUT as a simulated plant
    OUT/dev_data/raw/<machine>/{train,test}/*.wav         16-bit mono; normal clips train, half of the test clips faulty
    OUT/dev_data/raw/<machine>/attributes_00.csv          file_name,d1p,d1v,... as in the challenge
    OUT/truth.csv                                         fault and severity of every clip; written last

A clip depends only on the seed and on its machine, split, domain, label and number: more clips, other machines or
another number of worker processes do not change it (on one platform with one set of library versions).
"""

import csv
import io
import json
import wave
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, replace
from itertools import chain
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from scipy import fft

from featstore.building.cores import cores
from featstore.disk.files import free_bytes, is_full
from featstore.errors import DataError, ResourceError
from featstore.plant.acoustics import Grid, Place, Scene, rng_of
from featstore.plant.machines import MACHINES

VERSION = 1
RAW = "dev_data/raw"
PARAMETER_FILE = "simulation.json"
SEVERITIES = (0.25, 0.5, 0.75, 1.0)
CHUNK = 32  # clips per task of a worker
CLIPS_PER_WORKER = 100  # for fewer clips, starting another process takes longer than it saves
WAV_HEADER_BYTES = 44
SPARE_BYTES = 64 << 20


@dataclass(frozen=True)
class Plant:
    """Parameters of a simulated plant; equal plants give equal recordings.

    clips: all recordings of all machines, training and test. Of a machine's clips two fifths, but at most 200, are test
    clips, in equal parts source/target and normal/anomaly. Of its training clips 1 in 100, but at least 10 (or a tenth,
    if that is fewer), are from the target domain.
    """

    clips: int = 1200
    machines: tuple[str, ...] = tuple(MACHINES)
    seed: int = 0
    seconds: float = 10.0
    sample_rate_hz: int = 16000

    def __post_init__(self) -> None:
        unknown = [name for name in self.machines if name not in MACHINES]
        if unknown or not self.machines or len(set(self.machines)) < len(self.machines):
            raise DataError(
                f"machines {', '.join(self.machines) or '(none)'}: choose one or more, each once, from "
                f"{', '.join(MACHINES)}"
            )
        if self.clips < 8 * len(self.machines):
            raise DataError(
                f"{self.clips} clips for {len(self.machines)} machines: a simulated machine needs at least 8; "
                f"choose {8 * len(self.machines)} clips or more, or fewer machines"
            )
        if not 1 <= self.seconds <= 600 or not 8000 <= self.sample_rate_hz <= 192000 or self.seed < 0:
            raise DataError(
                "expected recordings of 1 to 600 seconds at 8000 to 192000 Hz and a seed of at least 0, "
                f"got {self.seconds:g} s, {self.sample_rate_hz} Hz, seed {self.seed}"
            )

    @property
    def samples(self) -> int:
        """Samples per recording."""
        return round(self.seconds * self.sample_rate_hz)

    @property
    def file_bytes(self) -> int:
        """Size of one WAV file."""
        return WAV_HEADER_BYTES + 2 * self.samples


@dataclass(frozen=True)
class SimulatedClip:
    """One recording of the plant, without its sound."""

    machine: str
    split: str
    domain: str
    label: str
    number: int
    attributes: tuple[tuple[str, str], ...] = ()
    fault: str = ""
    severity: float = 0.0

    @property
    def identity(self) -> tuple[str, str, str, str, int]:
        """What the random numbers depend on, besides the seed."""
        return self.machine, self.split, self.domain, self.label, self.number

    @property
    def path(self) -> str:
        """Path below the data root, named as in DCASE 2023, without fault and severity."""
        attributes = "_".join(f"{key}_{value}" for key, value in self.attributes)
        stem = f"section_00_{self.domain}_{self.split}_{self.label}_{self.number:04d}_{attributes}"
        return f"{RAW}/{self.machine}/{self.split}/{stem}.wav"


@dataclass(frozen=True)
class Simulation:
    """Result of `simulate`: recordings in the folder, and how many of them were rendered in this call."""

    clips: int
    rendered: int


def simulate(
    out: Path,
    plant: Plant | None = None,
    *,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Simulation:
    """Write a simulated plant to `out`, or finish one that was interrupted.

    workers: processes, by default one per usable core. progress(done, total) is called as clips are finished. Raises
    DataError for a folder with other content and ResourceError where the disk is too small.
    """
    plant = plant or Plant()
    clips = list(plan(plant))
    _claim(out, plant)
    missing = [clip for clip in clips if not _is_done(out / clip.path, plant)]
    _check_space(out, len(missing) * plant.file_bytes)
    for machine in plant.machines:
        for split in ("train", "test"):
            _make_folder(out / RAW / machine / split)
    done = len(clips) - len(missing)
    for count in _render_all(out, plant, missing, workers):
        done += count
        if progress:
            progress(done, len(clips))
    for machine in plant.machines:
        _write_attributes(out, [clip for clip in clips if clip.machine == machine])
    _write_truth(out, clips)
    return Simulation(len(clips), len(missing))


def plan(plant: Plant) -> Iterator[SimulatedClip]:
    """Every clip of `plant`, in the order of their files."""
    for position, machine in enumerate(plant.machines):
        share = plant.clips // len(plant.machines) + (position < plant.clips % len(plant.machines))
        quarter = max(1, min(50, share // 10))
        train = share - 4 * quarter
        target = max(train // 100, min(10, train // 10), 1)
        counts = {("train", "source", "normal"): train - target, ("train", "target", "normal"): target}
        counts |= {
            ("test", domain, label): quarter for domain in ("source", "target") for label in ("normal", "anomaly")
        }
        for (split, domain, label), count in counts.items():
            for number in range(count):
                yield _draw(plant.seed, SimulatedClip(machine, split, domain, label, number))


def synthesise(plant: Plant, clip: SimulatedClip) -> np.ndarray:
    """The recording of `clip`, float32 (samples,) within [-1, 1]."""
    machine = MACHINES[clip.machine]
    condition = dict(clip.attributes)
    place = Place(plant.seed, clip.machine, clip.domain, condition.pop("bg"))
    grid = Grid(fft.next_fast_len(plant.samples, real=True), plant.sample_rate_hz)
    scene = Scene(rng_of(plant.seed, *clip.identity, "sound"), grid, place)
    wear = dict.fromkeys(machine.faults, 0.0) | ({clip.fault: clip.severity} if clip.fault else {})
    machine.render(scene, {name: float(value) for name, value in condition.items()}, wear)
    sound = scene.record(machine.site)[: plant.samples]
    return sound * min(1.0, 0.98 / float(np.abs(sound).max(initial=1e-9)))


def _draw(seed: int, clip: SimulatedClip) -> SimulatedClip:
    """`clip` with a random operating condition and, if it is an anomaly, a random fault."""
    rng = rng_of(seed, *clip.identity, "plan")
    machine = MACHINES[clip.machine]
    choices = machine.source if clip.domain == "source" else machine.target
    attributes = tuple((name, str(rng.choice(values))) for name, values in choices.items())
    if clip.label == "normal":
        return replace(clip, attributes=attributes)
    fault, severity = str(rng.choice(machine.faults)), float(rng.choice(SEVERITIES))
    return replace(clip, attributes=attributes, fault=fault, severity=severity)


def _render_all(out: Path, plant: Plant, clips: Sequence[SimulatedClip], workers: int | None) -> Iterator[int]:
    """Render `clips` and yield the number of clips of each finished task."""
    chunks = [clips[start : start + CHUNK] for start in range(0, len(clips), CHUNK)]
    workers = cores() if workers is None else workers
    workers = min(workers, -(-len(clips) // CLIPS_PER_WORKER))
    if workers <= 1:
        yield from (_render(out, plant, chunk) for chunk in chunks)
        return
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        tasks = [pool.submit(_render, out, plant, chunk) for chunk in chunks]
        try:
            yield from (task.result() for task in as_completed(tasks))
        finally:
            pool.shutdown(cancel_futures=True)


def _render(out: Path, plant: Plant, clips: Sequence[SimulatedClip]) -> int:
    for clip in clips:
        pcm = np.round(synthesise(plant, clip) * 32767).astype("<i2")
        content = io.BytesIO()
        with wave.open(content, "wb") as file:
            file.setparams((1, 2, plant.sample_rate_hz, len(pcm), "NONE", ""))
            file.writeframes(pcm.tobytes())
        _write(out / clip.path, content.getvalue())
    return len(clips)


def _claim(out: Path, plant: Plant) -> None:
    """Mark `out` as the folder of this simulation; DataError where it has other content."""
    parameters = {"simulated": True, "by": "featstore simulate", "version": VERSION, **asdict(plant)}
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


def _is_done(path: Path, plant: Plant) -> bool:
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


def _write_attributes(out: Path, clips: Sequence[SimulatedClip]) -> None:
    """Write attributes_00.csv of one machine in the official form."""
    width = max(len(clip.attributes) for clip in clips)
    header = ["file_name", *(f"d{number}{kind}" for number in range(1, width + 1) for kind in "pv")]
    names = [clip.path.removeprefix(f"{RAW}/") for clip in clips]
    rows = [[name, *chain.from_iterable(clip.attributes)] for name, clip in zip(names, clips, strict=True)]
    _write(out / RAW / clips[0].machine / "attributes_00.csv", _csv([header, *rows]))


def _write_truth(out: Path, clips: Sequence[SimulatedClip]) -> None:
    """Write fault and severity of every clip, outside the data, for analysis only."""
    header = ["file_name", "machine", "split", "domain", "label", "number", "fault", "severity"]
    rows = [[clip.path, *map(str, clip.identity), clip.fault, f"{clip.severity:g}"] for clip in clips]
    _write(out / "truth.csv", _csv([header, *rows]))


def _csv(rows: Sequence[Sequence[str]]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode()
