"""Label-free fusion of the scores of other systems, of which only test scores are known.

    python scripts/bench_external.py SCORES.csv[.gz]

SCORES has the columns run (or system), machine, section, file and score of test clips with DCASE names; the labels in
the names are used for the metrics only. There are no reference scores, so ranks are among the test clips
(transductive). Prints the official score (2022 rule, percent, 95 % intervals) of single systems and fusions,
each with its paired difference to the mean rank of all; then the weighted fusion on each half of the machines.

The weights of ensemble/external.py were chosen on the first half (every other machine by name) and on random subsets of
the systems there; the second half was evaluated once. Official scores on the first half (mean rank of all 67.6, chosen
71.3):

- No gain: one vote per cluster of similar systems (61 to 66) or lower weights for duplicates (65 to 66); Fisher's and
  other combinations that emphasise the highest ranks (66 to 67 alone, and below the mean with any weights).
- Some gain: the weights of the spectral meta-learner (69.9), correlations by section or by machine (69 to 70).
- Unstable: the fourth power of the correlation (72.6 with all 43 systems, but up to 12 points below the mean rank of
  all on random subsets of them, where the square is at worst 3 points below and on average 2.8 above).
"""

import argparse
import csv
import gzip
from collections import defaultdict
from pathlib import Path

import numpy as np

from detectors.metrics.intervals import Interval, compare, intervals
from detectors.metrics.labels import Labels
from detectors.metrics.official import evaluate
from detectors.metrics.scores import ScoreTable
from ensemble.decision.calibrate import transductive_rank
from ensemble.external import fuse_transductive
from featstore.clip import Clip
from featstore.layouts.dcase_names import parse_section_name
from featstore.table import ClipTable

YEAR, PICKED = 2022, 5


def read(path: Path) -> tuple[ClipTable, list[ScoreTable]]:
    """The test clips, and a table of scores for each system that has scored all of them."""
    systems: dict[str, dict[str, float]] = defaultdict(dict)
    clips: dict[str, Clip] = {}
    with gzip.open(path, "rt") if path.suffix == ".gz" else path.open() as file:
        for row in csv.DictReader(file):
            key = f"{row['machine']}/{row['file']}"
            systems[row.get("run") or row["system"]][key] = float(row["score"])
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
    """The PICKED systems whose ranks within sections correlate most with the mean rank of all; without labels."""
    keys, fused = clips.keys(), fuse_transductive(tables, clips, weighted=False).scores
    sections = [clips.where(machine=machine, section=section) for machine, section in clips.sections()]

    def correlation(table: ScoreTable) -> float:
        scores = table.aligned(keys)
        pairs = [(transductive_rank(scores[rows]), fused[rows]) for rows in sections]
        return float(np.mean([np.corrcoef(own, mean)[0, 1] if own.std() else 0.0 for own, mean in pairs]))

    return sorted(tables, key=correlation)[-PICKED:]


def main() -> None:
    """Read the scores, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scores", type=Path)
    clips, tables = read(parser.parse_args().scores)
    labels = Labels.of(clips)
    single = sorted(tables, key=lambda table: evaluate(table, labels, YEAR).score)
    baseline = f"mean rank of all {len(tables)}"
    rows = {
        "median single system": single[len(single) // 2],
        "best single system, by labels": single[-1],
        baseline: fuse_transductive(tables, clips, weighted=False),
        f"mean rank of the {PICKED} that agree best": fuse_transductive(agreeing(tables, clips), clips, weighted=False),
        f"weighted mean rank of all {len(tables)}": fuse_transductive(tables, clips),
        f"mean rank of the {PICKED} best, by labels": fuse_transductive(single[-PICKED:], clips, weighted=False),
    }
    print(f"| scores | official score | against {baseline} |")
    print("|---|---|---|")
    for name, table in rows.items():
        score = intervals(table, labels, YEAR).score
        print(f"| {name} | {text(score)} | {difference(table, rows[baseline], labels)} |")
    print("\n| machines | mean rank of all | weighted | difference |")
    print("|---|---|---|---|")
    machines = sorted(set(clips.column("machine").tolist()))
    for named in (machines[::2], machines[1::2]):
        half = clips[np.isin(clips.column("machine"), named)]
        keys, truth = tuple(half.keys()), Labels.of(half)
        of_half = [ScoreTable(table.name, keys, table.aligned(keys)) for table in tables]
        plain, weighted = (fuse_transductive(of_half, half, weighted=weighted) for weighted in (False, True))
        scores = [f"{100 * evaluate(table, truth, YEAR).score:.1f}" for table in (plain, weighted)]
        print(f"| {', '.join(named)} | {' | '.join(scores)} | {difference(weighted, plain, truth)} |")


def text(interval: Interval, sign: str = "") -> str:
    """Value and interval in percent."""
    return f"{100 * interval.value:{sign}.1f} [{100 * interval.low:{sign}.1f}, {100 * interval.high:{sign}.1f}]"


def difference(table: ScoreTable, other: ScoreTable, labels: Labels) -> str:
    """Paired difference of two systems' official scores, in points."""
    if table is other:
        return ""
    return text(compare(table, other, labels, YEAR).score, "+")


if __name__ == "__main__":
    main()
