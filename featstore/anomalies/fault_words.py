"""Faults described in words, read by rules: known words of maintenance become chains of transforms.

    slight bearing wear at 30 Hz       impacts:per_second=30,level_db=-6+leak:level_db=-16
    loose belt, squealing              speed:up=0+squeal

A rule is a pattern of words and the steps that it stands for. Words are read in parts, between commas and "and". Words
of strength (slight, severe) move the level of the faults of their part, or of all faults where their part names none.
A frequency sets the rate of impacts and modulations (`25 Hz`, `1500 rpm`) or the pitch of sounds (`3 kHz`) in the same
way; one that no step can use is refused. A word after "no", "not" or "without" does not count, and neither does a part
that is called healthy. The idea of describing faults in words is that of MIMII-Agent (arXiv 2507.20666), where a
language model reads them; see `embedders.pretrained.text_model`.
"""

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from featstore.anomalies.chain import LEVELS_DB, LONGEST, MOST_STEPS, STEPS, Chain, Step
from featstore.anomalies.stated.frequencies import Frequency, frequencies, in_digits
from featstore.errors import DataError

SLOW_HZ = 200.0
"""Frequencies below are rates of impacts and modulations where a step has one, others the pitch of sounds."""

SAME = 0.01
"""Relative difference up to which two numbers state the same frequency: 16.7 Hz (1000 rpm)."""

RATES = ("per_second", "frequency_hz")
PITCHES = ("resonance_hz", "pitch_hz", "centre_hz")

RULES: tuple[tuple[str, str, str], ...] = (
    ("bearing wear", r"bearings?|races?|spall\w*|pitting|raceway|roller elements?", "impacts+leak:level_db=-10"),
    ("lack of grease", r"grease|lubricat\w*|oil film|runs? dry|dry", "squeal:level_db=-3+leak"),
    ("unbalance", r"(?:un|im)balanc\w*|eccentric\w*|misalign\w*|bent|wobbl\w*", "modulation"),
    ("leak", r"leak\w*(?! currents?\b)|escap\w*|hiss\w*|blow\w* off", "leak"),
    ("loose belt", r"(?:(?:loose|slack|worn) )?belts?|slip\w*", "speed:up=0+squeal:level_db=-3"),
    ("looseness", r"loose\w*|rattl\w*|bolts?|screws?|play|clatter\w*", "distortion+impacts:level_db=-3"),
    ("clogging", r"clog\w*|block\w*|obstruct\w*|dust\w*|dirt\w*|fouling|filter", "blockage+bursts:level_db=-6"),
    ("cavitation", r"cavitat\w*|bubbles?|air in", "bursts:octaves=2+impacts:per_second=60,level_db=-3"),
    ("gear damage", r"gears?|tooth|teeth|pinion", "modulation:level_db=-3+impacts:per_second=12"),
    ("broken blade", r"blades?|propellers?|rotors?|impellers?|vanes?|crack\w*|chip\w*|broken", "modulation+pitch"),
    ("sticking", r"stick\w*|stuck|jam\w*|stutter\w*|stiction|hesitat\w*", "stutter+dropouts:level_db=-3"),
    ("loose contact", r"contacts?|intermittent\w*|drops? out|interrupt\w*|cuts? out", "dropouts"),
    ("friction", r"friction|rub\w*|scrap\w*|grind\w*|scratch\w*|abras\w*", "leak:octaves=2+distortion:level_db=-6"),
    ("squeal", r"squeal\w*|squeak\w*|screech\w*|whistl\w*|whin\w*", "squeal"),
    ("electrical hum", r"hum\w*|buzz\w*|arcing|electric\w*|transformer|phase", "squeal:pitch_hz=100"),
    ("too fast", r"fast\w*|overspeed|racing", "speed:up=1"),
    ("too slow", r"slow\w*|underspeed|undervoltage|voltage|supply|overload\w*", "speed:up=0"),
    ("knocking", r"knock\w*|bang\w*|hammer\w*|click\w*|tick\w*|clack\w*|impacts?", "impacts"),
    ("end stop", r"end stops?|hits?|clipping|bottom\w* out", "clipping+impacts:per_second=2"),
    ("resonance", r"resonan\w*|mount\w*|stiffness|foundation", "warp"),
    ("weak spring", r"springs?|valve seat|does not close|chatter\w*", "stutter+leak:level_db=-6"),
)
"""Name of a fault, the words that name it, and its chain. Earlier rules come first in a chain of many."""

STRENGTHS_DB = (
    (r"slight\w*|mild\w*|early|incipient|minor|weak|little|faint\w*|hardly|barely|scarcely", -6.0),
    (r"severe\w*|strong\w*|heavy|heavily|serious\w*|advanced|loud", 6.0),
)
HELP = (
    f"describe it as one of {', '.join(name for name, _, _ in RULES)}, or write a chain such as "
    "impacts:per_second=12+leak"
)

_STRENGTHS = "|".join(words for words, _ in STRENGTHS_DB)
PARTS = re.compile(rf",(?!\d)|;|\b(?:but|plus)\b|(?<!\d )\band\b|\band\b(?! \d)|\bwith (?:an? )?(?=(?:{_STRENGTHS})\b)")
DECIBELS = re.compile(r"-?\d[\d.,]* ?(?:db|decibels?)\b")
_HARM = (
    r"(?:wear|damages?|faults?|defects?|play|noises?|problems?|worn|damaged|faulty|broken|cracked|loose|slack|noisy)"
)
_HEALTHY = r"(?:healthy|normal|normally|fine|ok|okay|good|intact|undamaged)"
NEGATION = re.compile(
    rf"\b(?:no|not|without|never|nothing) (?:(?:signs?|traces?|evidence) of )?(?:{_HARM} (?:of|in|on|at) )?"
    r"(?:is |are |a |any |the )?(?:\w+ (?:or |nor )?)?$"
)
HEALTHY_BEFORE = re.compile(
    r"\b(?:healthy|normal|intact|undamaged|good) (?:(?!speed|load|operation|with|without|except)\w+ )?$"
)
HEALTHY_AFTER = re.compile(
    r"-(?:free|proof)\b"
    rf"| (?:is |are |runs? )?without (?:\w+ )?(?:\w+ )?{_HARM}\b"
    rf"| (?:is|are) not {_HARM}\b| (?:has|have|shows?) no (?:\w+ )?{_HARM}\b"
    rf"| (?:\w+ )?(?:is|are|sounds?|looks?|seems?|runs?) {_HEALTHY}\b| {_HEALTHY}$"
)
DENIED = re.compile(rf"\bnot (?:very |so |too |quite )?(?:{_STRENGTHS}|{_HEALTHY})\b")
"""What is "not severe" has no strength, and what is "not healthy" is a fault."""


@dataclass(frozen=True)
class Part:
    """The words between two commas: the faults that they name (rule, steps), their strength and their frequencies."""

    faults: Sequence[tuple[int, tuple[Step, ...]]]
    level_db: float
    frequencies: Sequence[Frequency]


def read_words(text: str) -> Chain:
    """The chain of a description; DataError where no word of it is known, or a number of it cannot be used."""
    if len(text) > LONGEST:
        raise DataError(f"fault {text!r:.60}...: {len(text):,} characters, at most {LONGEST} are read")
    words = in_digits(text)
    try:
        parts = [_part(words_of_part.strip()) for words_of_part in PARTS.split(words)]
        if not any(part.faults for part in parts):
            raise DataError(f"no known word; {HELP}")
        steps = _stated(_merged(_steps(parts))[:MOST_STEPS], parts)
    except DataError as error:
        raise DataError(f"fault {text!r:.80}: {error}") from error
    low, high = LEVELS_DB
    levelled = (replace(step, level_db=min(max(step.level_db, low), high)) for step in steps)
    return Chain.parse(str(Chain(tuple(levelled))))


def _part(words: str) -> Part:
    words = left = " ".join(DENIED.sub("", words).split())
    faults = []
    for i, (_, pattern, chain) in enumerate(RULES):
        if _says(left, pattern):
            faults.append((i, Chain.parse(chain).steps))
            left = re.sub(rf"\b(?:{pattern})\b", "", left)  # the "loose" of a loose belt is no looseness
    level_db = sum(level for pattern, level in STRENGTHS_DB if _says(words, pattern))
    decibels, (low, high) = DECIBELS.search(words), LEVELS_DB
    if decibels:
        raise DataError(
            f"{decibels[0]!r} cannot be used; strength is written as slight or severe, or in a chain as level_db "
            f"of {low:g} to {high:g}"
        )
    return Part(faults, level_db, frequencies(words))


def _says(words: str, pattern: str) -> bool:
    """Whether the words contain the pattern, other than negated or called healthy."""
    for match in re.finditer(rf"\b(?:{pattern})\b", words):
        before = words[: match.start()]
        if not (NEGATION.search(before) or HEALTHY_BEFORE.search(before) or HEALTHY_AFTER.match(words, match.end())):
            return True
    return False


def _steps(parts: Sequence[Part]) -> list[Step]:
    """The steps of all parts at their strength, in the order of the rules."""
    of_all_db = sum(part.level_db for part in parts if not part.faults)
    faults = [(rule, part.level_db + of_all_db, steps) for part in parts for rule, steps in part.faults]
    return [
        replace(step, level_db=step.level_db + level_db)
        for _, level_db, steps in sorted(faults, key=lambda fault: fault[0])
        for step in steps
    ]


def _merged(steps: Iterable[Step]) -> list[Step]:
    """Steps of several chains, each transform once, at its highest level."""
    merged: dict[str, Step] = {}
    for step in steps:
        before = merged.get(step.name)
        if before is None:
            merged[step.name] = step
        elif step.level_db > before.level_db:
            merged[step.name] = replace(step, parameters={**before.parameters, **step.parameters})
    return list(merged.values())


def _stated(steps: Sequence[Step], parts: Iterable[Part]) -> list[Step]:
    """The steps with the frequencies that their parts state; DataError for one that none of them can use."""
    stated: dict[tuple[str, str], Frequency] = {}
    for part in parts:
        own = {step.name for _, chain in part.faults for step in chain}
        names = [step.name for step in steps if not own or step.name in own]
        for frequency in part.frequencies:
            for place in _places(frequency, names):
                before = stated.setdefault(place, frequency)
                if not math.isclose(before.hz, frequency.hz, rel_tol=SAME):
                    raise DataError(
                        f"{before.text!r} and {frequency.text!r} are both {place[1]} of {place[0]}; "
                        "state one frequency, or write two faults"
                    )
    return [
        replace(
            step,
            parameters={**step.parameters, **{key: f.hz for (name, key), f in stated.items() if name == step.name}},
        )
        for step in steps
    ]


def _places(frequency: Frequency, names: Sequence[str]) -> list[tuple[str, str]]:
    """The steps and parameters that a frequency sets; DataError where there are none."""
    orders = [RATES] if frequency.is_rate else [RATES, PITCHES] if frequency.hz < SLOW_HZ else [PITCHES]
    for kinds in orders:
        places = [
            (name, key)
            for name in names
            for key, (low, high) in STEPS[name].parameters.items()
            if key in kinds and low <= frequency.hz <= high
        ]
        if places:
            return places
    ranges = [
        f"{key} of {name} takes {low:g} to {high:g}"
        for name in names
        for key, (low, high) in STEPS[name].parameters.items()
        if any(key in kinds for kinds in orders)
    ]
    expected = (
        ", ".join(ranges) or f"{' and '.join(names) or f'a step after the first {MOST_STEPS}'} takes no such frequency"
    )
    raise DataError(
        f"{frequency.text!r} ({frequency.hz:.6g} Hz) fits no step: {expected}; change the number or leave it out"
    )
