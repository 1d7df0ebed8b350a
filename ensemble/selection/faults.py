"""The labels of `detect select --faults CSV`: recordings of a store that a person confirmed as faults or as normal.

    clip,label
    fan/test/0031.wav,fault
    0044.wav,false alarm

A clip is named as in scores.csv, by a path that ends alike, or by a file name that only one recording has. No other
label of a store is read. A clip with the label `ignore`, as `detect marks --csv` writes it, is passed over.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from ensemble.marks.apply import marks_of
from ensemble.marks.file import FAULT, IGNORE, NORMAL
from ensemble.marks.names import recordings
from ensemble.selection.scoring.cache import ScoreCache
from ensemble.selection.scoring.confirmed import ENOUGH_FAULTS, confirmed_faults, confirmed_part, joined
from ensemble.selection.scoring.score_candidates import Scored, score_candidates
from ensemble.selection.scoring.validation import Validation
from featstore.errors import DataError
from featstore.layouts.csv_text import csv_rows
from featstore.layouts.labels import ANOMALY_WORDS, NORMAL_WORDS
from featstore.layouts.names import several
from featstore.store import FeatureStore
from featstore.terminal.shown import counted

HEADER = ("clip", "label")
LABELS = {
    **dict.fromkeys(ANOMALY_WORDS, True),
    **dict.fromkeys((*NORMAL_WORDS, "false alarm"), False),
    IGNORE: None,
}
"""Whether a label says fault; None for a clip that is passed over."""

MAX_BYTES = 1 << 26
"""Larger files are refused; a line of 100 bytes for each of 600,000 clips fits."""


def read_faults(path: Path, store: FeatureStore) -> dict[str, bool]:
    """Whether each recording of the file is a fault, by its key.

    DataError names the file and the line of a clip that the store lacks, a name that several recordings have, a label
    that is unknown, a clip with both labels, or one that the store has another mark of.
    """
    names = recordings(store)
    faults: dict[str, bool] = {}
    lines: dict[str, int] = {}
    for line, name, label in _rows(path):
        where = f"{path}, line {line}"
        if label not in LABELS:
            raise DataError(f"{where}: the label {label!r}; expected one of {', '.join(LABELS)}")
        is_fault = LABELS[label]
        if is_fault is None:
            continue
        fitting = names.fitting(name)
        if len(fitting) != 1:
            problem = several(fitting, "recordings") if fitting else f"is no recording of {store.path}"
            raise DataError(f"{where}: {name!r} {problem}; expected a path as in scores.csv, or a unique file name")
        key = fitting[0]
        if faults.setdefault(key, is_fault) != is_fault:
            raise DataError(f"{where}: {key!r} has another label on line {lines[key]}; remove the wrong one")
        mark = marks_of(store).get(key)
        if mark and mark.mark != (FAULT if is_fault else NORMAL):
            raise DataError(
                f"{where}: {key!r} has the label {label!r}, but another mark in the store ({mark}); remove the line, "
                "or take the mark back with `detect mark STORE CLIP none`"
            )
        lines.setdefault(key, line)
    if not faults:
        raise DataError(f"{path}: no clips; expected lines of `clip,label` below that header")
    return faults


def _rows(path: Path) -> Iterator[tuple[int, str, str]]:
    """Line number, clip and label of every row."""
    rows = csv_rows(path, max_bytes=MAX_BYTES)
    _, first = next(rows)
    header = [column.strip().lower() for column in first]
    missing = [column for column in HEADER if column not in header]
    if missing:
        raise DataError(
            f"{path}: the first line lacks the column {missing[0]!r}; expected a header with clip and label, "
            f"got {','.join(header)[:80]!r}"
        )
    for line, row in rows:
        if len(row) != len(header):
            raise DataError(f"{path}, line {line}: expected {len(header)} columns, got {len(row)}")
        name, label = (row[header.index(column)] for column in HEADER)
        yield line, name, " ".join(label.lower().replace("_", " ").split())


def with_confirmed(  # noqa: PLR0917 - one caller
    store: FeatureStore,
    base: str,
    validation: Validation,
    scored: Scored,
    cache: ScoreCache,
    faults: Mapping[str, bool],
    workers: int | None,
) -> tuple[Validation, Scored, Validation]:
    """A validation and the candidates' scores on it, with the labelled recordings of the embedding `base` added.

    The last is the `confirmed_part`: only the labelled recordings are scored. DataError where the validation has no
    generated anomalies and there are fewer than ENOUGH_FAULTS faults.
    """
    count = sum(faults.values())
    if not validation.pairs and count < ENOUGH_FAULTS:
        raise DataError(
            f"{store.path}: {counted(count, 'confirmed fault')} and no generated anomalies; choosing needs at least "
            f"{ENOUGH_FAULTS} faults, or anomalies of `featstore build DATA STORE --anomalies auto` (or --perturb)"
        )
    part = confirmed_part(validation, store.clips(base), store.facts(base), faults)
    together = joined(validation, part)
    lost = len(faults.keys() - set(together.keys))
    if lost:
        note = (
            f"{counted(lost, 'confirmed clip')} of a section that is left out, or without a row in {base}, not counted"
        )
        together = replace(together, notes=(*together.notes, note))
    if not part.confirmed:
        return together, scored, part
    labelled = np.arange(len(part)) >= len(part) - part.confirmed
    added = score_candidates(store, scored.members, part, cache, part=labelled, workers=workers)
    kept = [member.name not in added.failed for member in scored.members]
    scores = np.concatenate([scored.scores[kept], added.scores[:, labelled]], axis=1)
    return together, Scored(added.members, scores, scored.computed, {**scored.failed, **added.failed}), part


def clip_counts(validation: Validation) -> dict[str, int]:
    """Number of clips of every kind; those that a person labelled only where there are some."""
    faults = confirmed_faults(validation)
    counts = {
        "normal": int(validation.training.sum()),
        "generated": int((~validation.normal).sum()) - faults,
    }
    labelled = {"confirmed faults": faults, "confirmed normal": validation.confirmed - faults}
    return {**counts, **labelled} if validation.confirmed else counts
