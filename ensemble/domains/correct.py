"""Scores of a detection without the offset between domains, and the domain that each clip is decided by."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from detectors.base import block_folds, folds
from ensemble.decision.banks import DOMAINS, EITHER
from ensemble.domains.posterior import LEAST, NEW, Clips, Posterior, posterior
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
    train, scored = (inputs.clips[rows] for rows in (inputs.roles.train, inputs.roles.scored))
    domain = train.column("domain")
    if inputs.roles.self_ranked or not all((domain == name).any() for name in DOMAINS):
        return None
    views = _views(inputs, recipe)
    found = posterior(_rows(inputs, views), _clips(_held_out(inputs, views[0]), train, scored))
    return Domains(found.probability[: len(train)], found.probability[len(train) :], _notes(found))


def _views(inputs: Inputs, recipe: Recipe) -> list[Member]:
    """Every view of the recipe's embeddings; those of the base come last, because its rows are read again later."""
    named = dict.fromkeys(member.embedding for member in recipe.members if not member.file)
    named.pop(inputs.base, None)
    names = (*named, inputs.base)
    return [Member(name, "any", view) for name in names for view in inputs.store.info(name).views or ("",)]


def _rows(inputs: Inputs, views: list[Member]) -> Iterator[np.ndarray]:
    """Rows of the training clips and the scored clips in each view."""
    rows = np.concatenate([inputs.roles.train, inputs.roles.scored])
    return (inputs.matrix(view)[rows] for view in views)


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


def _clips(fold: np.ndarray, train: ClipTable, scored: ClipTable) -> Clips:
    """The training clips in their folds, followed by the scored clips."""
    domain, section = train.column("domain"), train.column("section")
    none = np.zeros(len(scored), dtype=bool)
    return Clips(
        machine=np.concatenate([train.column("machine"), scored.column("machine")]),
        section=np.concatenate([section, scored.column("section")]),
        target=np.concatenate([domain == DOMAINS[1], none]),
        bank=np.concatenate([np.isin(domain, DOMAINS), none]),
        fold=np.concatenate([fold, np.full(len(scored), NEW)]),
    )


def _notes(found: Posterior) -> tuple[str, ...]:
    """How far the domains can be trusted."""
    if np.isnan(found.probability).all():
        return (f"no machine has {LEAST} training clips of each domain: --domains predicted changes nothing",)
    share = f"{100 * found.reliability:.0f} % of the held-out training clips"
    note = f"scores are corrected for the domain that a clip sounds like ({share} are named correctly)"
    if found.reliability >= NAMED:
        return (f"{note}; --domains pooled leaves this out",)
    return (f"{note}: the false-alarm rate of each domain is not guaranteed",)


def decided_as(probability: np.ndarray) -> np.ndarray:
    """Domain (m,) by which each clip is decided: that of a probability of at least SURE, else either, empty if NaN."""
    domain = np.where(probability >= SURE, DOMAINS[1], np.where(probability <= 1 - SURE, DOMAINS[0], EITHER))
    return np.where(np.isnan(probability), "", domain)
