"""Domains in a selection: what the clips of a validation sound like, and candidates' positions without the offset.

Candidates are judged as they will be used. A generated anomaly has the posterior of its own sound, as a faulty test
clip has, so a fault that sounds like the other domain counts against the correction.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from ensemble.decision.banks import DOMAINS
from ensemble.decision.conformal import from_surprise, surprise
from ensemble.domains.clips import Clips
from ensemble.domains.posterior import Posterior, posterior
from ensemble.domains.shift import Shift
from ensemble.inputs import one_view
from ensemble.selection.scoring.held_out import folds_of
from ensemble.selection.scoring.score_candidates import rows_of
from ensemble.selection.scoring.validation import Validation
from featstore.store import FeatureStore


def validation_posterior(store: FeatureStore, names: Sequence[str], validation: Validation) -> Posterior | None:
    """Posterior of every clip by all views of the named embeddings; None where no machine has clips of both domains."""
    clips = _clips(validation)
    if not any(True for _ in clips.of_machines()):
        return None
    return posterior(_views(store, names, validation), clips)


def _clips(validation: Validation) -> Clips:
    machine, section = (np.array(column, dtype=object) for column in zip(*validation.sections, strict=True))
    return Clips(
        machine=machine[validation.section].astype(np.str_),
        section=section[validation.section].astype(np.str_),
        target=validation.domain == DOMAINS[1],
        bank=validation.training & np.isin(validation.domain, DOMAINS),
        fold=validation.fold,
    )


def _views(store: FeatureStore, names: Sequence[str], validation: Validation) -> Iterator[np.ndarray]:
    """Rows (n, d) of every clip in each view; a perturbed clip has the rows of its fold."""
    for name in names:
        rows = rows_of(store, name, validation).array
        for view in [*range(len(store.info(name).views))] or [None]:
            X = one_view(rows, view)
            if validation.changes is not None:
                stored, X = X, np.empty((len(validation), X.shape[1]))
                for fold in folds_of(validation):
                    X[fold.held_out] = fold.held_out_rows(stored)
            yield X


def with_labelled(store: FeatureStore, names: Sequence[str], domains: Posterior, part: Validation) -> Posterior:
    """The posterior of a validation with that of the labelled recordings, the last of a `confirmed_part`."""
    of_part = posterior(_views(store, names, part), _clips(part))
    last = np.arange(len(part) - part.confirmed, len(part))
    added = of_part.clips.part(last)
    columns = ("machine", "section", "target", "bank", "fold")
    clips = Clips(*(np.concatenate([getattr(domains.clips, name), getattr(added, name)]) for name in columns))
    return Posterior(np.concatenate([domains.probability, of_part.probability[last]]), clips)


def corrected_positions(placed: np.ndarray, domains: Posterior) -> np.ndarray:
    """Positions (candidates, n) without the offset between the domains of each section.

    The offset for the clips of a fold is that of the normal clips of the other folds: target clips are few, and a
    candidate must not gain from the offset of the clips that judge it.
    """
    clips, surprises = domains.clips, surprise(placed)
    changed = surprises.copy()
    for fold in np.unique(clips.fold):
        judged = clips.fold == fold
        others, own = clips.part(np.flatnonzero(clips.bank & ~judged)), clips.part(np.flatnonzero(judged))
        shift = Shift.of(surprises[:, clips.bank & ~judged], others.machine, others.section, others.target)
        changed[:, judged] = shift.removed(surprises[:, judged], own.machine, own.section, domains.probability[judged])
    return from_surprise(changed)
