"""Label-free fusion of other systems' scores: what is to be had where nothing but test scores is known.

    python scripts/bench_external.py SCORES.csv[.gz]

SCORES holds columns run, machine, section, file, score of DCASE-named test clips (the labels in the names reach the
figures only). No reference scores exist, so ranks are taken among the test clips: transductive. Prints the official
score (2022 rule, percent, 95 % bootstrap intervals) of the median and best single system, of the mean rank of all, and
of the mean rank of the five that agree best with that mean, picked without labels.
"""

import argparse
import csv
import gzip
from collections import defaultdict
from pathlib import Path

import numpy as np

from detectors.intervals import bootstrap
from detectors.labels import Labels
from detectors.official import evaluate
from detectors.scores import ScoreTable
from ensemble.calibrate import transductive_rank
from ensemble.external import fuse_transductive
from featstore.clip import Clip
from featstore.dcase_names import parse_section_name
from featstore.table import ClipTable

YEAR, PICKED = 2022, 5


def read(path: Path) -> tuple[ClipTable, list[ScoreTable]]:
    """The test clips and every complete system's scores of them."""
    systems: dict[str, dict[str, float]] = defaultdict(dict)
    clips: dict[str, Clip] = {}
    with gzip.open(path, "rt") if path.suffix == ".gz" else path.open() as file:
        for row in csv.DictReader(file):
            key = f"{row['machine']}/{row['file']}"
            systems[row["run"]][key] = float(row["score"])
            name = parse_section_name(Path(row["file"]).stem)
            if name is not None:
                clips[key] = Clip(key, row["machine"], row["section"], "test", name.domain, name.label)
    complete = {run: scores for run, scores in systems.items() if scores.keys() == clips.keys()}
    tables = [
        ScoreTable(run, tuple(clips), np.array([scores[key] for key in clips])) for run, scores in complete.items()
    ]
    print(f"{len(systems)} systems, {len(tables)} of them complete over {len(clips):,} clips\n")
    return ClipTable.from_clips(list(clips.values())), tables


def agreeing(tables: list[ScoreTable], clips: ClipTable) -> list[ScoreTable]:
    """The systems whose ranks within sections correlate most with the mean rank of all; no label is looked at."""
    keys, fused = clips.keys(), fuse_transductive(tables, clips).scores
    sections = [clips.where(machine=machine, section=section) for machine, section in clips.sections()]

    def correlation(table: ScoreTable) -> float:
        scores = table.aligned(keys)
        pairs = [(transductive_rank(scores[rows]), fused[rows]) for rows in sections]
        return float(np.mean([np.corrcoef(own, mean)[0, 1] if own.std() else 0.0 for own, mean in pairs]))

    return sorted(tables, key=correlation)[-PICKED:]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scores", type=Path)
    clips, tables = read(parser.parse_args().scores)
    labels = Labels.of(clips)
    single = sorted(tables, key=lambda table: evaluate(table, labels, YEAR).score)
    rows = {
        "median single system": single[len(single) // 2],
        "best single system, by labels": single[-1],
        f"mean rank of all {len(tables)}": fuse_transductive(tables, clips),
        f"mean rank of the {PICKED} that agree best": fuse_transductive(agreeing(tables, clips), clips),
        f"mean rank of the {PICKED} best, by labels": fuse_transductive(single[-PICKED:], clips),
    }
    print("| scores | official score |")
    print("|---|---|")
    for name, table in rows.items():
        one = bootstrap(table, labels, YEAR, np.random.default_rng(0)).score
        print(f"| {name} | {100 * one.value:.1f} [{100 * one.low:.1f}, {100 * one.high:.1f}] |")


if __name__ == "__main__":
    main()
