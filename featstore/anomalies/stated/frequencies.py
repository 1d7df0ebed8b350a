"""Frequencies in a description: numbers and units, as people write them.

    25 Hz    3,5 kHz    1,500 rpm    1500 U/min    50 1/s    3 knocks per second    twice a second    every 2 seconds

A comma before exactly three digits separates thousands, any other comma is a decimal comma. Ranges, numbers with
another unit, and numbers after "at" without a unit are refused. Other numbers are those of parts (`bearing 2`).
"""

import math
import re
from typing import NamedTuple

from featstore.errors import DataError

_NUMBER = r"(?<!\d)(?<!\d[.,])(?P<number>(?:(?<!\w)-)?\d[\d.,]*(?<=\d)(?:e-?\d\d?)?)"
_EVENTS = r"(?:[a-z]+ )?(?:per|an?|each) "

UNITS: dict[str, tuple[str, float]] = {
    "kilohertz": (r"khz|kilohertz", 1000.0),
    "hertz": (r"hz|hertz", 1.0),
    "per_second": (rf"1/s|/s|/sec|s\^?-1|{_EVENTS}(?:second|sec)", 1.0),
    "per_minute": (rf"rpm|r\.p\.m\.|(?:u|r|rev|revs|1)?/min|min\^?-1|{_EVENTS}(?:minute|min)", 1 / 60),
    "milliseconds": (r"ms|milliseconds?", 1e-3),
    "seconds": (r"s|secs?|seconds?", 1.0),
    "minutes": (r"min|minutes?", 60.0),
}
"""Pattern of each unit, and its size in hertz or seconds."""

PERIODS = ("milliseconds", "seconds", "minutes")
RATES = (*PERIODS, "per_second", "per_minute")
_OTHER = (
    rf"db\w*|decibels?|%|percent|[mgt]hz|megahertz|h|hours?|days?|times|x|octaves?|[mcµk]?m|bars?|[km]?pa|psi|k?v|volts?"
    rf"|amps?|k?w|watts?|k?g|°c?|degrees?|{_EVENTS}(?:hour|day|week|year)"
)
_NAMED = "|".join(f"(?P<{name}>{pattern})" for name, (pattern, _) in UNITS.items())
QUANTITY = re.compile(rf"{_NUMBER}[ -]?(?:{_NAMED}|(?P<other>{_OTHER}))?(?![\w/^])")
RANGE = re.compile(r"\d ?(?:k?hz|rpm)? ?(?:[-±/x\u00d7*…]|\+-|to|and|or|\.\.+)? ?$")
UNIT = re.compile(r"\b(?:k?hz|hertz|kilohertz|rpm|u/min|r/min)\b")
AT = re.compile(r"(?:\b(?:at|around|about|near|every)|[~≈@]) ?$")
EVERY = re.compile(r"\b(?:every|period of) $")
SEVERAL_EVERY = re.compile(r"\d [a-z]+ every $")
THOUSANDS = re.compile(r"-?[1-9]\d?\d?(?:,\d\d\d)+(?:\.\d*)?")

PLAIN = str.maketrans({"\u2019": "'", "\u2013": "-", "\u2014": "-", "\u2212": "-"})
"""Typographic apostrophe, dashes and minus sign."""

_COUNTS = ["two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]
COUNT_WORDS = re.compile(rf"\b(?:{'|'.join(_COUNTS)})(?= (?:k?hz|hertz|kilohertz|rpm|(?:[a-z]+ )?(?:per|an?|each) ))")
ADVERBS = {"once": "1 times", "twice": "2 times", "thrice": "3 times"}
ADVERB = re.compile(r"\b(?:once(?= (?:per|an?|each) )|(?:twice|thrice)(?= (?:per|an?|each|every) ))")
EVERY_ONE = re.compile(r"\bevery (?=(?:second|minute)(?:$|[,.;]))")


class Frequency(NamedTuple):
    """A stated frequency; is_rate: of events or revolutions, never of a tone."""

    text: str
    hz: float
    is_rate: bool


def in_digits(text: str) -> str:
    """Lower-case words with single blanks, and counts as digits: "twice per second" is "2 times per second"."""
    words = " ".join(text.lower().translate(PLAIN).replace("n't", " not").split())
    words = COUNT_WORDS.sub(lambda match: str(_COUNTS.index(match[0]) + 2), words)
    return EVERY_ONE.sub("every 1 ", ADVERB.sub(lambda match: ADVERBS[match[0]], words))


def frequencies(words: str) -> list[Frequency]:
    """The frequencies of lower-case words in digits; DataError for a number that is none, and for a range."""
    stated = []
    for match in QUANTITY.finditer(words):
        unit = match.lastgroup or "number"
        before = words[: match.start()]
        if unit == "number":
            if AT.search(before):
                raise DataError(
                    f"the number {match['number']!r} has no unit; write Hz, kHz, rpm or per second after it"
                )
            continue
        if unit == "other" or (unit in PERIODS and (not EVERY.search(before) or SEVERAL_EVERY.search(before))):
            raise DataError(
                f"{match[0]!r} is no frequency that can be used; leave it out, or state Hz, kHz, rpm or per second"
            )
        if RANGE.search(before):
            raise DataError(f"the number before {match[0]!r} makes it a range or two numbers; state one frequency")
        size = number_of(match["number"]) * UNITS[unit][1]
        hz = (1 / size if size else math.inf) if unit in PERIODS else size
        stated.append(Frequency(match[0], hz, unit in RATES))
    left = UNIT.search(QUANTITY.sub(" ", words))
    if left:
        raise DataError(f"the unit {left[0]!r} has no number before it; write one in digits, as 25 Hz")
    return stated


def number_of(text: str) -> float:
    """A number with a decimal point or comma, or commas between thousands; DataError where it is none."""
    digits = text.replace(",", "" if THOUSANDS.fullmatch(text) else ".")
    try:
        return float(digits)
    except ValueError as error:
        raise DataError(f"the number {text!r} cannot be read; write it as 1500 or 3.5") from error
