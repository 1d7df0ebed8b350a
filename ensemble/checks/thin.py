"""Banks with too few training clips for their test clips to be scored."""

from collections import Counter
from collections.abc import Iterable, Mapping

import numpy as np

from featstore.terminal.shown import counted

LEAST_CLIPS = 2
"""Training clips of a bank: one is compared with the others."""

CURE = (
    "add normal recordings, join the sections of a machine into one bank with --pool-sections, or name only the other "
    "machines with --machine"
)


def thin_of(banks: list[tuple[str, str]], train: np.ndarray, scored: np.ndarray) -> dict[tuple[str, str], int]:
    """Training clips of every bank with test clips and fewer than two training clips."""
    n_train = Counter(banks[i] for i in train)
    return {bank: n_train[bank] for bank in sorted({banks[i] for i in scored}) if n_train[bank] < LEAST_CLIPS}


def thin_reason(count: int) -> str:
    """Why the test clips of a bank with `count` training clips have no score."""
    return f"its section has {counted(count, 'training clip')}, {LEAST_CLIPS} are needed"


def _thin_texts(thin: Mapping[tuple[str, str], int], banks: list[tuple[str, str]], scored: np.ndarray) -> Iterable[str]:
    n_test = Counter(banks[i] for i in scored)
    for (machine, section), count in thin.items():
        tests = counted(n_test[machine, section], "test clip")
        yield f"{machine} section {section} has {counted(count, 'training clip')} for {tests}"


def too_small(thin: Mapping[tuple[str, str], int], banks: list[tuple[str, str]], scored: np.ndarray) -> str:
    """What to say where every bank with test clips is too small."""
    texts = "; ".join(_thin_texts(thin, banks, scored))
    return f"a section needs at least two normal training clips: {texts}. {CURE[0].upper()}{CURE[1:]}"


def thin_notes(thin: Mapping[tuple[str, str], int], banks: list[tuple[str, str]], scored: np.ndarray) -> Iterable[str]:
    """A note on each of the first sections that are left out, and the number of the others."""
    texts = list(_thin_texts(thin, banks, scored))
    if texts:
        rest = f"; and {len(texts) - SHOWN:,} more" if len(texts) > SHOWN else ""
        yield f"left out, at least two different training clips are needed: {'; '.join(texts[:SHOWN])}{rest}; {CURE}"


SHOWN = 5
"""Sections that a note names."""
