#!/usr/bin/env python3
"""What more candidates bring: the selection among several sets of views, checked on labelled test clips.

    python scripts/bench_candidates.py STORE [STORE ...] --cache DIR --set NAME=SOURCE,... [--set ...] [--grid FILE]

STORE holds embeddings with generated anomalies and labelled test clips (`featstore build --anomalies 6`). A SOURCE
is an embedding or one of its views, `twfr@r1.05`. The candidates of a set are all detectors of the grid (default: that
of `detect select`) on its views. Printed for each set: the chosen strategy and the real official score of its ensemble,
of the fixed default on the same views, and of the best single candidate by labels; Spearman's rho between the
candidates' ranks on generated and scores on real anomalies; and how many members of the choice each embedding gives.
"""

import argparse
from collections import Counter
from pathlib import Path

import numpy as np
from real_metrics import real_scores

from ensemble.defaults import default_recipe
from ensemble.output import score_table
from ensemble.recipe import Recipe
from ensemble.run import detect
from ensemble.selection.candidates import default_candidates, read_grid
from ensemble.selection.informative import spearman
from ensemble.selection.scoring.cache import ScoreCache
from ensemble.selection.select import Options, select
from featstore.console import table
from featstore.store import FeatureStore

COLUMNS = ["views", "candidates", "chosen", "ensemble", "fixed default", "best single (labels)", "rho", "members of"]


def row(store: FeatureStore, name: str, sources: tuple[str, ...], grid: Path | None, cache: ScoreCache) -> list[str]:
    """The line of one set of views."""
    members = read_grid(grid, store, sources) if grid else default_candidates(store, sources)
    selection = select(store, members, cache, Options(race=False))
    real = real_scores(store, members, cache)
    singles = {member.name: real.score(scores) for member, scores in zip(members, real.test, strict=True)}
    ranked = selection.candidates
    values = np.array([[candidate.rank, singles[candidate.member.name]] for candidate in ranked])

    def score(recipe: Recipe) -> str:
        scores = score_table(detect(store, recipe)).aligned(real.labels.keys)
        return f"{100 * real.score(scores):.1f}"

    return [
        name,
        str(len(members)),
        selection.chosen,
        score(selection.recipe),
        score(default_recipe(store, sources)),
        f"{100 * max(singles.values()):.1f}",
        f"{spearman(values[:, :1], values[:, 1:])[0]:.2f}",
        ", ".join(
            f"{count} {embedding}"
            for embedding, count in Counter(member.embedding for member in selection.recipe.members).items()
        ),
    ]


def main() -> None:
    """Parse, select, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store", type=Path, nargs="+")
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--set", action="append", required=True, metavar="NAME=SOURCE,...")
    parser.add_argument("--grid", type=Path, help="as --grid of detect select")
    args = parser.parse_args()
    sets = [text.partition("=") for text in args.set]
    for path in args.store:
        store = FeatureStore.open(path)
        rows = [
            row(store, name, tuple(sources.split(",")), args.grid, ScoreCache(args.cache)) for name, _, sources in sets
        ]
        print(f"\n== {path.stem}\n{table(COLUMNS, rows)}", flush=True)


if __name__ == "__main__":
    main()
