"""The official metrics and scores of DCASE Task 2, 2020 to 2026: a table with one rule per year.

The rules differ by year:

- 2020 evaluates a machine id on all its clips and averages arithmetically, first over ids, then over machines.
- 2021 evaluates each domain on its own clips.
- From 2022 on, the AUC of a domain compares that domain's normal clips with the anomalies of both domains. The pAUC of
  a section is computed over all its clips and counts once.

All rules have this in common:

- pAUC is McClish-standardised, as in the official evaluators; the task descriptions print another formula.
- Scores are matched to labels by clip key. The evaluators match by sorted row order, which accepts wrong names.
- An AUC of 0 in a harmonic mean is raised to the machine epsilon, as in the evaluators, and reported.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from detectors.metrics.auc import MAX_FPR, auc, pauc
from detectors.metrics.labels import Labels
from detectors.metrics.scores import ScoreTable

ANY = "any"


@dataclass(frozen=True)
class Metric:
    """An AUC or pAUC: the domain (or ANY) of its normal clips and of its anomalies, and its false-alarm limit."""

    normal: str
    anomaly: str
    max_fpr: float = 1.0

    def split(self, domain: np.ndarray, is_anomaly: np.ndarray, where: str) -> tuple[np.ndarray, np.ndarray]:
        """Rows of the normal clips and of the anomalies; ValueError names `where` and the missing class."""
        rows = []
        for label, of_domain, anomalous in (("normal", self.normal, False), ("anomaly", self.anomaly, True)):
            clips = np.flatnonzero((is_anomaly == anomalous) & ((domain == of_domain) | (of_domain == ANY)))
            if not len(clips):
                which = "" if of_domain == ANY else f" of the {of_domain} domain"
                raise ValueError(
                    f"{where}: no {label} clips{which} among {len(domain)} test clips; an AUC needs both classes"
                    + ("; if the domains are unknown, use the rule of 2020" if which else "")
                )
            rows.append(clips)
        return rows[0], rows[1]

    def value(self, normal: np.ndarray, anomaly: np.ndarray) -> float:
        """The metric of the scores of normal clips and anomalies."""
        return auc(normal, anomaly) if self.max_fpr == 1 else pauc(normal, anomaly, self.max_fpr)


@dataclass(frozen=True)
class Rule:
    """A year's metrics per section, the metrics that the official score averages (`scored`), and the kind of mean.

    `by_machine`: average within each machine first, so a machine with fewer ids has the same weight. Otherwise, the
    mean is over all sections and metrics at once.
    """

    metrics: Mapping[str, Metric]
    scored: tuple[str, ...]
    mean: str
    by_machine: bool = False


_ALL_CLIPS = {"auc": Metric(ANY, ANY), "pauc": Metric(ANY, ANY, MAX_FPR)}
_SINCE_2022 = Rule(
    {
        "auc": Metric(ANY, ANY),
        "auc_source": Metric("source", ANY),
        "auc_target": Metric("target", ANY),
        "pauc": Metric(ANY, ANY, MAX_FPR),
    },
    scored=("auc_source", "auc_target", "pauc"),
    mean="harmonic",
)

RULES: dict[int, Rule] = {
    # The challenge ranked systems by `average_rank`; papers quote the arithmetic mean.
    2020: Rule(_ALL_CLIPS, scored=("auc", "pauc"), mean="arithmetic", by_machine=True),
    2021: Rule(
        {
            "auc_source": Metric("source", "source"),
            "auc_target": Metric("target", "target"),
            "pauc_source": Metric("source", "source", MAX_FPR),
            "pauc_target": Metric("target", "target", MAX_FPR),
        },
        scored=("auc_source", "auc_target", "pauc_source", "pauc_target"),
        mean="harmonic",
    ),
    **dict.fromkeys(range(2022, 2027), _SINCE_2022),
}


def harmonic_mean(values: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """Harmonic mean over the last axis; values below the machine epsilon are raised to it."""
    return 1 / np.average(1 / np.maximum(values, np.finfo(np.float64).eps), axis=-1, weights=weights)


def arithmetic_mean(values: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """Arithmetic mean over the last axis."""
    return np.asarray(np.average(values, axis=-1, weights=weights))


MEANS: dict[str, Callable[[np.ndarray, np.ndarray | None], np.ndarray]] = {
    "harmonic": harmonic_mean,
    "arithmetic": arithmetic_mean,
}


def rule_of(year: int) -> Rule:
    """The rule of a year; ValueError for an unknown year lists the known ones."""
    if year not in RULES:
        raise ValueError(f"no official rule for {year}; choose from {', '.join(map(str, sorted(RULES)))}")
    return RULES[year]


@dataclass(frozen=True)
class SectionMetrics:
    """Metrics of one section by name, and numbers of its clips by domain and label (such as "source normal")."""

    machine: str
    section: str
    values: Mapping[str, float]
    counts: Mapping[str, int]


@dataclass(frozen=True)
class Evaluation:
    """Metrics of every section under the rule of a year, sorted by machine and section."""

    year: int
    rows: tuple[SectionMetrics, ...]

    @property
    def score(self) -> float:
        """The official score of the year."""
        return self.mean(*rule_of(self.year).scored)

    @property
    def warnings(self) -> tuple[str, ...]:
        """A text for every zero that the harmonic mean raises to the machine epsilon."""
        rule = rule_of(self.year)
        return tuple(
            f"{row.machine} section {row.section}: {name} is 0, and the harmonic mean counts it as 2.2e-16 "
            "(as the official evaluators do)"
            for row in self.rows
            for name in rule.scored
            if rule.mean == "harmonic" and row.values[name] <= 0
        )

    def machines(self) -> tuple[str, ...]:
        """All machines, sorted."""
        return tuple(sorted({row.machine for row in self.rows}))

    def mean(self, *metrics: str, machine: str | None = None, kind: str | None = None) -> float:
        """Mean of the named metrics over all sections, or over those of one machine; `kind` overrides the year's mean.

        `mean("auc_source", "auc_target")` is what the evaluators print as the AUC "over all machine types, sections and
        domains".
        """
        rule = rule_of(self.year)
        if not set(metrics) <= rule.metrics.keys():
            raise ValueError(
                f"unknown metrics of {self.year}: got {', '.join(metrics)}; choose from {', '.join(rule.metrics)}"
            )
        rows = [row for row in self.rows if machine in (None, row.machine)]
        if not rows:
            raise ValueError(f"no metrics of machine {machine!r}; choose from {', '.join(self.machines())}")
        values = np.array([[row.values[name] for name in metrics] for row in rows])
        return float(average(values, [row.machine for row in rows], rule, kind=kind))

    def worst(self, metric: str = "auc") -> float:
        """Lowest metric of each machine, averaged over machines: mAUC, the stability measure of the 2020 papers."""
        lowest = [min(row.values[metric] for row in self.rows if row.machine == name) for name in self.machines()]
        return float(np.mean(lowest))


def average(values: np.ndarray, machines: Sequence[str], rule: Rule, *, kind: str | None = None) -> np.ndarray:
    """Mean (...) of metrics (..., sections, metrics) under a rule; `machines` are the machines of the sections."""
    name = kind or rule.mean
    if name not in MEANS:
        raise ValueError(f"unknown mean {name!r}; choose from {', '.join(sorted(MEANS))}")
    weights = np.repeat(section_weights(machines, rule), values.shape[-1])
    return MEANS[name](values.reshape(*values.shape[:-2], -1), weights)


def section_weights(machines: Sequence[str], rule: Rule) -> np.ndarray:
    """Weight (sections,) of each section in the mean of a rule; `machines` are the machines of the sections."""
    _, machine, sections = np.unique(machines, return_inverse=True, return_counts=True)
    weight: np.ndarray = 1 / sections[machine] if rule.by_machine else np.ones(len(machines))
    return weight


def evaluate(table: ScoreTable, labels: Labels, year: int) -> Evaluation:
    """Metrics of every labelled section under the rule of `year`.

    ValueError names the first clip without a score, the first score without a clip, or the section, domain and class
    without clips.
    """
    scores = table.exactly(labels.keys)
    if not len(scores):
        raise ValueError(f"{table.name}: no labelled test clips to evaluate")
    return Evaluation(year, tuple(_section(scores, labels, year, group) for group in labels.sections()))


def _section(scores: np.ndarray, labels: Labels, year: int, group: tuple[str, str, np.ndarray]) -> SectionMetrics:
    machine, section, rows = group
    score, domain, is_anomaly = scores[rows], labels.domain[rows], labels.is_anomaly[rows]
    values = {}
    for name, metric in rule_of(year).metrics.items():
        normal, anomaly = metric.split(domain, is_anomaly, f"{machine} section {section}")
        values[name] = metric.value(score[normal], score[anomaly])
    names, counts = np.unique(strata(domain, is_anomaly), return_counts=True)
    return SectionMetrics(machine, section, values, dict(zip(names.tolist(), counts.tolist(), strict=True)))


def strata(domain: np.ndarray, is_anomaly: np.ndarray) -> np.ndarray:
    """Domain and label of each clip as one text, such as "target anomaly"."""
    return np.char.add(np.char.add(domain.astype(np.str_), " "), np.where(is_anomaly, "anomaly", "normal"))


def average_rank(systems: Mapping[str, Evaluation]) -> dict[str, float]:
    """Mean rank (1 is best) of each system over the AUC and pAUC of all machines, as in 2020; ties share their mean."""
    if not systems:
        return {}
    first = next(iter(systems.values()))
    for name, system in systems.items():
        if system.year != 2020 or system.machines() != first.machines():
            raise ValueError(
                f"{name}: expected an evaluation of 2020 over {', '.join(first.machines())}, got one of {system.year} "
                f"over {', '.join(system.machines())}"
            )
    values = np.array(
        [
            [system.mean(metric, machine=machine) for machine in first.machines() for metric in ("auc", "pauc")]
            for system in systems.values()
        ]
    )
    better = (values[None] > values[:, None]).sum(axis=1)
    equal = (values[None] == values[:, None]).sum(axis=1)
    return dict(zip(systems, (better + (equal + 1) / 2).mean(axis=1).tolist(), strict=True))
