"""What the training clips of each machine teach about their domains, in one view after the other."""

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np

from ensemble.domains.calibration import Calibration
from ensemble.domains.classifiers import CLASSIFIERS, Bank, Classifier
from ensemble.domains.clips import Clips
from ensemble.domains.standardisation import Standardisation
from featstore.building.cores import cores

LEAST_CERTAIN = 1e-3
"""Least probability of the right domain that a log loss counts."""


@dataclass(frozen=True, eq=False)
class View:
    """What a classifier learned from all bank clips of a machine in one view of rows (n, d)."""

    scale: Standardisation
    classifier: Classifier
    calibration: Calibration

    def log_odds(self, X: np.ndarray, section: np.ndarray) -> np.ndarray:
        """Calibrated log odds (m,) of new rows (m, d) of the machine, in their sections (m,)."""
        return self.calibration.applied(self.classifier.log_odds(self.scale.of_rows(X, section)))


@dataclass(frozen=True, eq=False)
class Learned:
    """Of one machine: rows (n,) of its clips, mean log odds (n,), their calibration, the classifier and its views."""

    rows: np.ndarray
    odds: np.ndarray
    calibration: Calibration
    classifier: str
    views: tuple[View, ...]


def learned(views: Iterable[np.ndarray], clips: Clips, *, keep: bool) -> list[Learned]:
    """What each machine learns from rows (n, d) in several views, one after the other.

    keep: whether to learn from all bank clips too, for clips that come later; else `Learned.views` is empty.
    """
    machines = [_Learning(rows, clips.part(rows), keep) for rows in clips.of_machines()]
    with machine_pool() as pool:
        for X in views if machines else ():
            for _ in pool.map(_Learning.add, machines, (X[machine.rows] for machine in machines)):
                pass
    return [machine.result() for machine in machines if machine.count]


@contextmanager
def machine_pool() -> Iterator[ThreadPoolExecutor]:
    """Threads for several machines at once.

    The matrices are small: a thread per machine saves time, threads within a product cost more than they save.
    """
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1), ThreadPoolExecutor(cores()) as pool:
        yield pool


@dataclass
class _Learning:
    """A machine whose rows come in one view after the other."""

    rows: np.ndarray
    clips: Clips
    keep: bool
    count: int = 0
    total: dict[str, np.ndarray] = field(default_factory=lambda: dict.fromkeys(CLASSIFIERS, np.zeros(())))
    views: dict[str, list[View]] = field(default_factory=lambda: {name: [] for name in CLASSIFIERS})

    def add(self, X: np.ndarray) -> None:
        """Learn from the machine's rows (n, d) in the next view."""
        bank, target = self.clips.bank, self.clips.target[self.clips.bank]
        whole = Bank.of(X[bank], self.clips.section[bank], target) if self.keep else None
        for name, odds in log_odds(X, self.clips).items():
            calibration = Calibration.of(odds[bank], target)
            self.total[name] = self.total[name] + calibration.applied(odds)
            if whole is not None:
                self.views[name].append(View(whole.scale, CLASSIFIERS[name].fit(whole), calibration))
        self.count += 1

    def result(self) -> Learned:
        """What was learned, by the better classifier."""
        bank, target = self.clips.bank, self.clips.target[self.clips.bank]
        mean = {name: total / self.count for name, total in self.total.items()}
        final = {name: Calibration.of(odds[bank], target) for name, odds in mean.items()}
        loss = {name: _log_loss(final[name].applied(odds[bank]), target) for name, odds in mean.items()}
        best = min(loss, key=lambda name: loss[name])
        return Learned(self.rows, mean[best], final[best], best, tuple(self.views[best]))


def log_odds(X: np.ndarray, clips: Clips) -> dict[str, np.ndarray]:
    """Log odds (n,) of the target domain by every classifier, for rows X (n, d) of a machine, by other folds.

    0 where the bank clips of other folds lack a domain.
    """
    odds = {name: np.zeros(len(X)) for name in CLASSIFIERS}
    for fold in np.unique(clips.fold):
        judged = clips.fold == fold
        others = clips.bank & ~judged
        target = clips.target[others]
        if not target.any() or target.all():
            continue
        bank = Bank.of(X[others], clips.section[others], target)
        Z = bank.scale.of_rows(X[judged], clips.section[judged])
        for name, classifier in CLASSIFIERS.items():
            odds[name][judged] = classifier.fit(bank).log_odds(Z)
    return odds


def probability_of(odds: np.ndarray) -> np.ndarray:
    """Probability of the target domain from log odds."""
    return np.asarray(1 / (1 + np.exp(-odds)))


def _log_loss(odds: np.ndarray, target: np.ndarray) -> float:
    """Mean of both domains' log loss for held-out bank clips; an error costs at most that of `LEAST_CERTAIN`."""
    right = np.where(target, probability_of(odds), probability_of(-odds))
    loss = -np.log(np.maximum(right, LEAST_CERTAIN))
    return float(np.mean([loss[target == is_target].mean() for is_target in (False, True)]))
