"""Speed of `detect archive`: clips per second and peak memory, beside other searches and the hardware limit.

    python scripts/bench_archive.py --work FOLDER [--sizes 1e5 1e6 1e7] [--banks 1e3 1e4 1e5] [--d 128] [--k 1]

Makes stores of random vectors in FOLDER (1e7 x 128 take 7 GB; kept for the next run) and runs the real command, from
shards on disk to Parquet files on disk, in a new process for each cell. "limit" is the slower of sgemm (torch's product
of two 4096 x 4096 matrices on all cores; 2 n d operations per clip) and the disk (the archive's files read once after
they were dropped from the page cache). faiss and scikit-learn search vectors that are already in memory; each is a
process of its own, as in bench_knn.py. Ratios are of one run. The last table fits time = start + clips / rate.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from bench_knn import SQUARE, Competitor

from featstore.building.cores import cores
from featstore.disk.shard import EmbeddingInfo, ShardData
from featstore.store import StoreWriter
from featstore.table import COLUMNS, ClipTable

SHARD = 65_536
ROLES = ("faiss as installed", "faiss, right kernel", "scikit-learn", "sgemm")
QUERIES = 65_536


def make_store(path: Path, n: int, d: int, split: str, seed: int) -> None:
    """Make a store of n random vectors of one machine and section, unless it exists."""
    if (path / "finished").exists():
        return
    shutil.rmtree(path, ignore_errors=True)
    rng = np.random.default_rng(seed)
    info = EmbeddingInfo("random", (d,), "float32", f"{d:064d}")
    with StoreWriter(path) as writer:
        for start in range(0, n, SHARD):
            m = min(SHARD, n - start)
            columns = {name: np.full(m, b"") for name in COLUMNS} | {"attributes": np.full(m, b"{}")}
            columns |= {
                "machine": np.full(m, b"fan"),
                "section": np.full(m, b"00"),
                "split": np.full(m, split.encode()),
            }
            columns["path"] = np.array(
                [f"fan/{split}/section_00_source_{i:08d}_{seed}.wav".encode() for i in range(start, start + m)]
            )
            writer.commit([ShardData(info, ClipTable(columns), rng.standard_normal((m, d), dtype=np.float32))])
    (path / "finished").touch()


def disk_rate(store: Path, n: int) -> float:
    """Clips per second at which the store's shards can be read from the disk."""
    total, seconds = 0, 0.0
    for path in sorted((store / "shards").glob("*.h5"))[:40]:
        descriptor = os.open(path, os.O_RDONLY)
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        start = time.perf_counter()
        while block := os.read(descriptor, 1 << 24):
            total += len(block)
        seconds += time.perf_counter() - start
        os.close(descriptor)
    per_clip = sum(path.stat().st_size for path in (store / "shards").glob("*.h5")) / n
    return total / seconds / per_clip


def run_archive(reference: Path, archive: Path, out: Path, k: int) -> tuple[float, float]:
    """Seconds and peak memory in MB of the real command."""
    shutil.rmtree(out, ignore_errors=True)
    command = [sys.executable, "-m", "ensemble.cli", "archive", reference, archive, "-k", str(k), "-o", out, "--json"]
    start = time.perf_counter()
    process = subprocess.Popen([str(part) for part in command], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert process.stdout is not None
    summary = json.loads(process.stdout.read())
    _, status, usage = os.wait4(process.pid, 0)
    if status or summary["unscored"]:
        raise RuntimeError(f"detect archive ended with {status}: {summary}")
    return time.perf_counter() - start, usage.ru_maxrss / 1000


def competitor_rates(folder: Path, n: int, options: argparse.Namespace) -> dict[str, float]:
    """Queries per second of searches in memory, and of sgemm."""
    rng = np.random.default_rng(n)
    np.save(folder / "bank.npy", rng.standard_normal((n, options.d), dtype=np.float32))
    np.save(folder / "queries.npy", rng.standard_normal((QUERIES, options.d), dtype=np.float32))
    files = {name: str(folder / f"{name}.npy") for name in ("bank", "queries")}
    limit = int(min(QUERIES, max(1e11 / (2 * n * options.d), 1000)))
    rates = {}
    for role in ROLES:
        competitor = Competitor(role)
        competitor.request(**files, limit=limit if role != "scikit-learn" else max(limit // 4, 500), k=options.k)
        seconds = statistics.median(competitor.request(run=True)["seconds"] for _ in range(3))
        done = limit if role != "scikit-learn" else max(limit // 4, 500)
        rates[role] = SQUARE**3 / (n * options.d) / seconds if role == "sgemm" else done / seconds
        competitor.close()
    return rates


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--sizes", type=float, nargs="+", default=[1e5, 1e6, 1e7])
    parser.add_argument("--banks", type=float, nargs="+", default=[1e3, 1e4, 1e5])
    parser.add_argument("--d", type=int, default=128)
    parser.add_argument("--k", type=int, default=1)
    options = parser.parse_args()
    archives = {int(n): options.work / f"archive-{int(n)}-{options.d}" for n in options.sizes}
    for n, path in archives.items():
        make_store(path, n, options.d, "test", 2)
    disk = disk_rate(archives[max(archives)], max(archives))
    print(f"d = {options.d}, k = {options.k}, {cores()} cores; disk: {disk:,.0f} clips/s\n")
    print("| bank | archive | seconds | clips/s | peak MB | of sgemm | of the limit | faiss as installed |", end="")
    print(" faiss, right kernel | scikit-learn |\n|---|---|---|---|---|---|---|---|---|---|")
    fits = []
    for bank in map(int, options.banks):
        reference = options.work / f"bank-{bank}-{options.d}"
        make_store(reference, bank, options.d, "train", 1)
        with tempfile.TemporaryDirectory(dir=options.work) as folder:
            others = competitor_rates(Path(folder), bank, options)
        seconds = {}
        for n, path in archives.items():
            seconds[n], peak = run_archive(reference, path, options.work / "out", options.k)
            rate = n / seconds[n]
            limit = min(others["sgemm"], disk)
            cells = [f"{bank:.0e}", f"{n:.0e}", f"{seconds[n]:.1f}", f"{rate:,.0f}", f"{peak:,.0f}"]
            cells += [f"{rate / others['sgemm']:.0%}", f"{rate / limit:.0%}"]
            cells += [f"{rate / others[role]:.2f}" for role in ROLES[:3]]
            print(f"| {' | '.join(cells)} |".replace("e+0", "e"), flush=True)
        if len(seconds) > 1:
            slope, start = np.polyfit(list(seconds), list(seconds.values()), 1, w=1 / np.array(list(seconds.values())))
            worst = max(abs(start + slope * n - took) / took for n, took in seconds.items())
            limit = min(others["sgemm"], disk)
            fits.append(
                f"| {bank:.0e} | {start:.1f} | {1 / slope:,.0f} | {1 / slope / others['sgemm']:.0%} | "
                f"{1 / slope / limit:.0%} | {1 / slope / others['faiss, right kernel']:.2f} | {worst:.0%} |"
            )
    if fits:
        print("\n| bank | start, s | clips/s after the start | of sgemm | of the limit | faiss, right kernel |", end="")
        print(" largest misfit |\n|---|---|---|---|---|---|---|")
        print("\n".join(fits).replace("e+0", "e"))


if __name__ == "__main__":
    main()
