#!/usr/bin/env python3
"""How long the page of `detect review` takes to open, and what memory it has.

    python scripts/bench_review.py [--clips 1000 100000] [--repeats 3] [--work FOLDER]

For each number of clips, a store with results of that many scored clips is generated (tests/support/large_results.py),
with recordings of 10 s at 16 kHz: a few sounds of noise, which all recordings are hard links of. `detect review` is
started in a process of its own, and one client asks for what a browser asks for. Times count from the start of the
process: until the address is printed; until the page and its overview are there; then the list of events, the
spectrogram of its first clip, and the same spectrogram again, each on its own. Memory is that of the process after
these requests, and its peak.

Cold: the files of the store, of the results and of the recordings have been dropped from the memory of the system
before the start; libraries of Python have not. Warm: the best of REPEATS further starts.

References, measured in the same run: a process of Python that only imports the libraries of the server and the page;
one that imports numpy and reads all bytes of the results; and a plain spectrogram of the same recording.
"""

import argparse
import http.client
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote_from_bytes, urlsplit

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "support"))

RATE_HZ, SECONDS, SOUNDS, LINKS = 16_000, 10, 4, 30_000
HEADER = ("clips", "files", "address", "overview", "list", "spectrogram", "again", "memory", "peak")
IMPORTS = "import starlette.applications, uvicorn, jinja2, numpy, h5py"
READS = "import sys, numpy; numpy.fromfile(sys.argv[1], dtype=numpy.uint8)"


@dataclass(frozen=True)
class Plant:
    """A store with its results and its recordings."""

    store: Path
    results: Path
    data: Path


@dataclass(frozen=True)
class Times:
    """Seconds from the start to the address and to the overview; of a list and two spectrograms; bytes of memory."""

    address_s: float
    overview_s: float
    list_s: float
    picture_s: float
    again_s: float
    memory: int
    peak: int


def generate(folder: Path, n: int) -> Plant:
    """A plant of n scored clips."""
    from large_results import large_results

    folder.mkdir()
    store, results = large_results(folder, n)
    return Plant(store, results, record(folder / "data", store))


def record(data: Path, store: Path) -> Path:
    """A recording for every clip of a store; of each LINKS recordings, all are links to a few."""
    import soundfile

    from featstore.store import FeatureStore

    rng = np.random.default_rng(0)
    paths = [data / path for path in sorted(set(FeatureStore.open(store).clips("e").recordings()))]
    for start in range(0, len(paths), LINKS):
        block = paths[start : start + LINKS]
        for i, path in enumerate(block):
            path.parent.mkdir(parents=True, exist_ok=True)
            if i < SOUNDS:
                soundfile.write(path, 0.1 * rng.normal(size=RATE_HZ * SECONDS), RATE_HZ)
            else:
                os.link(block[i % SOUNDS], path)
    return data


def forget(*folders: Path) -> None:
    """Drop files from the memory of the system, where it can be asked to."""
    seen: set[int] = set()
    for file in (file for folder in folders for file in folder.rglob("*") if file.is_file()):
        if file.stat().st_ino in seen:
            continue
        seen.add(file.stat().st_ino)
        with file.open("rb") as opened:
            os.fsync(opened.fileno())
            os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


@contextmanager
def page(plant: Plant) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A running page and its address."""
    words = ["review", plant.store, "--results", plant.results, "--data", plant.data]
    command = [sys.executable, "-m", "ensemble.cli", *map(str, words)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            assert process.stdout is not None
            yield process, process.stdout.readline().strip()
        finally:
            process.terminate()


class Client:
    """One connection of a browser that has opened the address."""

    def __init__(self, address: str) -> None:
        url = urlsplit(address)
        self.connection = http.client.HTTPConnection(url.hostname or "", url.port, timeout=300)
        self.cookie = ""
        self.connection.request("GET", f"/?{url.query}")
        answer = self.connection.getresponse()
        answer.read()
        self.cookie = (answer.headers["Set-Cookie"] or "").partition(";")[0]

    def get(self, path: str) -> bytes:
        """An answer; SystemExit where it is an error."""
        self.connection.request("GET", path, headers={"Cookie": self.cookie})
        answer = self.connection.getresponse()
        content = answer.read()
        if answer.status != 200:
            raise SystemExit(f"{path}: {answer.status} {content[:300].decode(errors='replace')}")
        return content


def memory_of(pid: int, name: str) -> int:
    """Memory of a process in bytes, by its name in /proc."""
    text = Path(f"/proc/{pid}/status").read_text()
    return int(re.findall(rf"^{name}:\s+(\d+) kB", text, re.MULTILINE)[0]) * 1024


def measure(plant: Plant, key: str) -> Times:
    """Start the page once."""
    started = time.perf_counter()
    with page(plant) as (process, address):
        if not address:
            raise SystemExit("detect review has not started; run it by hand to see why")
        printed = time.perf_counter()
        client = Client(address)
        for path in ("/", "/static/app.js", "/static/api.js", "/static/page.css", "/static/review.css"):
            client.get(path)
        client.get("/parts/overview")
        marks = [time.perf_counter()]
        picture = f"/sound/picture.png?clip={key}&kind=clip"
        for path in ("/items?limit=50", picture, picture):
            client.get(path)
            marks.append(time.perf_counter())
        spans = np.diff(marks).tolist()
        memory = [memory_of(process.pid, name) for name in ("VmRSS", "VmHWM")]
    return Times(printed - started, marks[0] - started, *spans, *memory)


def best(times: Sequence[Times]) -> Times:
    """The least of every value."""
    return Times(*(min(getattr(each, name) for each in times) for name in Times.__dataclass_fields__))


def first_key(plant: Plant) -> str:
    """Key of the clip that is furthest above its threshold, as part of an address."""
    from ensemble.page.kept import FILE, read_results

    scored = read_results(plant.results / FILE)
    return quote_from_bytes(os.fsencode(scored.keys[int(np.argmax(scored.excess))]), safe="")


def seconds(code: str, *words: object) -> float:
    """The least time of three processes that run `code`."""
    times = []
    for _ in range(3):
        started = time.perf_counter()
        subprocess.run([sys.executable, "-c", code, *map(str, words)], check=True)
        times.append(time.perf_counter() - started)
    return min(times)


def plain_spectrogram(recording: Path) -> float:
    """The least time in seconds of three plain spectrograms, without a picture."""
    import soundfile

    times = []
    for _ in range(3):
        started = time.perf_counter()
        wave, _ = soundfile.read(recording, dtype="float32")
        frames = np.lib.stride_tricks.sliding_window_view(wave, 1024)[::512] * np.hanning(1024)
        np.log10(np.abs(np.fft.rfft(frames)) + 1e-9)
        times.append(time.perf_counter() - started)
    return min(times)


def line(cells: Sequence[object]) -> str:
    """A line of a table in Markdown."""
    return f"| {' | '.join(map(str, cells))} |"


def row(n: int, files: str, times: Times) -> str:
    """A line of the table."""
    spans = (times.address_s, times.overview_s, times.list_s, times.picture_s, times.again_s)
    sizes = (times.memory, times.peak)
    cells = [*(f"{span:.2f} s" for span in spans), *(f"{size / 2**20:.0f} MiB" for size in sizes)]
    return line([f"{n:,}", files, *cells])


def main() -> None:
    """Generate, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, nargs="+", default=[1_000, 100_000])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--work", type=Path, help="Folder for the generated files [default: a temporary one].")
    args = parser.parse_args()
    references, rows = [], []
    with tempfile.TemporaryDirectory(dir=args.work) as work:
        for n in args.clips:
            plant = generate(Path(work) / str(n), n)
            key, recording = first_key(plant), next(plant.data.rglob("*.wav"))
            largest = max(plant.results.iterdir(), key=lambda file: file.stat().st_size)
            forget(plant.store, plant.results, plant.data)
            rows.append(row(n, "cold", measure(plant, key)))
            rows.append(row(n, "warm", best([measure(plant, key) for _ in range(args.repeats)])))
            size = largest.stat().st_size / 2**20
            read_s, drawn_s = seconds(READS, largest), plain_spectrogram(recording)
            references.append(f"numpy and {size:.1f} MiB of results of {n:,} clips: {read_s:.2f} s")
            references.append(f"plain spectrogram: {drawn_s:.3f} s")
    print(f"`python scripts/bench_review.py {' '.join(sys.argv[1:])}`, {os.cpu_count()} cores, {platform.machine()}\n")
    print("\n".join([line(HEADER), line(["---:", "---", *["---:"] * (len(HEADER) - 2)]), *rows]))
    references.append(f"import of the libraries: {seconds(IMPORTS):.2f} s")
    print(f"\nReferences: {'; '.join(references)}.")


if __name__ == "__main__":
    main()
