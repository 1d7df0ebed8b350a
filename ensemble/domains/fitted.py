"""A posterior of domains that was learned from training clips, is stored, and is applied to clips that come later."""

from collections.abc import Iterable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np

from ensemble.domains.calibration import Calibration
from ensemble.domains.classifiers import CLASSIFIERS
from ensemble.domains.clips import Clips
from ensemble.domains.learning import View, learned, machine_pool, probability_of
from ensemble.domains.posterior import Posterior
from ensemble.domains.standardisation import Standardisation
from ensemble.domains.stored import FLOAT, Stored, check, fact, texts


@dataclass(frozen=True, eq=False)
class MachinePosterior:
    """Of one machine: the classifier that was chosen, its state in each view, and the final calibration."""

    classifier: str
    views: tuple[View, ...]
    calibration: Calibration

    @property
    def sections(self) -> tuple[str, ...]:
        """The sections with bank clips."""
        return self.views[0].scale.sections

    def arrays(self) -> dict[str, np.ndarray]:
        """What is stored beside texts."""
        calibrations = [*(view.calibration for view in self.views), self.calibration]
        arrays = {"calibration": np.array([each.numbers() for each in calibrations])}
        for i, view in enumerate(self.views):
            of_view = {**view.scale.arrays(), **view.classifier.arrays()}
            arrays |= {f"{i}.{name}": array for name, array in of_view.items()}
        return arrays

    @classmethod
    def from_arrays(cls, stored: Stored, meta: Any, dimensions: tuple[int, ...]) -> "MachinePosterior":
        """From stored arrays for views of some dimensions; ValueError for what does not fit."""
        sections, classifier = texts(meta, "sections"), fact(meta, "classifier", str)
        check(classifier in CLASSIFIERS, f"one of the classifiers {', '.join(CLASSIFIERS)}, got {classifier!r}")
        calibrations = [
            Calibration.from_numbers(row) for row in stored.take("calibration", FLOAT, (len(dimensions) + 1, 4))
        ]
        views = []
        for i, size in enumerate(dimensions):
            of_view = stored.under(str(i))
            scale = Standardisation.from_arrays(of_view, sections, size)
            views.append(View(scale, CLASSIFIERS[classifier].from_arrays(of_view, scale), calibrations[i]))
        return cls(classifier, tuple(views), calibrations[-1])


FEW = 64
"""Clips up to which threads cost more than they save."""


@dataclass(frozen=True, eq=False)
class FittedPosterior:
    """The posterior of new clips by all bank clips, and that of the training clips, each by the bank of other folds.

    machines: those with a posterior. held_out: probability (n,) of the target domain of the training clips, NaN for a
    machine without a posterior. reliability: see `Posterior`.
    """

    machines: Mapping[str, MachinePosterior]
    held_out: np.ndarray
    reliability: float

    @property
    def dimensions(self) -> tuple[int, ...]:
        """Of the rows in each view; none where no machine has a posterior."""
        return next((tuple(view.scale.dimensions for view in of.views) for of in self.machines.values()), ())

    @classmethod
    def fit(cls, views: Iterable[np.ndarray], clips: Clips) -> "FittedPosterior":
        """From the rows (n, d) of training clips in several views, one after the other."""
        parts = learned(views, clips, keep=True)
        training = Posterior.of(parts, clips)
        machines = {
            str(clips.machine[part.rows[0]]): MachinePosterior(part.classifier, part.views, part.calibration)
            for part in parts
        }
        return cls(machines, training.probability, training.reliability)

    def probability(self, views: Iterable[np.ndarray], machine: np.ndarray, section: np.ndarray) -> np.ndarray:
        """Probability (m,) of the target domain of new clips, from their rows (m, d) in the views of the fit, in order.

        NaN for a machine without a posterior. The other clips of the call do not matter. ValueError for other views.
        """
        probability = np.full(len(machine), np.nan)
        rows = {name: np.flatnonzero(machine == name) for name in self.machines}
        rows = {name: here for name, here in rows.items() if len(here)}
        total, count = {name: np.zeros(len(here)) for name, here in rows.items()}, 0
        if not rows:
            return probability
        with machine_pool() if len(machine) > FEW else nullcontext() as pool:
            spread = pool.map if pool else map
            for X in views:
                self._check_view(X, count, len(machine))
                models = [self.machines[name].views[count] for name in rows]
                parts = [(X[here], section[here]) for here in rows.values()]
                for name, odds in zip(rows, spread(View.log_odds, models, *zip(*parts, strict=True)), strict=True):
                    total[name] += odds
                count += 1
        if count != len(self.dimensions):
            raise ValueError(f"the domains were learned from {len(self.dimensions)} views, got {count}")
        for name, here in rows.items():
            probability[here] = probability_of(self.machines[name].calibration.applied(total[name] / count))
        return probability

    def _check_view(self, X: np.ndarray, number: int, clips: int) -> None:
        if number >= len(self.dimensions):
            raise ValueError(f"the domains were learned from {len(self.dimensions)} views, got more")
        if X.shape != (clips, self.dimensions[number]):
            raise ValueError(
                f"view {number}: expected rows of shape {(clips, self.dimensions[number])} as the domains were learned "
                f"from, got {X.shape}"
            )

    def arrays(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Numeric arrays and a JSON object from which `from_arrays` makes the same posterior."""
        arrays = {"held_out": self.held_out}
        for i, machine in enumerate(self.machines.values()):
            arrays |= {f"{i}.{name}": array for name, array in machine.arrays().items()}
        machines = [
            {"machine": name, "sections": list(machine.sections), "classifier": machine.classifier}
            for name, machine in self.machines.items()
        ]
        reliability = None if np.isnan(self.reliability) else self.reliability
        return arrays, {"dimensions": list(self.dimensions), "reliability": reliability, "machines": machines}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray], meta: Any) -> "FittedPosterior":
        """From what `arrays` gave; ValueError for anything that does not fit, because a file may be hostile."""
        stored = Stored(arrays)
        dimensions, listed = fact(meta, "dimensions", list), fact(meta, "machines", list)
        check(all(type(size) is int and size > 0 for size in dimensions), "dimensions as positive numbers")
        check(bool(dimensions) == bool(listed), "dimensions of every view where a machine has a posterior")
        names = texts({"machines": [fact(each, "machine", str) for each in listed]}, "machines")
        held_out = stored.take_any("held_out", FLOAT, (None,))
        check((np.isnan(held_out) | ((held_out >= 0) & (held_out <= 1))).all(), "probabilities from 0 to 1")
        reliability = meta.get("reliability")
        known = type(reliability) is float and 0 <= reliability <= 1
        check(known if listed else reliability is None, "a reliability from 0 to 1 where a machine has a posterior")
        machines = {
            name: MachinePosterior.from_arrays(stored.under(str(i)), each, tuple(dimensions))
            for i, (name, each) in enumerate(zip(names, listed, strict=True))
        }
        stored.finish()
        return cls(machines, held_out, reliability if listed else float("nan"))
