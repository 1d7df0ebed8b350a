"""The official figures and scores of DCASE Task 2, 2020 to 2026, one rule per year in one table.

What the rules differ in, and what every rule here takes care of:

- 2020 scores a machine id on all its clips and averages arithmetically, first over ids, then over machines. 2021
  scores each domain on its own clips. From 2022 on the AUC of a domain sets that domain's normal clips against the
  anomalies of BOTH domains, and the pAUC of a section is taken over all its clips and counted once.
- pAUC is McClish-standardised, as the evaluators compute it; the task descriptions print another formula.
- Scores meet labels by clip key; the evaluators' match by sorted row order lets wrong names pass.
- An AUC of 0 in a harmonic mean is raised to the machine epsilon, as the evaluators do, and reported.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from detectors.metrics.auc import MAX_FPR, auc, pauc
from detectors.metrics.labels import Labels
from detectors.metrics.scores import ScoreTable

ANY = "any"


@dataclass(frozen=True)
class Figure:
    """Which normal clips and which anomalies of a section (by domain, or ANY) meet; up to which false-alarm rate."""

    normal: str
    anomaly: str
    max_fpr: float = 1.0

    def split(self, domain: np.ndarray, is_anomaly: np.ndarray, where: str) -> tuple[np.ndarray, np.ndarray]:
        """Rows of the normal clips and of the anomalies; ValueError naming `where` and the class that is missing."""
        rows = []
        for label, wanted, wanted_class in (("normal", self.normal, False), ("anomaly", self.anomaly, True)):
            found = np.flatnonzero((is_anomaly == wanted_class) & ((domain == wanted) | (wanted == ANY)))
            if not len(found):
                of_domain = "" if wanted == ANY else f" of the {wanted} domain"
                raise ValueError(
                    f"{where}: no {label} clips{of_domain} among {len(domain)} test clips; an AUC needs both classes"
                    + (". Where domains are unknown, use the rule of 2020" if of_domain else "")
                )
            rows.append(found)
        return rows[0], rows[1]

    def value(self, normal: np.ndarray, anomaly: np.ndarray) -> float:
        """The figure of these scores."""
        return auc(normal, anomaly) if self.max_fpr == 1 else pauc(normal, anomaly, self.max_fpr)


@dataclass(frozen=True)
class Rule:
    """A year's figures per section, which of them the official score averages, and how.

    `by_machine`: the arithmetic mean is taken within each machine first, so that a machine with fewer ids weighs the
    same. A harmonic mean runs over all sections and figures at once.
    """

    figures: Mapping[str, Figure]
    scored: tuple[str, ...]
    mean: str
    by_machine: bool = False


_ALL_CLIPS = {"auc": Figure(ANY, ANY), "pauc": Figure(ANY, ANY, MAX_FPR)}
_SINCE_2022 = Rule(
    {
        "auc": Figure(ANY, ANY),
        "auc_source": Figure("source", ANY),
        "auc_target": Figure("target", ANY),
        "pauc": Figure(ANY, ANY, MAX_FPR),
    },
    scored=("auc_source", "auc_target", "pauc"),
    mean="harmonic",
)

RULES: dict[int, Rule] = {
    # The challenge itself ranked systems by `average_rank`; the arithmetic mean is what papers quote.
    2020: Rule(_ALL_CLIPS, scored=("auc", "pauc"), mean="arithmetic", by_machine=True),
    2021: Rule(
        {
            "auc_source": Figure("source", "source"),
            "auc_target": Figure("target", "target"),
            "pauc_source": Figure("source", "source", MAX_FPR),
            "pauc_target": Figure("target", "target", MAX_FPR),
        },
        scored=("auc_source", "auc_target", "pauc_source", "pauc_target"),
        mean="harmonic",
    ),
    **dict.fromkeys(range(2022, 2027), _SINCE_2022),
}


def harmonic_mean(values: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """Harmonic mean over the last axis, values below the machine epsilon raised to it."""
    return 1 / np.average(1 / np.maximum(values, np.finfo(np.float64).eps), axis=-1, weights=weights)


def arithmetic_mean(values: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """Arithmetic mean over the last axis."""
    return np.asarray(np.average(values, axis=-1, weights=weights))


MEANS: dict[str, Callable[[np.ndarray, np.ndarray | None], np.ndarray]] = {
    "harmonic": harmonic_mean,
    "arithmetic": arithmetic_mean,
}


def rule_of(year: int) -> Rule:
    """The year's rule; an unknown year lists the known ones."""
    if year not in RULES:
        raise ValueError(f"no official rule for {year}; choose from {', '.join(map(str, sorted(RULES)))}")
    return RULES[year]


@dataclass(frozen=True)
class SectionFigures:
    """The figures of one section, by name, and its clips counted by "domain label" (e.g. "source normal")."""

    machine: str
    section: str
    values: Mapping[str, float]
    counts: Mapping[str, int]


@dataclass(frozen=True)
class Evaluation:
    """Figures of every section under one year's rule, sorted by machine and section, and what was odd about them."""

    year: int
    rows: tuple[SectionFigures, ...]

    @property
    def score(self) -> float:
        """The official score of the year."""
        return self.mean(*rule_of(self.year).scored)

    @property
    def warnings(self) -> tuple[str, ...]:
        """Every zero that the harmonic mean raised to the machine epsilon."""
        rule = rule_of(self.year)
        return tuple(
            f"{row.machine} section {row.section}: {name} is 0; the harmonic mean counts it as the machine epsilon"
            for row in self.rows
            for name in rule.scored
            if rule.mean == "harmonic" and row.values[name] <= 0
        )

    def machines(self) -> tuple[str, ...]:
        """Every machine that occurs, sorted."""
        return tuple(sorted({row.machine for row in self.rows}))

    def mean(self, *figures: str, machine: str | None = None, kind: str | None = None) -> float:
        """Mean of the named figures over all sections, or over one machine's; `kind` overrides the year's mean.

        `mean("auc_source", "auc_target")` is what the evaluators print as the AUC "over all machine types, sections and
        domains".
        """
        rule = rule_of(self.year)
        if not set(figures) <= rule.figures.keys():
            raise ValueError(f"{self.year} has the figures {', '.join(rule.figures)}; got {', '.join(figures)}")
        rows = [row for row in self.rows if machine in (None, row.machine)]
        if not rows:
            raise ValueError(f"no figures of machine {machine!r}; evaluated were {', '.join(self.machines())}")
        values = np.array([[row.values[name] for name in figures] for row in rows])
        return float(average(values, [row.machine for row in rows], rule, kind=kind))

    def worst(self, figure: str = "auc") -> float:
        """Lowest figure within each machine, averaged over machines: mAUC, the stability measure of the 2020 papers."""
        lowest = [min(row.values[figure] for row in self.rows if row.machine == name) for name in self.machines()]
        return float(np.mean(lowest))


def average(values: np.ndarray, machines: Sequence[str], rule: Rule, *, kind: str | None = None) -> np.ndarray:
    """The rule's mean of figures (..., sections, figures); `machines` names the machine of each section."""
    name = kind or rule.mean
    if name not in MEANS:
        raise ValueError(f"unknown mean {name!r}; choose from {', '.join(sorted(MEANS))}")
    _, machine, sections = np.unique(machines, return_inverse=True, return_counts=True)
    weight = 1 / sections[machine] if rule.by_machine else np.ones(len(machines))
    weights = np.repeat(weight, values.shape[-1])
    return MEANS[name](values.reshape(*values.shape[:-2], -1), weights)


def evaluate(table: ScoreTable, labels: Labels, year: int) -> Evaluation:
    """Figures of every labelled section under the rule of `year`.

    ValueError names the first clip without a score, the first score without a clip, or the section, domain and class of
    which there are no clips.
    """
    scores = table.exactly(labels.keys)
    if not len(scores):
        raise ValueError(f"{table.name}: no labelled test clips to evaluate")
    return Evaluation(year, tuple(_section(scores, labels, year, group) for group in labels.sections()))


def _section(scores: np.ndarray, labels: Labels, year: int, group: tuple[str, str, np.ndarray]) -> SectionFigures:
    machine, section, rows = group
    score, domain, is_anomaly = scores[rows], labels.domain[rows], labels.is_anomaly[rows]
    values = {}
    for name, figure in rule_of(year).figures.items():
        normal, anomaly = figure.split(domain, is_anomaly, f"{machine} section {section}")
        values[name] = figure.value(score[normal], score[anomaly])
    names, counts = np.unique(strata(domain, is_anomaly), return_counts=True)
    return SectionFigures(machine, section, values, dict(zip(names.tolist(), counts.tolist(), strict=True)))


def strata(domain: np.ndarray, is_anomaly: np.ndarray) -> np.ndarray:
    """Domain and label of each clip as one text, e.g. "target anomaly"."""
    return np.char.add(np.char.add(domain.astype(np.str_), " "), np.where(is_anomaly, "anomaly", "normal"))


def average_rank(systems: Mapping[str, Evaluation]) -> dict[str, float]:
    """Mean rank (1 = best) of each system over machine x {AUC, pAUC}, as the 2020 challenge ranked; ties average."""
    if not systems:
        return {}
    first = next(iter(systems.values()))
    if any(one.year != 2020 or one.machines() != first.machines() for one in systems.values()):
        raise ValueError("the average rank compares evaluations of 2020 over the same machines")
    values = np.array(
        [
            [one.mean(figure, machine=machine) for machine in first.machines() for figure in ("auc", "pauc")]
            for one in systems.values()
        ]
    )
    better = (values[None] > values[:, None]).sum(axis=1)
    equal = (values[None] == values[:, None]).sum(axis=1)
    return dict(zip(systems, (better + (equal + 1) / 2).mean(axis=1).tolist(), strict=True))
