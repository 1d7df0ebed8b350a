"""Bytes, operations and machine-hours of archives too large to measure here, from measured rates.

    python scripts/scale_on_paper.py [--clips 1e6 1e8 1e10] [--embed 870] [--encoder 1.6] [--score 300000] [--ops 3e11]

Prints two tables. Rates are per core and second: `--embed` clips of 10 s from WAV files to log-mel embeddings in a
store (bench_build.py), `--encoder` such clips through a BEATs of base size (bench_encoders.py), `--score` clips against
a bank of 1,000 rows of their section, from store to Parquet files (bench_archive.py), `--ops` multiplications and
additions of a search in large banks (bench_archive.py), `--disk` bytes that one machine reads.
"""

import argparse
import math

AUDIO = 10 * 16_000 * 2
"""Bytes of a clip: 10 s, 16 kHz, 16 bits."""

TEXT, RESULT = 60, 25
"""Bytes of a clip's columns in a store and of its results, as the stores and files of bench_archive.py have."""

UNIT, ENTRY = 65_536, 280
"""Clips per shard, and bytes that a shard takes in the manifest."""


def size(n: float) -> str:
    """Bytes for people."""
    power = min(int(math.log10(n) / 3), 5)
    return f"{n / 1000**power:,.1f} {('B', 'kB', 'MB', 'GB', 'TB', 'PB')[power]}"


def hours(seconds: float) -> str:
    """Core-time in the unit that suits it."""
    for limit, unit, length in ((90, "s", 1), (5400, "min", 60), (3.6e6, "h", 3600)):
        if seconds < limit:
            return f"{seconds / length:,.1f} {unit}"
    return f"{seconds / 31_557_600:,.1f} years"


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=float, nargs="+", default=[1e6, 1e8, 1e10])
    parser.add_argument("--d", type=int, default=128)
    parser.add_argument("--embed", type=float, default=870)
    parser.add_argument("--encoder", type=float, default=1.6)
    parser.add_argument("--score", type=float, default=300_000)
    parser.add_argument("--ops", type=float, default=3e11)
    parser.add_argument("--disk", type=float, default=1e9)
    options = parser.parse_args()
    print("| clips | sound | store | results | manifest | reading the sound once, one machine |")
    print("|---|---|---|---|---|---|")
    for n in options.clips:
        store = n * (4 * options.d + TEXT)
        cells = [f"{n:.0e}", size(n * AUDIO), size(store), size(n * RESULT), size(n / UNIT * ENTRY)]
        print(f"| {' | '.join(cells)} | {hours(n * AUDIO / options.disk)} |".replace("e+0", "e").replace("e+", "e"))
    print("\n| clips | core-time: log-mel | BEATs, base | against 1,000 rows each | 1e6 rows each | each other |")
    print("|---|---|---|---|---|---|")
    for n in options.clips:
        search = 2 * options.d * n / options.ops
        times = [n / options.embed, n / options.encoder, n / options.score, search * 1e6, search * n]
        print(f"| {n:.0e} | {' | '.join(map(hours, times))} |".replace("e+0", "e").replace("e+", "e"))


if __name__ == "__main__":
    main()
