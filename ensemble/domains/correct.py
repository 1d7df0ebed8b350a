"""Scores of a detection without the offset between domains, and the domain that each clip is decided by."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from detectors.base import block_folds, folds
from ensemble.decision.banks import DOMAINS, EITHER
from ensemble.domains.clips import LEAST, Clips
from ensemble.domains.fitted import FittedPosterior
from ensemble.inputs import Inputs
from ensemble.recipe import Member, Recipe
from featstore.table import ClipTable

SURE = 0.9
"""Probability of a domain from which a clip is decided by that domain alone."""

FOLDS = 5

NAMED = 0.9
"""Share of held-out training clips named correctly, below which the rates of domains are not promised."""


@dataclass(frozen=True, eq=False)
class Domains:
    """Probability of the target domain for training clips (n,), held out, and scored clips (m,); notes for the user."""

    train: np.ndarray
    scored: np.ndarray
    notes: tuple[str, ...]


def predicted_domains(inputs: Inputs, recipe: Recipe) -> Domains | None:
    """Predict domains from all views of the recipe's embeddings; None where training clips have no two domains."""
    fitted = None if inputs.roles.self_ranked else FittedDomains.fit(inputs, recipe)
    scored = inputs.roles.scored
    return fitted.scored(lambda view: inputs.matrix(view)[scored], inputs.clips[scored]) if fitted else None


@dataclass(frozen=True, eq=False)
class FittedDomains:
    """The posterior of the training clips of a detection, for clips that come later, and the views that it reads."""

    posterior: FittedPosterior
    views: tuple[Member, ...]

    @classmethod
    def fit(cls, inputs: Inputs, recipe: Recipe) -> "FittedDomains | None":
        """From the training clips in all views of the recipe's embeddings; None where these have no two domains."""
        train = inputs.clips[inputs.roles.train]
        domain = train.column("domain")
        if not all((domain == name).any() for name in DOMAINS):
            return None
        views = _views(inputs, recipe)
        clips = _clips(_held_out(inputs, views[0]), train)
        rows = (inputs.matrix(view)[inputs.roles.train] for view in views)
        return cls(FittedPosterior.fit(rows, clips), tuple(views))

    @property
    def train(self) -> np.ndarray:
        """Probability (n,) of the target domain for training clips, held out."""
        return self.posterior.held_out

    @property
    def notes(self) -> tuple[str, ...]:
        """How far the domains can be trusted."""
        if not self.posterior.machines:
            return (f"no machine has {LEAST} training clips of each domain: --domains predicted changes nothing",)
        share = f"{100 * self.posterior.reliability:.0f} % of the held-out training clips"
        note = f"scores are corrected for the predicted domain ({share} are predicted correctly)"
        if self.posterior.reliability >= NAMED:
            return (f"{note}; --domains pooled switches this off",)
        return (f"{note}: the false-alarm rate of each domain is not guaranteed",)

    def scored(self, rows_of_view: Callable[[Member], np.ndarray], clips: ClipTable) -> Domains:
        """Domains of new clips (m,), from the function that gives their rows (m, d) in a view."""
        rows = (rows_of_view(view) for view in self.views)
        probability = self.posterior.probability(rows, clips.column("machine"), clips.column("section"))
        return Domains(self.train, probability, self.notes)


def _views(inputs: Inputs, recipe: Recipe) -> list[Member]:
    """Every view of the recipe's embeddings; those of its first come last, because its rows are read again later."""
    first, *others = inputs.embeddings(recipe)
    names = (*others, first)
    return [Member(name, "any", view) for name in names for view in inputs.info(name).views or ("",)]


def _held_out(inputs: Inputs, view: Member) -> np.ndarray:
    """Fold (n,) of every training clip; copies, and blocks of clips that hang together, are in one fold."""
    train = inputs.clips[inputs.roles.train]
    if inputs.blocks is None:
        X = inputs.matrix(view)[inputs.roles.train]
        masks = folds(X, train.column("domain"), train.column("section"))
    else:
        masks = block_folds(inputs.blocks)
    fold = np.empty(len(train), dtype=np.intp)
    for number, held_out in enumerate(masks):
        fold[held_out] = number % FOLDS
    return fold


def _clips(fold: np.ndarray, train: ClipTable) -> Clips:
    """The training clips in their folds."""
    domain = train.column("domain")
    target, bank = domain == DOMAINS[1], np.isin(domain, DOMAINS)
    return Clips(train.column("machine"), train.column("section"), target, bank, fold)


def decided_as(probability: np.ndarray) -> np.ndarray:
    """Domain (m,) by which each clip is decided: that of a probability of at least SURE, else either, empty if NaN."""
    domain = np.where(probability >= SURE, DOMAINS[1], np.where(probability <= 1 - SURE, DOMAINS[0], EITHER))
    return np.where(np.isnan(probability), "", domain)
