"""Systems over several years, for bench_systems.py --years: data sets by name, seeds, means over the years.

The means are those of ASDKit: each over the official scores of all sets. With several seeds, a mean is taken per seed,
and the table shows the average of these means and their standard deviation.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from systems_measured import line, rule_line
from systems_runs import Dataset, Metrics

from detectors.metrics.official import arithmetic_mean, harmonic_mean
from featstore.errors import DataError

YEARS = range(2020, 2027)
NAMED = re.compile(r"(?P<name>[\w. -]+)=(?P<folder>.+)")
YEAR_NAME = re.compile(r"(?:20)?(2[0-6])(?:[-_ ]?(?:dev|eval).*)?")
MEANS = ("Hmean", "Amean")
BOTH = ("system", "set", "AUC per id", "AUC pooled", "pAUC per id", "pAUC pooled", "mean per id", "mean pooled", "mAUC")


@dataclass(frozen=True)
class Runs:
    """Metrics of one system on one data set, one per seed."""

    metrics: Sequence[Metrics]

    @property
    def scores(self) -> list[float]:
        """Official score of every seed, in percent."""
        return [100 * one.evaluation.score for one in self.metrics]

    @property
    def spread(self) -> float | None:
        """Standard deviation of the scores over the seeds; None for one seed."""
        return spread(self.scores)

    def average(self, name: str) -> float:
        """Mean over the seeds of a part of the official score."""
        return float(np.mean([one.part(name) for one in self.metrics]))

    def text(self) -> str:
        """Mean score, its spread over the seeds, and the interval of the first."""
        first = self.metrics[0].score
        return f"{spread_text(self.scores)} [{100 * first.low:.0f}, {100 * first.high:.0f}]"


def spread(values: Sequence[float]) -> float | None:
    """Standard deviation of a sample; None for one value."""
    return float(np.std(values, ddof=1)) if len(values) > 1 else None


def spread_text(values: Sequence[float]) -> str:
    """Mean of values, and their standard deviation where there are several."""
    deviation = spread(values)
    return f"{np.mean(values):.1f}" + ("" if deviation is None else f" ± {deviation:.1f}")


def means(scores: Sequence[Sequence[float]]) -> dict[str, list[float]]:
    """Harmonic and arithmetic mean over the data sets for every seed; `scores` (sets, seeds), in percent.

    A set with one score, such as that of a system without training, has it for every seed.
    """
    n_seeds = max(map(len, scores))
    table = np.array([list(row) * n_seeds if len(row) == 1 else row for row in scores]).T
    return {"Hmean": harmonic_mean(table).tolist(), "Amean": arithmetic_mean(table).tolist()}


def years_header(sets: Sequence[Dataset]) -> list[str]:
    """Columns of the table of years."""
    return ["system", *(data.name for data in sets), *MEANS]


def years_row(system: str, runs: Mapping[str, Runs], sets: Sequence[Dataset]) -> list[str]:
    """Official score on every set, and its means, which are left empty where a set is missing."""
    cells = [runs[data.name].text() if data.name in runs else "not run" for data in sets]
    if len(runs) < len(sets):
        return [system, *cells, *[""] * len(MEANS)]
    of = means([runs[data.name].scores for data in sets])
    return [system, *cells, *(spread_text(of[name]) for name in MEANS)]


def both_averages(system: str, runs: Mapping[str, Runs]) -> Iterator[list[str]]:
    """Rows of BOTH for the sets by the rule of 2020; seeds are averaged.

    per id: one AUC per machine id, averaged within the machine type, as in the official rule and for STgram-MFN.
    pooled: one AUC over all ids of a machine type, as for Noisy-ArcMix and OS-SCL. mAUC: mean over the types of the
    lowest AUC of an id.
    """
    for name, of_set in runs.items():
        pairs = [(one.evaluation, one.pooled) for one in of_set.metrics if one.pooled]
        if pairs:
            values = [
                [
                    *(each.mean(metric) for metric in ("auc", "pauc") for each in pair),
                    *(each.score for each in pair),
                    pair[0].worst(),
                ]
                for pair in pairs
            ]
            yield [system, name, *(f"{100 * value:.1f}" for value in np.mean(values, axis=0))]


def data_sets(places: Sequence[str], truths: Mapping[str, Path]) -> list[Dataset]:
    """Data sets given as NAME=FOLDER or FOLDER; DataError where two have one name, or a truth belongs to none.

    A folder without a name gets the year and stage of its layout (23dev) where these are certain, else its own name.
    A name that is a year with or without a stage (2020, 20dev, 2021eval) states the rule.
    """
    named = [_named(place) for place in places]
    names = [name for name, _ in named]
    repeated = next((name for name in names if names.count(name) > 1), "")
    if repeated:
        raise DataError(f"two data sets are called {repeated!r}; name them, as in 20dev=FOLDER 20eval=FOLDER")
    unknown = sorted(truths.keys() - set(names))
    if unknown:
        raise DataError(f"a ground truth for {unknown[0]!r}, which is no data set; choose from {', '.join(names)}")
    return [Dataset(name, folder, _year(name), truths.get(name)) for name, folder in named]


def _named(place: str) -> tuple[str, Path]:
    match = NAMED.fullmatch(place)
    if match and not Path(place).exists():
        return match["name"], Path(match["folder"])
    folder = Path(place)
    listing = Dataset("", folder).listing
    certain = listing.layout.startswith("dcase") and not any(note.startswith("read as") for note in listing.notes)
    if not certain:
        return folder.resolve().name, folder
    stages = {stage for stage in ("dev", "eval") if f"{stage}_data" in _text(folder, listing.clips[0].path)}
    return listing.layout.removeprefix("dcase20") + (stages.pop() if len(stages) == 1 else ""), folder


def _text(folder: Path, path: str) -> str:
    return f"{folder.resolve()}/{path}"


def _year(name: str) -> int:
    """The year that a name states, or 0."""
    match = YEAR_NAME.fullmatch(name)
    return 2000 + int(match[1]) if match else 0


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    return "\n".join([line(header), rule_line(len(header)), *map(line, rows)])
