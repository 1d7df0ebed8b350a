"""Queries per second of exact top-k search, compared with faiss, scikit-learn and a plain matrix product.

    python scripts/bench_knn.py [--quick] [--huge] [--banks 1000 100000] [--k 1] [--rounds 3]

Every competitor is a separate process with its own prepared bank. They take turns in each round, and ratios compare
rates of the same round, because the speed of a machine varies. "faiss as installed" runs without OPENBLAS_CORETYPE;
"faiss, right kernel" runs with the kernel of detectors/search/faiss_backend.py and takes BLAS from 8 queries on.
"sgemm" is torch's product of two 4096 x 4096 matrices. The last columns are the search of `detect archive`, on as many
threads as there are cores; "same ids" is the share of queries for which faiss finds the same nearest row in float32
arithmetic. In long searches, the slow competitors get a quarter of the queries. A bank
of 1e6 x 768 needs about 20 GB over all processes and is measured with --huge only.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from detectors.search.faiss_backend import kernel_of_this_cpu
from featstore.building.cores import cores

DIMENSIONS = (128, 256, 768)
BANKS = {10**3: 10**4, 10**5: 10**4, 10**6: 10**3}
"""Number of queries by size of the bank."""

SQUARE = 4096
SLOW = ("faiss as installed", "scikit-learn")


def ours(bank: np.ndarray, k: int) -> Callable[[np.ndarray], object]:
    """The search of the detectors on a prepared bank, with torch and numba loaded."""
    import numba  # noqa: F401
    import torch  # noqa: F401

    from detectors.search.neighbours import Bank, nearest

    prepared = Bank.of(bank)
    return lambda queries: nearest(queries, prepared, k)[1][:, 0]


def streamed(bank: np.ndarray, k: int) -> Callable[[np.ndarray], object]:
    """The search of `detect archive` on a prepared bank."""
    from detectors.search.streamed import TopK, bank_of

    prepared, threads = bank_of(bank), cores()

    def search(queries: np.ndarray) -> np.ndarray:
        top = TopK.empty(len(queries), k)
        top.update(queries, prepared, threads=threads)
        return top.id[:, 0]

    return search


def plain_faiss(bank: np.ndarray, k: int) -> Callable[[np.ndarray], object]:
    """The flat inner product index with the default settings of faiss."""
    import faiss

    faiss.normalize_L2(bank)
    index = faiss.IndexFlatIP(bank.shape[1])
    index.add(bank)
    return lambda queries: index.search(queries, k)[1][:, 0]


def tuned_faiss(bank: np.ndarray, k: int) -> Callable[[np.ndarray], object]:
    """The same index with the kernel for this processor, and BLAS where faiss would use a loop."""
    from detectors.search.faiss_backend import load

    load().cvar.distance_compute_blas_threshold = 8 * bank.shape[1]
    return plain_faiss(bank, k)


def scikit_learn(bank: np.ndarray, k: int) -> Callable[[np.ndarray], object]:
    """Brute force by cosine distance."""
    from sklearn.neighbors import NearestNeighbors

    index = NearestNeighbors(n_neighbors=k, metric="cosine", algorithm="brute").fit(bank)
    return lambda queries: index.kneighbors(queries, return_distance=False)[:, 0]


def sgemm(bank: np.ndarray, k: int) -> Callable[[np.ndarray], object]:
    """One square matrix product."""
    import torch

    left, right, out = torch.rand(SQUARE, SQUARE), torch.rand(SQUARE, SQUARE), torch.empty(SQUARE, SQUARE)
    return lambda queries: torch.mm(left, right, out=out)[:, 0].numpy()


ROLES = {
    "ours": ours,
    "archive": streamed,
    "faiss as installed": plain_faiss,
    "faiss, right kernel": tuned_faiss,
    "scikit-learn": scikit_learn,
    "sgemm": sgemm,
}


def work(role: str) -> None:
    """Run the requests on stdin, each a line of JSON: a bank to prepare, or a search; answer with a line of JSON."""
    for line in sys.stdin:
        request = json.loads(line)
        if "bank" in request:
            run = queries = None  # frees the previous bank
            queries = np.load(request["queries"])[: request["limit"]]
            run = ROLES[role](np.load(request["bank"]), request["k"])
            run(queries[:100])  # starts the threads and touches the memory
            print(json.dumps({"ready": True}), flush=True)
        else:
            start = time.perf_counter()
            ids = run(queries)
            seconds = time.perf_counter() - start
            print(json.dumps({"seconds": seconds, "ids": np.asarray(ids)[:200].tolist()}), flush=True)


class Competitor:
    """A process that runs one of ROLES."""

    def __init__(self, role: str) -> None:
        environment = {key: value for key, value in os.environ.items() if key != "OPENBLAS_CORETYPE"}
        if role == "faiss, right kernel" and kernel_of_this_cpu():
            environment["OPENBLAS_CORETYPE"] = kernel_of_this_cpu()
        command = [sys.executable, __file__, "--role", role]
        self.role = role
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )

    def request(self, **request: object) -> Any:
        """Send a request and return the answer."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        print(json.dumps(request), file=self.process.stdin, flush=True)
        answer = self.process.stdout.readline()
        if not answer:
            raise RuntimeError(f"the process of {self.role!r} ended; was there enough memory?")
        return json.loads(answer)

    def close(self) -> None:
        """End the process."""
        self.process.communicate()


def measure(competitors: dict[str, Competitor], folder: Path, d: int, n: int, options: argparse.Namespace) -> str:
    """One row of the table."""
    m = BANKS[n] // 10 if options.quick else BANKS[n]
    rng = np.random.default_rng(d)
    np.save(folder / "bank.npy", rng.standard_normal((n, d), dtype=np.float32))
    np.save(folder / "queries.npy", rng.standard_normal((m, d), dtype=np.float32))
    limits = {role: max(m // 4, 100) if role in SLOW and n * m * d > 1e10 else m for role in ROLES}
    rates: dict[str, list[float]] = {role: [] for role in ROLES}
    ids = {}
    for role, competitor in competitors.items():
        files = {name: str(folder / f"{name}.npy") for name in ("bank", "queries")}
        competitor.request(**files, limit=limits[role], k=options.k)
    repeat = 5 if n * m * d < 1e11 else 1
    for _ in range(options.rounds * repeat):
        for role, competitor in competitors.items():
            answer = competitor.request(run=True)
            work = 2.0 * SQUARE**3 if role == "sgemm" else 2.0 * limits[role] * n * d
            rates[role].append(work / answer["seconds"])
            ids[role] = answer["ids"]
    same = np.mean(np.array(ids["ours"]) == np.array(ids["faiss, right kernel"]))
    assert ids["ours"] == ids["archive"]
    ratios = {
        role: statistics.median(own / other for own, other in zip(rates["ours"], rates[role], strict=True))
        for role in ROLES
    }
    per_second = statistics.median(rates["ours"]) / (2.0 * n * d)
    cells = [str(d), f"{n:.0e}".replace("e+0", "e"), str(m), f"{per_second:,.0f}"]
    cells += [f"{statistics.median(rates['ours']) / 1e9:.0f}", f"{ratios['sgemm']:.0%}"]
    cells += [f"{ratios[role]:.2f}" for role in ("faiss as installed", "faiss, right kernel", "scikit-learn")]
    archive = statistics.median(rates["archive"])
    archive_ratios = [
        statistics.median(own / other for own, other in zip(rates["archive"], rates[role], strict=True))
        for role in ("sgemm", "faiss, right kernel")
    ]
    cells += [f"{same:.1%}", f"{archive / (2.0 * n * d):,.0f}", f"{archive_ratios[0]:.0%}", f"{archive_ratios[1]:.2f}"]
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """Print the table, row by row."""
    parser = argparse.ArgumentParser(description="Benchmark of the exact nearest neighbour search.")
    parser.add_argument("--quick", action="store_true", help="one round, a tenth of the queries")
    parser.add_argument("--huge", action="store_true", help="also the bank of 1e6 x 768")
    parser.add_argument("--banks", type=int, nargs="+", choices=list(BANKS), default=list(BANKS))
    parser.add_argument("--k", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--role", choices=list(ROLES), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.role:
        work(options.role)
        return
    if options.quick:
        options.rounds = 1
    print(f"k = {options.k}, {options.rounds} rounds, {os.cpu_count()} cores; speed relative to each competitor:\n")
    print("| d | bank | queries | queries/s | GFLOP/s | of sgemm | faiss as installed | faiss, right kernel |", end="")
    print(" scikit-learn | same ids | archive search, queries/s | of sgemm | faiss, right kernel |")
    print("|---|---|---|---|---|---|---|---|---|---|---|---|---|")
    competitors = {role: Competitor(role) for role in ROLES}
    with tempfile.TemporaryDirectory() as folder:
        for n in options.banks:
            for d in DIMENSIONS:
                if options.huge or n * d < 5e8:
                    print(measure(competitors, Path(folder), d, n, options), flush=True)
    for competitor in competitors.values():
        competitor.close()


if __name__ == "__main__":
    main()
