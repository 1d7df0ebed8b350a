"""A comparison: metrics of every system with their intervals, and tests of the differences to one of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from detectors.metrics.intervals import Intervals, caution, intervals
from detectors.metrics.labels import Labels
from detectors.metrics.official import Evaluation, average, evaluate, rule_of
from detectors.metrics.replicates import replicates_of
from detectors.metrics.scores import ScoreTable
from detectors.metrics.significance import holm, p_value, symmetric_interval
from ensemble.compare.seeds import Spread

LEVEL = 0.95
SIGNIFICANT = 0.05
LEAST = 2
"""Clips of a section, domain and label from which a bootstrap varies."""


@dataclass(frozen=True)
class Tested:
    """Limits of a paired difference, its p-value, and this after Holm's correction."""

    low: float
    high: float
    p: float
    p_holm: float

    @property
    def significant(self) -> bool:
        """Whether the difference is more than chance, with all comparisons taken together."""
        return self.p_holm <= SIGNIFICANT


@dataclass(frozen=True, eq=False)
class Row:
    """One system: metrics, intervals, difference of its official score to the baseline (None: it is the baseline)."""

    name: str
    evaluation: Evaluation
    limits: Intervals
    difference: float | None = None
    test: Tested | None = None
    members: int = 0
    spread: Spread | None = None

    def sections(self) -> dict[tuple[str, str], float]:
        """The official score of each section alone."""
        rule = rule_of(self.evaluation.year)
        return {
            (row.machine, row.section): float(
                average(np.array([[row.values[name] for name in rule.scored]]), [row.machine], rule)
            )
            for row in self.evaluation.rows
        }


@dataclass(frozen=True, eq=False)
class Comparison:
    """Systems on the same test clips, the best first. clips: their number; notes: on clips, and on what was tested."""

    year: int
    baseline: str
    clips: int
    replicates: int
    rows: tuple[Row, ...]
    seeds: int = 1
    notes: tuple[str, ...] = field(default=())

    @property
    def sections(self) -> list[tuple[str, str]]:
        """Machine and section of every measured section, sorted."""
        return [(row.machine, row.section) for row in self.rows[0].evaluation.rows]

    @property
    def metrics(self) -> tuple[str, ...]:
        """Names of the metrics that the official score averages."""
        return rule_of(self.year).scored


def compared(
    tables: Mapping[str, ScoreTable], labels: Labels, year: int, *, baseline: str, replicates: int, seed: int = 0
) -> Comparison:
    """Compare the systems; the clips are resampled `replicates` times, the same draws for all systems."""
    rows = [Row(name, evaluate(table, labels, year), intervals(table, labels, year)) for name, table in tables.items()]
    first = next(row for row in rows if row.name == baseline)
    rows = [row if row is first else replace(row, difference=_lead(row, first)) for row in rows]
    notes = [*caution(first.evaluation), *_zeros(rows), *_untested(first.evaluation)]
    if not _untested(first.evaluation):
        drawn = replicates_of(list(tables.values()), labels, year, replicates, np.random.default_rng(seed)).score
        rows = _tested(rows, drawn - drawn[rows.index(first)])
        notes += _too_few_replicates(len(rows) - 1, replicates)
    ordered = sorted(rows, key=lambda row: -row.evaluation.score)
    return Comparison(year, baseline, len(labels.keys), replicates, tuple(ordered), notes=tuple(notes))


def _lead(row: Row, first: Row) -> float:
    return row.evaluation.score - first.evaluation.score


def _tested(rows: Sequence[Row], drawn: np.ndarray) -> list[Row]:
    """The rows with their tests, from replicates (systems, n) of their differences to the baseline."""
    p = {
        row.name: p_value(row.difference, values)
        for row, values in zip(rows, drawn, strict=True)
        if row.difference is not None
    }
    adjusted = dict(zip(p, holm(np.array(list(p.values()))).tolist(), strict=True))
    tested = []
    for row, values in zip(rows, drawn, strict=True):
        test = None
        if row.difference is not None:
            low, high = symmetric_interval(row.difference, values, LEVEL)
            test = Tested(max(low, -1.0), min(high, 1.0), p[row.name], adjusted[row.name])
        tested.append(replace(row, test=test))
    return tested


def _zeros(rows: Sequence[Row]) -> list[str]:
    """A note on the systems with a metric of 0, which a harmonic mean raises to the machine epsilon."""
    names = [row.name for row in rows if row.evaluation.warnings]
    return [f"a metric of a section is 0, so the official score is near 0: {', '.join(names)}"] if names else []


def _untested(evaluation: Evaluation) -> list[str]:
    """A note where a bootstrap cannot show how uncertain a metric is."""
    for row in evaluation.rows:
        for stratum, count in row.counts.items():
            if count < LEAST:
                where = f"{row.machine} section {row.section} has {count} {stratum} test clip"
                return [f"differences are not tested: {where}, and a bootstrap needs {LEAST} of each domain and label"]
    return []


def _too_few_replicates(tests: int, replicates: int) -> list[str]:
    """A note where no difference could be significant."""
    least = tests / (1 + replicates)
    if least <= SIGNIFICANT:
        return []
    return [
        f"with {replicates:,} replicates and {tests} comparisons no difference can be significant; raise --replicates"
    ]
