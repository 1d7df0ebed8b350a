"""Scores of the clips of a validation by detectors that were fitted without them: fold by fold, many detectors at once.

What several detectors compute from the same rows is computed once (`detectors.shared`).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from detectors import create
from detectors.base import Detector, Fitted
from detectors.shared import sharing
from ensemble.selection.scoring.perturb_design import Changes, perturbed_rows
from ensemble.selection.scoring.validation import Validation


@dataclass(frozen=True, eq=False)
class Fold:
    """One fold of a section: positions of the clips of its bank and of the clips that are held out, in a validation.

    domain: of the bank's clips. changes: of the last held-out clips, where these are perturbed.
    """

    section: str
    bank: np.ndarray
    domain: np.ndarray
    held_out: np.ndarray
    changes: Changes | None

    def held_out_rows(self, X: np.ndarray) -> np.ndarray:
        """Rows of the held-out clips, from the rows X (n, d) of the clips that are stored."""
        stored = X[self.held_out[: len(self.held_out) - len(self.changes or ())]]
        return stored if self.changes is None else np.concatenate([stored, perturbed_rows(X, self.changes, self.bank)])


def folds_of(validation: Validation) -> Iterator[Fold]:
    """Every non-empty fold of every section; confirmed clips are folds of their own, with the bank of their fold."""
    confirmed = np.arange(len(validation)) >= len(validation) - validation.confirmed
    for number, section in enumerate(validation.sections):
        here = validation.section == number
        for fold, labelled in np.unique([validation.fold[here], confirmed[here]], axis=1).T:
            bank = np.flatnonzero(here & validation.training & (validation.fold != fold))
            held_out = np.flatnonzero(here & (validation.fold == fold) & (confirmed == labelled))
            changed = held_out[held_out >= validation.stored] - validation.stored
            changes = validation.changes[changed] if validation.changes and len(changed) else None
            yield Fold(" section ".join(section), bank, validation.domain[bank], held_out, changes)


def fold_scores(detectors: Sequence[str], X: np.ndarray, folds: Sequence[Fold]) -> list[list[np.ndarray] | str]:
    """Scores of the held-out clips of every fold, by every detector, from rows X (n, d) of the stored clips.

    A text says why a detector cannot be fitted in a fold, or gives scores that are not finite.
    """
    results: list[list[np.ndarray] | str] = [[] for _ in detectors]
    for fold in folds:
        bank, held_out = X[fold.bank], fold.held_out_rows(X)
        made = [create(detector) for detector in detectors]
        with sharing(made):
            for i, detector in enumerate(made):
                so_far = results[i]
                if isinstance(so_far, str):
                    continue
                try:
                    so_far.append(_scores(detector, bank, fold.domain, held_out))
                except (ValueError, np.linalg.LinAlgError) as error:
                    results[i] = f"{fold.section}: {error}"
    return results


def _scores(detector: Detector, bank: np.ndarray, domain: np.ndarray, held_out: np.ndarray) -> np.ndarray:
    """Scores by a detector fitted on a bank, without honest scores of the bank, which are not needed here."""
    name = type(detector).__name__
    if not isinstance(detector, Fitted):
        raise ValueError(f"{name} is not derived from detectors.base.Fitted, which a selection needs")
    scores = detector.learn(bank, domain=domain).anomaly_score(held_out)
    if not np.isfinite(scores).all():
        raise ValueError(f"{name} gives scores that are not finite")
    return scores


def held_out_scores(detector: str, X: np.ndarray, validation: Validation) -> np.ndarray:
    """Score of every clip (n,) by the detector fitted without the clip's fold, from rows X of the stored clips.

    ValueError names the section where the detector cannot be fitted or gives scores that are not finite.
    """
    if len(X) != validation.stored:
        raise ValueError(f"{len(X)} embeddings for {validation.stored} stored clips of the validation")
    folds = list(folds_of(validation))
    (result,) = fold_scores([detector], X, folds)
    if isinstance(result, str):
        raise ValueError(result)
    scores = np.empty(len(validation))
    scores[np.concatenate([fold.held_out for fold in folds])] = np.concatenate(result)
    return scores
