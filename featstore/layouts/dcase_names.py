"""The file names of DCASE Task 2, 2020 to 2026: a pattern for machine ids, one for sections, and a rule for attributes.

    2020    [normal_|anomaly_]id_05_00000000
    2021 -  section_00[_source|_target|_noise][_train|_test|_supplemental][_normal|_anomaly|_machine]_0000[_attributes]

Every part in brackets may be absent: names of evaluation clips have no domain and no label (from 2022 on:
section_00_0000), and the labelled names of the 2024 RoboticArm have no `_test`.
"""

import re
from collections.abc import Iterable
from functools import lru_cache
from itertools import zip_longest
from typing import NamedTuple

NO_ATTRIBUTE = "noAttribute"

_ID_NAME = re.compile(r"(?:(?P<label>normal|anomaly)_)?(?P<section>id_[0-9]+)_(?P<number>[0-9]+)")
_SECTION_NAME = re.compile(
    r"section_(?P<section>[0-9]+)"
    r"(?:_(?P<domain>source|target|noise))?"
    r"(?:_(?P<split>train|test|supplemental))?"
    r"(?:_(?P<label>normal|anomaly|machine|noise))?"
    r"_(?P<number>[0-9]+)"
    r"(?:_(?P<tail>.+))?",
    re.DOTALL,
)
_KEY_WITH_VALUE = re.compile(r"(?P<key>[A-Za-z]?[a-z]+)(?P<value>[0-9]+[A-Za-z]?|[A-Z][0-9]*)")


class ClipName(NamedTuple):
    """What a name states; "" where it states nothing. `tail` is the text of the attributes."""

    section: str
    split: str = ""
    domain: str = ""
    label: str = ""
    tail: str = ""

    @property
    def attributes(self) -> dict[str, str]:
        """The attributes in `tail`; {} for noAttribute."""
        return parse_attributes(self.tail)


def parse_id_name(stem: str) -> ClipName | None:
    """A name of 2020 ("normal_id_00_00000000"), or None."""
    match = _ID_NAME.fullmatch(stem)
    return match and ClipName(match["section"], label=match["label"] or "")


def parse_section_name(stem: str) -> ClipName | None:
    """A name of 2021 or later ("section_00_source_train_normal_0000_vel_6"), or None."""
    match = _SECTION_NAME.fullmatch(stem)
    return match and ClipName(*(match[name] or "" for name in ClipName._fields))


def parse_any_name(stem: str) -> ClipName | None:
    """A name of any year, or None."""
    return parse_section_name(stem) or parse_id_name(stem)


def parse_attributes(tail: str) -> dict[str, str]:
    """Attributes from the text after the clip number; every part of the text is kept.

    Tokens alternate between key and value ("vel_6_loc_C"); a last key without value gets "" ("strength_1_ambient").
    Where every token contains its own value ("spd1000_BckgC"), each token is split. A repeated key is numbered:
    "mic_2_mic_1" gives mic = 2 and mic_2 = 1. "noAttribute" gives {}. Spellings are kept as they are ("strenght").
    """
    return dict(_parse_attributes(tail))


def number_repeats(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """The pairs as a dict; the second use of a key is called key_2, the third key_3."""
    numbered: dict[str, str] = {}
    for key, value in pairs:
        name, n = key, 1
        while name in numbered:
            n += 1
            name = f"{key}_{n}"
        numbered[name] = value
    return numbered


@lru_cache(maxsize=4096)
def _parse_attributes(tail: str) -> tuple[tuple[str, str], ...]:
    if tail in ("", NO_ATTRIBUTE):
        return ()
    tokens = tail.split("_")
    matches = [_KEY_WITH_VALUE.fullmatch(token) for token in tokens]
    if all(matches):
        pairs = [(match["key"], match["value"]) for match in matches if match]
    else:
        pairs = list(zip_longest(tokens[::2], tokens[1::2], fillvalue=""))
    return tuple(number_repeats(pairs).items())
