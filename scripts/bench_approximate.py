"""Recall, score error and speed of the approximate indexes, compared with exact search of the same bank.

    python scripts/bench_approximate.py --work FOLDER [--uav DATA] [--mimii FEATURES] [--only NAME ...] [--figure FILE]

DATA is a labelled folder of recordings. Its training clips and generated anomalies are the bank, and its test clips are
the queries. FEATURES holds npz files of MIMII features (see bench_mimii_features.py). Both are z-scored by the bank.
The clustered banks are generated here: 200 clusters of 128 dimensions, each with its own decaying spectrum; one query
in ten is twice as far from its centre as the rest.

Times are processor time of one thread, which depends least on other work on the machine. Every index takes turns with
the two exact searches, that of the detectors and that of `detect archive`. Ratios compare with the faster of the two
and are medians over the rounds. Recall@5, its 95 % interval and the score errors come from `recall_estimate`. FOLDER
keeps the results: a bank with a result in it is not measured again.
"""

import argparse
import json
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from detectors.approximate.index import ApproximateIndex
from detectors.approximate.recall import recall_estimate
from detectors.search.faiss_backend import load as load_faiss
from detectors.search.neighbours import Bank, nearest
from detectors.search.quantised import TiledBank
from detectors.search.streamed import TopK, bank_of
from featstore.store import FeatureStore

K, D, CLUSTERS, QUERIES, TIMED, ROUNDS = 5, 128, 200, 1000, 500, 3
Matrices = tuple[np.ndarray, np.ndarray]
EXACT = ("exact", "coded")
"""The exact searches: that of the detectors, and that of archives, by 8-bit codes where they are faster."""


@dataclass(frozen=True)
class Spec:
    """An index kind, the numbers of probes to measure, and a faiss factory text that replaces the kind's own."""

    name: str
    kind: str
    probes: tuple[int | None, ...] = (None,)
    factory: str | None = None


ALL = (
    Spec("flat", "flat"),
    Spec("flat, SQ8", "flat", factory="SQ8"),
    Spec("flat, SQfp16", "flat", factory="SQfp16"),
    Spec("ivf", "ivf", (1, 4, 16, 64)),
    Spec("ivfpq", "ivfpq", (1, 4, 16, 64)),
    Spec("hnsw", "hnsw", (16, 64, 256)),
)
IVF = (Spec("ivf", "ivf", (16,)),)
LARGE = (Spec("ivf", "ivf", (4, 16, 64)), Spec("ivfpq", "ivfpq", (16,)))
"""Without flat indexes, which are slower than exact search from 1e5 rows on, and HNSW, the slowest to build."""

SIZES = {"1e3": IVF, "3e3": IVF, "1e4": IVF, "3e4": IVF, "1e5": ALL, "3e5": IVF, "1e6": LARGE}


def uav(data: Path, work: Path) -> Matrices:
    """Bank and queries of the view p10 of logmel."""
    command = [sys.executable, "-m", "featstore.cli", "build", str(data), str(work / "store"), "-e", "logmel"]
    subprocess.run([*command, "--anomalies", "4"], check=True, stdout=sys.stderr)
    store = FeatureStore.open(work / "store")
    X = store.matrix("logmel")[:, store.info("logmel").views.index("p10")]
    test = store.clips("logmel").where(split="test", variant="")
    return X[store.clips("logmel").where(split="train")], X[test]


def mimii(folder: Path) -> Matrices:
    """Bank: half of the normal clips of every machine, id and SNR. Queries: all other clips."""
    bank, queries = [], []
    for path in sorted(folder.glob("*.npz")):
        with np.load(path, allow_pickle=False) as arrays:
            for name in sorted(arrays.files):
                if re.search("abnormal", name):
                    queries.append(arrays[name])
                else:
                    bank.append(arrays[name][::2])
                    queries.append(arrays[name][1::2])
    return np.concatenate(bank).astype(np.float32), np.concatenate(queries).astype(np.float32)


def clustered(n: int) -> Matrices:
    """Generated bank of n rows, and its queries."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(CLUSTERS, D))
    spectrum = (1 + np.arange(D)) ** -0.5
    spectrum *= 0.7 * np.sqrt(D) / np.linalg.norm(spectrum)
    rotations = [np.linalg.qr(rng.normal(size=(D, D)))[0] for _ in range(CLUSTERS)]
    cluster = rng.integers(CLUSTERS, size=n + QUERIES)
    reach = np.ones((n + QUERIES, 1))
    reach[n::10] = 2
    out = np.empty((n + QUERIES, D), dtype=np.float32)
    for j in range(CLUSTERS):
        own = cluster == j
        out[own] = centres[j] + reach[own] * (rng.normal(size=(own.sum(), D)) * spectrum) @ rotations[j]
    return out[:n], out[n:]


def measure(matrices: Matrices, specs: tuple[Spec, ...]) -> list[dict[str, Any]]:
    """One record per index and number of probes."""
    rows, queries = matrices
    queries = queries[np.random.default_rng(0).permutation(len(queries))[:QUERIES]]
    bank, coded = Bank.of(rows), bank_of(rows)
    records = []
    for spec in specs:
        start = time.process_time()
        index = ApproximateIndex.build(bank, spec.kind, factory=spec.factory)
        built = time.process_time() - start
        for probes in spec.probes:
            estimate = recall_estimate(index, queries, K, probes=probes, sample=len(queries))
            record = {"index": spec.name, "factory": index.spec.factory, "build_s": built, **asdict(estimate)}
            plain = recall_estimate(index, queries, K, probes=probes, rerank=0, sample=len(queries))
            record["plain_recall"] = plain.recall
            record["bytes"] = load_faiss().serialize_index(index.index).nbytes
            record |= race(coded, index, queries[:TIMED], probes) | {"n": len(rows), "d": rows.shape[1]}
            records.append(record)
            print(json.dumps(record), file=sys.stderr, flush=True)
    return records


def race(coded: TiledBank, index: ApproximateIndex, queries: np.ndarray, probes: int | None) -> dict[str, float]:
    """Queries per second of the exact searches, and of the index with and without re-ranking."""
    runs: dict[str, Callable[[], object]] = {
        "exact": lambda: nearest(queries, index.bank, K),
        "coded": lambda: TopK.empty(len(queries), K).update(queries, coded),
        "index": lambda: index.nearest(queries, K, probes=probes),
        "plain": lambda: index.nearest(queries, K, probes=probes, rerank=0),
    }
    rates: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(ROUNDS):
        for name, run in runs.items():
            start, done = time.process_time(), 0
            while done == 0 or time.process_time() - start < 0.1:
                run()
                done += len(queries)
            rates[name].append(done / (time.process_time() - start))
    ratios = [
        index / max(exact) for index, *exact in zip(rates["index"], *(rates[name] for name in EXACT), strict=True)
    ]
    medians = {f"{name}_rate": statistics.median(values) for name, values in rates.items()}
    return {**medians, "ratio": statistics.median(ratios)}


def table(results: dict[str, list[dict[str, Any]]]) -> None:
    """Print one row per index and number of probes, and one column per bank with more than one of them."""
    results = {name: records for name, records in results.items() if len(records) > 1}
    titles = [f"{name}, {records[0]['n']:,} x {records[0]['d']}" for name, records in results.items()]
    print("| index | " + " | ".join(titles) + " |\n|---|" + "---|" * len(results))
    cells: dict[str, dict[str, str]] = {}
    for name, records in results.items():
        for r in records:
            head = f"{r['index']}: seconds to build, MB"
            cells.setdefault(head, {})[name] = f"{r['build_s']:.2f} s, {r['bytes'] / 1e6:.1f} MB"
            row = f"{r['index']}, {r['probes']} probes" if r["probes"] else r["index"]
            cells.setdefault(row, {})[name] = (
                f"{r['ratio']:.2f}x; {r['recall']:.3f} [{r['recall_low']:.3f}, {r['recall_high']:.3f}] "
                f"({r['plain_recall']:.3f}); {' / '.join(share(r, f'error_{of}') for of in ('mean', 'p95', 'max'))}"
            )
    for row, by_bank in cells.items():
        print(f"| {row} | " + " | ".join(by_bank.get(name, "") for name in results) + " |")


def share(record: dict[str, Any], error: str) -> str:
    """A score error in percent of the standard deviation of the exact scores."""
    percent = 100 * record[error] / record["spread"]
    return f"{percent:.2g}" if percent < 10 else f"{percent:.0f}"


def crossing(results: dict[str, list[dict[str, Any]]]) -> None:
    """Print the number of queries after which an IVF index has repaid its training, by size of the bank."""
    print("\n| clustered bank | exact/s | by codes/s | ivf, 16 probes/s | ratio | recall@5 | build s | repaid after |")
    print("|" + "---|" * 8)
    for name, records in results.items():
        for r in (r for r in records if name.startswith("clustered") and (r["index"], r["probes"]) == ("ivf", 16)):
            saved = 1 / max(r[f"{name}_rate"] for name in EXACT) - 1 / r["index_rate"]
            repaid = f"{r['build_s'] / saved:,.0f} queries" if saved > 0 else "never"
            print(
                f"| {name.split()[1]} | {r['exact_rate']:,.0f} | {r['coded_rate']:,.0f} | {r['index_rate']:,.0f} "
                f"| {r['ratio']:.2f}x "
                f"| {r['recall']:.4f} | {r['build_s']:.2f} | {repaid} |"
            )


def draw(path: Path, results: dict[str, list[dict[str, Any]]]) -> None:
    """Plot missed neighbours and score error against speed, one column per bank."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import FixedLocator, NullLocator

    results = {name: records for name, records in results.items() if len(records) > 1}
    figure = Figure(figsize=(3.6 * len(results), 6.5), layout="constrained")
    axes = figure.subplots(2, len(results), squeeze=False, sharex="col", sharey="row")
    for (above, below), (name, records) in zip(axes.T, results.items(), strict=True):
        for index in dict.fromkeys(r["index"] for r in records):
            own = [r for r in records if r["index"] == index]
            ratio = [r["ratio"] for r in own]
            style = {"marker": "o", "color": f"C{[spec.name for spec in ALL].index(index)}"}
            above.plot(ratio, [max(1 - r["recall"], 1e-4) for r in own], label=index, **style)
            below.plot(ratio, [max(r["error_mean"] / r["spread"], 1e-6) for r in own], **style)
            for r in own if index in {"ivf", "hnsw"} else ():
                above.annotate(r["probes"], (r["ratio"], max(1 - r["recall"], 1e-4)), fontsize="x-small")
        above.set(title=f"{name}: {records[0]['n']:,} x {records[0]['d']}", xscale="log", yscale="log")
        below.set(xlabel="times as fast as exact search", yscale="log")
        for axis in (above, below):
            axis.axvline(1, color="black", linewidth=0.8)
            axis.xaxis.set_major_locator(FixedLocator([0.2, 0.5, 1, 2, 5, 10, 20, 50]))
            axis.xaxis.set_major_formatter("{x:g}")
            axis.xaxis.set_minor_locator(NullLocator())
            axis.grid(visible=True, alpha=0.3)
    axes[0, 0].set_ylabel("1 - recall@5 (lowest line: none missed)")
    axes[1, 0].set_ylabel("mean score error / spread of scores")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), fontsize="small")
    figure.savefig(path, dpi=110)


def main() -> None:
    """Measure the chosen banks and print all results in the folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--uav", type=Path)
    parser.add_argument("--mimii", type=Path)
    parser.add_argument("--only", nargs="+")
    parser.add_argument("--figure", type=Path)
    args = parser.parse_args()
    import torch
    from threadpoolctl import threadpool_limits

    load_faiss()
    torch.set_num_threads(1)
    threadpool_limits(1)
    args.work.mkdir(parents=True, exist_ok=True)
    banks: dict[str, tuple[Callable[[], Matrices], tuple[Spec, ...]]] = {}
    if args.uav:
        banks["UAV"] = lambda: standardised(uav(args.uav, args.work)), ALL
    if args.mimii:
        banks["MIMII"] = lambda: standardised(mimii(args.mimii)), ALL
    for size, specs in SIZES.items():
        banks[f"clustered {size}"] = lambda size=size: clustered(int(float(size))), specs  # type: ignore[misc]
    results = {}
    for name, (matrices, specs) in banks.items():
        path = args.work / f"{name.replace(' ', '-')}.json"
        if not path.exists() and name in (args.only or banks):
            path.write_text(json.dumps(measure(matrices(), specs)))
        if path.exists():
            results[name] = json.loads(path.read_text())
    table(results)
    crossing(results)
    if args.figure:
        draw(args.figure, results)


def standardised(matrices: Matrices) -> Matrices:
    """Bank and queries, z-scored by the bank."""
    bank, queries = matrices
    mean, spread = bank.mean(axis=0), bank.std(axis=0)
    spread[spread == 0] = 1
    return (bank - mean) / spread, (queries - mean) / spread


if __name__ == "__main__":
    main()
