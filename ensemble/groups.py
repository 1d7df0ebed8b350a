"""Clips that hang together, for honest references: the blocks that `--group recording|day|ATTRIBUTE` makes.

Clips of one block take no part in each other's reference (block cross-validation). They would make a reference look
better than it is: clips of the same day resemble each other more than they resemble those of the next day.

- `recording`: clips with the same path or the same content. The windows of a recording have its path.
- `day`: the date. It comes from an attribute (DAY_ATTRIBUTES), else from the file name, else from the nearest folder
  with a date in its name. Modification times are not used, because copying changes them.
- any other word: the attribute of that name. Where clips have an attribute `recording`, it replaces the path.

Copies (equal content) are always in one block, which joins the blocks of both. A clip without a value is a block of its
own. What `ensemble.windows.blocks` says holds without any group.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from typing import NamedTuple

import numpy as np

from featstore.clip import Clip
from featstore.errors import DataError
from featstore.spec import did_you_mean
from featstore.table import ClipTable

RECORDING, DAY = "recording", "day"

DAY_ATTRIBUTES = ("day", "date", "datetime", "timestamp", "time")
"""Attributes that may hold a day, the first that does; `day` and `date` in any form, the others only as YYYY-MM-DD."""

FEW_BLOCKS = 3
"""With so few blocks, a bank without one of them is clearly smaller than the final bank, and few changes are seen."""

ALONE = -1
"""Block of clips whose section has only one block, so that each is left out by itself."""

_DATE = re.compile(
    r"(?<!\d)((?:19[7-9]|20\d)\d)([-_.]?)(0[1-9]|1[0-2])\2(0[1-9]|[12]\d|3[01])(?=\d{4}(?!\d)|\d{6}(?!\d)|(?!\d))"
)
"""20240131, 2024-01-31, 2024_01_31 or 2024.01.31; four or six digits of a time may follow directly."""


class Blocks(NamedTuple):
    """Block number of every clip (n,), ALONE for clips that are left out singly, and notes for the user."""

    number: np.ndarray
    notes: tuple[str, ...]


def blocks_of(group: str, clips: ClipTable, identity: Sequence[str], section: np.ndarray) -> Blocks:
    """Blocks of normal training clips, within each section (n,).

    `identity` is the content hash of each clip, or the path of its recording where that is unknown. DataError where no
    clip has the group, or where no section has two blocks (but the windows of an only recording can be divided).
    """
    names = group_names(group, clips)
    if not any(names):
        raise DataError(_missing(group, clips))
    own = [f"\0{content}" for content in identity]
    named = [name or alone for name, alone in zip(names, own, strict=True)]
    number = joined_blocks(section, named, own)
    first = {block: row for row, block in reversed(list(enumerate(number.tolist())))}
    sections = {text: np.unique(number[section == text]) for text in np.unique(section).tolist()}
    single = [text for text, blocks in sections.items() if len(blocks) == 1]
    windows = np.isfinite(clips.windows()[:, 0])
    divided = set(section[windows].tolist()) if group == RECORDING and names == clips.recordings() else set()
    if len(single) == len(sections) and not divided:
        raise DataError(_one_block(group, sections, [names[first[int(blocks[0])]] for blocks in sections.values()]))
    number[np.isin(section, single)] = ALONE
    several = {text: len(blocks) for text, blocks in sections.items() if len(blocks) > 1}
    undivided = [text for text in single if text not in divided]
    return Blocks(number, tuple(_notes(group, names, several, undivided, "recordings" if windows.any() else "clips")))


def filled(number: np.ndarray, alone: np.ndarray) -> np.ndarray:
    """Block numbers (n,) in which clips that are left out singly have those of `alone` (n,), after all others."""
    return np.where(number == ALONE, number.max() + 1 + alone, number)


def group_names(group: str, clips: ClipTable) -> list[str]:
    """Name of every clip's group; empty where it has none."""
    if group == DAY:
        return [day_of(clip) for clip in clips]
    values = [clip.attributes.get(group, "") for clip in clips]
    return values if group != RECORDING or any(values) else clips.recordings()


def day_of(clip: Clip) -> str:
    """Day of a clip, as a date where it is one; empty where none is known."""
    for name in DAY_ATTRIBUTES:
        text = clip.attributes.get(name, "")
        day = _date(text) or (text if name in ("day", "date") else "")
        if day:
            return day
    parts = reversed(clip.recording.split("/"))
    return next(filter(None, map(_date, parts)), "")


def _date(text: str) -> str:
    """The first date in a text in the form YYYY-MM-DD; empty if there is none."""
    for match in _DATE.finditer(text):
        try:
            return date(int(match[1]), int(match[3]), int(match[4])).isoformat()
        except ValueError:  # 31 February
            continue
    return ""


def joined_blocks(section: np.ndarray, names: Iterable[str], identity: Iterable[str]) -> np.ndarray:
    """Block numbers (n,) of clips, in sorted order: those of a section that share a name or an identity."""
    return _joined(block_numbers(section, names), block_numbers(section, identity))


def block_numbers(section: np.ndarray, names: Iterable[str]) -> np.ndarray:
    """Number (n,) of each pair of section and name, in sorted order."""
    pairs = list(zip(section.tolist(), names, strict=True))
    number: Mapping[tuple[str, str], int] = {pair: i for i, pair in enumerate(sorted(set(pairs)))}
    return np.array([number[pair] for pair in pairs], dtype=np.intp)


def _joined(number: np.ndarray, identity: np.ndarray) -> np.ndarray:
    """Block numbers (n,), in the same order, with those joined that share an identity."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    blocks, nodes = int(number.max()) + 1, int(number.max() + identity.max()) + 2
    edges = coo_matrix((np.ones(len(number)), (number, blocks + identity)), shape=(nodes, nodes))
    label = np.asarray(connected_components(edges, directed=False)[1])
    joined: np.ndarray = label[number]
    return joined


def _notes(
    group: str, names: Sequence[str], several: Mapping[str, int], single: Sequence[str], unit: str
) -> Iterable[str]:
    if single:
        yield (
            f"--group {group}: {few(single)} {'has' if len(single) == 1 else 'have'} only one {group}, so single "
            f"{unit} are left out there, and the stated false-alarm rate may not hold"
        )
    if group == RECORDING and sum(several.values()) == len(names):
        yield f"--group {group} changes nothing: every training clip is a recording of its own"
    lacking = sum(not name for name in names)
    if lacking:
        yield f"--group {group}: {lacking} of {len(names)} training clips have no {group}; they are left out singly"
    yield from few_notes(f"--group {group}", several, f"{FEW_BLOCKS}")


def few_notes(origin: str, counts: Mapping[str, int], most: str) -> Iterable[str]:
    """A note on the sections with few blocks, from the number of blocks by section; `most` words FEW_BLOCKS."""
    small = [text for text, count in counts.items() if 1 < count <= FEW_BLOCKS]
    if small:
        yield (
            f"{origin}: {few(small)} {'has' if len(small) == 1 else 'have'} at most {most}, so the reference "
            "scores come from clearly smaller banks than the final one; the stated false-alarm rate is approximate "
            "there, usually too high"
        )


def few(sections: Sequence[str], shown: int = 3) -> str:
    """Names of some sections, and the number of the others."""
    rest = len(sections) - shown
    return ", ".join(sections[:shown]) + (f" and {rest} more" if rest > 0 else "")


def _missing(group: str, clips: ClipTable) -> str:
    known = sorted({name for clip in clips for name in clip.attributes})
    example = clips[0].path
    if group == DAY:
        return (
            f"--group {group}: no training clip has a day, such as 2024-01-31 or 20240131 in its path (the first is "
            f"{example!r}) or in an attribute {', '.join(DAY_ATTRIBUTES)} (there are: {', '.join(known) or 'none'}). "
            "Add attr_day to a manifest, or leave --group out; file times are not used, because copying changes them"
        )
    return (
        f"--group {group}: no training clip has the attribute {group!r}; choose {RECORDING}, {DAY}"
        f"{''.join(f', {name}' for name in known)}{did_you_mean(group, [RECORDING, DAY, *known])}"
    )


def _one_block(group: str, sections: Iterable[str], names: Sequence[str]) -> str:
    example = f"{next(iter(sections))}: {names[0]!r}" if names[0] else next(iter(sections))
    return (
        f"--group {group}: the training clips of every section are of one {group} ({example}), so none of them has "
        f"another {group} to be compared with; add recordings of another {group}, or leave --group out, so that single "
        "clips are left out"
    )
