"""Embeddings that tell nothing in a section: rows without spread, all equal, or of vanishing size.

A detector on such rows gives every clip the same score, or ranks rounding errors. So it has no vote in the fusion of
that section, unless no member has one.
"""

from collections.abc import Sequence

import numpy as np

from featstore.errors import DataError

ROUNDING = 2.0**-20
"""Spread of a section's rows, as a share of their largest value, that may be rounding: 16 steps of float32."""

VANISHING = 2.0**-63
"""Largest value of rows whose squares float32 rounds to 0."""

SHOWN = 3


def is_flat(X: np.ndarray) -> bool:
    """Whether rows X (n, d) tell nothing: none differs from the others in any value, or all values vanish."""
    largest = float(np.abs(X).max(initial=0.0))
    if largest < VANISHING:
        return True
    return float((X.max(axis=0) - X.min(axis=0)).max()) <= ROUNDING * largest


def flat_warnings(sources: Sequence[str], flat: np.ndarray, section: np.ndarray) -> tuple[str, ...]:
    """A warning for every source (embedding and view, one per member) with flat rows, which names the sections.

    flat: mask (members, n) of the training clips; section: the text of the section of each (n,). DataError where every
    source is flat in every section.
    """
    every = np.unique(section).tolist()
    where = {source: np.unique(section[row]).tolist() for source, row in zip(sources, flat, strict=True)}
    if every and all(len(names) == len(every) for names in where.values()):
        raise DataError(
            f"nothing to score by: the rows of the training clips of {', '.join(where)} are equal or vanish in every "
            "section. Look at the recordings (are they silent, or is it the wrong channel?) and at the embedder, or "
            "give another embedding"
        )
    none = [name for name in every if all(name in names for names in where.values())]
    texts = [
        f"{source}: the rows of the training clips are equal, or vanish, in "
        f"{'every section' if len(names) == len(every) else _few(names)}, so its detectors have no vote there"
        for source, names in where.items()
        if names
    ]
    if none:
        texts.append(f"no embedding tells clips apart in {_few(none)}: scores there mean nothing")
    return tuple(texts)


def _few(names: Sequence[str]) -> str:
    rest = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f" and {rest:,} more sections" if rest > 0 else "")
