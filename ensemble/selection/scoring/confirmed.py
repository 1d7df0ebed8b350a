"""Recordings that a person labelled join a validation: confirmed faults, and false alarms confirmed as normal.

They are scored as the others are, by a bank of their section without one fold, and are in no bank themselves. Their own
scores are computed and cached apart, so the scores of the generated anomalies remain valid when labels are added.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from ensemble.selection.scoring.validation import CONFIRMED, NORMAL, Validation, section_numbers
from featstore.table import ClipTable, decode

PRIOR_FAULTS = 40
"""Number of confirmed faults that weigh as much as all generated anomalies together (docs/selection.md)."""

ENOUGH_FAULTS = 20
"""Least number of confirmed faults to choose by where no generated anomaly separates the candidates."""


def confirmed_faults(validation: Validation) -> int:
    """Number of the confirmed faults."""
    return int((validation.pair[len(validation) - validation.confirmed :] != NORMAL).sum())


def confirmed_share(validation: Validation, *, generated: bool) -> float:
    """Weight of the confirmed faults beside that of all generated pairs, from 0 to 1; it grows with their number.

    generated: whether any generated pair has a weight.
    """
    count = confirmed_faults(validation)
    if not generated:
        return float(count >= ENOUGH_FAULTS)
    return count / (count + PRIOR_FAULTS)


def confirmed_part(
    validation: Validation, clips: ClipTable, facts: Mapping[str, np.ndarray], faults: Mapping[str, bool]
) -> Validation:
    """The training recordings of a validation followed by the labelled recordings, to score the latter.

    faults: whether a recording, by its key, is a fault. Recordings of other sections, and normal ones that the
    validation already has, are left out.
    """
    training = np.flatnonzero(validation.training)
    known = {validation.keys[i] for i in training.tolist()}
    row_of = {key: i for i, key in enumerate(clips.keys()) if key in faults}
    order = sorted(row_of.keys() - known)
    rows = np.array([row_of[key] for key in order], dtype=np.intp)
    section = section_numbers(clips[rows], list(validation.sections))
    kept = section >= 0
    rows, section = rows[kept], section[kept]
    keys = tuple(key for key, keep in zip(order, kept.tolist(), strict=True) if keep)
    content = _contents(clips, facts, rows)
    of_content = dict(zip(_contents(clips, facts, validation.rows[training]), training.tolist(), strict=True))
    source, fold, half = _placed(validation, content, of_content, section, [faults[key] for key in keys])
    return replace(
        validation,
        rows=np.concatenate([validation.rows[training], rows]),
        keys=(*(validation.keys[i] for i in training.tolist()), *keys),
        section=np.concatenate([validation.section[training], section]),
        domain=np.concatenate([validation.domain[training], clips.column("domain")[rows]]),
        pair=np.concatenate([validation.pair[training], [0 if faults[key] else NORMAL for key in keys]]).astype(int),
        source=np.concatenate([validation.source[training], source]),
        fold=np.concatenate([validation.fold[training], fold]),
        pairs=(CONFIRMED,),
        changes=None,
        block=_with_blocks_of(validation, training, source),
        confirmed=len(keys),
        halves=np.concatenate([np.where(validation.half(0), 0, 1)[training], half]),
    )


def _contents(clips: ClipTable, facts: Mapping[str, np.ndarray], rows: np.ndarray) -> list[str]:
    """Content hash of clips, or the path of their recording where that is unknown."""
    hashes = decode(facts["content_hash"][rows])
    return [text or path for text, path in zip(hashes, clips[rows].recordings(), strict=True)]


def _with_blocks_of(validation: Validation, training: np.ndarray, source: np.ndarray) -> np.ndarray | None:
    """Blocks of the training recordings, then of labelled recordings by source (m,), where clips have blocks.

    A source that the validation lacks is a block of its own.
    """
    if validation.block is None:
        return None
    block_of = dict(zip(validation.source.tolist(), validation.block.tolist(), strict=True))
    first = int(validation.block.max()) + 1
    labelled = [block_of.get(number, first + number) for number in source.tolist()]
    return np.concatenate([validation.block[training], np.array(labelled, dtype=np.intp)])


def _placed(
    validation: Validation,
    content: list[str],
    of_content: Mapping[str, int],
    section: np.ndarray,
    faults: list[bool],
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Source, fold and half of labelled recordings, each (m,); those of an exact copy where the validation has one.

    A fold follows from the content alone, so it stays the same when labels are added. Halves take turns.
    """
    folds, first = int(validation.fold.max()) + 1, int(validation.source.max()) + 1
    digest = [hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest() for text in content]
    numbers = {text: first + i for i, text in enumerate(sorted(set(content) - set(of_content)))}
    order = sorted(range(len(content)), key=lambda i: (not faults[i], section[i], digest[i]))
    turn: dict[str, int] = {}
    for i in order:
        turn.setdefault(content[i], len(turn) % 2)
    second = validation.half(1)
    places = [of_content.get(text) for text in content]
    rows = [
        (numbers[text], int(number, 16) % folds, turn[text])
        if place is None
        else (int(validation.source[place]), int(validation.fold[place]), int(second[place]))
        for text, number, place in zip(content, digest, places, strict=True)
    ]
    source, fold, half = np.array(rows, dtype=np.intp).reshape(-1, 3).T
    return source, fold, half


def joined(validation: Validation, part: Validation) -> Validation:
    """The clips of a validation and the labelled recordings of its `confirmed_part`, to choose by; not to be scored."""
    last = slice(len(part) - part.confirmed, None)
    has_faults = bool((part.pair[last] != NORMAL).any())
    pair = np.where(part.pair[last] == NORMAL, NORMAL, len(validation.pairs))
    return replace(
        validation,
        rows=np.concatenate([validation.rows, part.rows[last]]),
        keys=validation.keys + part.keys[last],
        section=np.concatenate([validation.section, part.section[last]]),
        domain=np.concatenate([validation.domain, part.domain[last]]),
        pair=np.concatenate([validation.pair, pair]),
        source=np.concatenate([validation.source, part.source[last]]),
        fold=np.concatenate([validation.fold, part.fold[last]]),
        pairs=(*validation.pairs, CONFIRMED) if has_faults else validation.pairs,
        changes=None,
        block=None if validation.block is None or part.block is None else np.r_[validation.block, part.block[last]],
        confirmed=part.confirmed,
        halves=np.concatenate([np.where(validation.half(0), 0, 1), np.where(part.half(0), 0, 1)[last]]),
    )
