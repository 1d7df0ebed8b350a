"""Training clips of several days whose days are not used: what `--group day` would change, for one note."""

from collections.abc import Iterator

import numpy as np

from detectors.metrics.quantile import quantile_value
from detectors.search.neighbours import nearest
from ensemble.decision.blocks import apart, blocked
from ensemble.groups import day_of
from ensemble.inputs import Inputs, section_texts
from ensemble.recipe import Recipe

SEVERAL = 3
"""Clips per day, on average, from which the days of a section are worth leaving out as a whole."""

SAMPLE = 500
"""Training clips per section, evenly spaced, whose distances are compared."""


def day_notes(inputs: Inputs, recipe: Recipe) -> tuple[str, ...]:
    """One note where the recipe names no group, every training clip has a day, and sections have several."""
    train = inputs.clips[inputs.roles.train]
    days: list[str] = []
    for clip in train if not recipe.group else ():
        day = day_of(clip)
        if not day:
            return ()
        days.append(day)
    day_number = np.unique(days, return_inverse=True)[1]
    of_sections = list(_several(section_texts(train, recipe.pool_sections), day_number)) if days else []
    if not of_sections:
        return ()
    X, at, rate = inputs.matrix(inputs.evidence), inputs.roles.train, recipe.false_alarm_rate
    own = np.arange(len(train)) if inputs.blocks is None else inputs.blocks
    exceeding = np.concatenate([_exceeding(X[at[rows]], day_number[rows], own[rows], rate) for rows in of_sections])
    counts = [len(np.unique(day_number[rows])) for rows in of_sections]
    span = f"{min(counts)} to {max(counts)}" if min(counts) < max(counts) else f"{counts[0]}"
    where = f"{len(counts)} sections" if len(counts) > 1 else "one section"
    return (
        f"the training clips of {where} are of {span} days, and a clip's reference holds clips of its own day. "
        f"--group day leaves out whole days. By the distance to the nearest clip in {inputs.base}, the threshold for "
        f"{100 * rate:g} % is exceeded by {100 * exceeding.mean():.0f} % of the clips if each is "
        "compared with other days only",
    )


def _several(section: np.ndarray, day: np.ndarray) -> Iterator[np.ndarray]:
    """Rows of every section that has at least two days, of SEVERAL clips on average."""
    for name in np.unique(section):
        rows = np.flatnonzero(section == name)
        count = len(np.unique(day[rows]))
        if count > 1 and len(rows) >= SEVERAL * count:
            yield rows


def _exceeding(X: np.ndarray, day: np.ndarray, block: np.ndarray, rate: float) -> np.ndarray:
    """Mask of a sample of a section's clips X (n, d): the nearest clip of another day is beyond the usual threshold.

    The usual one is that of distances to the nearest clip of another block (n,).
    """
    rows = np.arange(len(X))
    sample = rows[:: -(-len(X) // SAMPLE)]
    if blocked(block, rows):
        usual = _apart_distances(X, block, sample)
    else:
        usual = nearest(X[sample], X, 1, exclude=sample)[0][:, 0]
    mask: np.ndarray = _apart_distances(X, day, sample) > quantile_value(usual, rate)
    return mask


def _apart_distances(X: np.ndarray, block: np.ndarray, sample: np.ndarray) -> np.ndarray:
    """Distance of a sample of the clips X (n, d) to the nearest clip of another block (n,), block by block."""
    rows = np.arange(len(X))
    return np.concatenate([nearest(X[own], X[others], 1)[0][:, 0] for own, others in apart(block, sample, rows, rows)])
