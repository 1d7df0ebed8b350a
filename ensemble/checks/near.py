"""Near-copies of training clips among the clips of a detection: their rows differ by rounding only."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from detectors.search.neighbours import nearest
from ensemble.checks.copies import TOLERANCE, Copies, equal_but_for_rounding
from ensemble.inputs import Inputs, section_texts

MOST_CLIPS = 4096
"""Largest bank whose clips are compared with each other: the search of larger ones takes as long as the detection."""

BLOCK = 4096
"""Rows that are compared at once."""


def near_twins(inputs: Inputs, pool_sections: bool) -> dict[int, int]:
    """Training clips with the row of another one of their bank but for rounding, each with the first of them by path.

    Sections of more than MOST_CLIPS, and those whose rows are all equal, are left out.
    """
    keys, twins = inputs.clips.keys(), dict[int, int]()
    for rows in _varied(inputs, pool_sections):
        rest = np.array(sorted(rows.tolist(), key=keys.__getitem__), dtype=np.intp)
        while pairs := _equal_pairs(inputs, _neighbours(inputs, rest)):  # the nearest is one of several copies
            later = {max(pair, key=keys.__getitem__): min(pair, key=keys.__getitem__) for pair in pairs.items()}
            twins |= later
            rest = rest[~np.isin(rest, list(later))]
    return {row: _first(twins, row) for row in twins}


def with_near_copies(inputs: Inputs, nearest_keys: Sequence[str]) -> Copies:
    """The copies that `inputs` knows, and the near-copies in all views of its first embedding.

    nearest_keys (m,): key of the nearest training clip of each scored clip, "" where there is none. Sections whose
    rows are all equal have no near-copies. Ranked clips that are not kept from their near-copies count as scored ones.
    """
    copies, roles, keys = inputs.copies, inputs.roles, inputs.clips.keys()
    sections = list(_varied(inputs))
    usable = {row for rows in sections for row in rows.tolist()}
    row_of = {keys[row]: row for row in usable}
    exact = {**roles.copied, **roles.repeated}
    scored = zip(roles.scored.tolist(), (row_of.get(key) for key in nearest_keys), strict=True)
    near = _named(inputs, {row: twin for row, twin in scored if twin is not None and row not in exact})
    if roles.self_ranked:
        apart = {row: twin for row, twin in inputs.near.items() if row not in exact and keys[row] not in near}
        return replace(copies, near=near, near_repeated=_named(inputs, apart))
    trained = {row: twin for rows in sections for row, twin in _neighbours(inputs, rows).items()}
    return replace(copies, near=near, near_repeated=_named(inputs, _once(trained)))


def _first(twins: Mapping[int, int], row: int) -> int:
    while row in twins:
        row = twins[row]
    return row


def _varied(inputs: Inputs, pool_sections: bool = False) -> Iterator[np.ndarray]:
    """The training clips of every section whose rows are not all equal."""
    train, X = inputs.roles.train, inputs.shared(inputs.base).array
    section = section_texts(inputs.clips[train], pool_sections)
    for text in np.unique(section).tolist():
        rows = train[section == text]
        if not _equal(inputs, rows, np.full(len(rows), rows[0])).all() and np.abs(X[rows[0]]).max() > 0:
            yield rows


def _equal(inputs: Inputs, rows: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Whether (n,) the rows of two clips differ by rounding only."""
    X, tolerance = inputs.shared(inputs.base).array, TOLERANCE[inputs.info(inputs.base).dtype]
    parts = [
        equal_but_for_rounding(X[rows[start : start + BLOCK]], X[others[start : start + BLOCK]], tolerance)
        for start in range(0, len(rows), BLOCK)
    ]
    return np.concatenate([np.zeros(0, dtype=bool), *parts])


def _neighbours(inputs: Inputs, rows: np.ndarray) -> dict[int, int]:
    """The nearest other clip of each training clip of a section."""
    if not 1 < len(rows) <= MOST_CLIPS:
        return {}
    X = inputs.matrix(inputs.evidence)[rows]
    index = nearest(X, X, 1, exclude=np.arange(len(rows)))[1][:, 0]
    return dict(zip(rows.tolist(), rows[index].tolist(), strict=True))


def _once(pairs: Mapping[int, int]) -> dict[int, int]:
    """The pairs without those that another names the other way round."""
    return {row: twin for row, twin in pairs.items() if not (pairs.get(twin) == row and row < twin)}


def _equal_pairs(inputs: Inputs, pairs: Mapping[int, int]) -> dict[int, int]:
    """The pairs whose rows are equal but for rounding."""
    rows, twins = (np.array(list(values), dtype=np.intp) for values in (pairs, pairs.values()))
    equal = _equal(inputs, rows, twins)
    return dict(zip(rows[equal].tolist(), twins[equal].tolist(), strict=True))


def _named(inputs: Inputs, pairs: Mapping[int, int]) -> dict[str, str]:
    """Keys of the pairs whose rows are equal but for rounding."""
    keys = inputs.clips.keys()
    return {keys[row]: keys[twin] for row, twin in _equal_pairs(inputs, pairs).items()}
