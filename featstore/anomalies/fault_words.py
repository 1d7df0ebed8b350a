"""Faults described in words, read by rules: known words of maintenance become chains of transforms.

    slight bearing wear at 30 Hz       impacts:per_second=30,level_db=-6+leak:level_db=-16
    loose belt, squealing              speed:up=0+squeal

A rule is a pattern of words and the steps that it stands for. Words of strength (slight, severe) move the level of all
steps. A frequency sets the rate of impacts and modulations (`25 Hz`, `1500 rpm`) or the pitch of sounds (`3 kHz`). A
word after "no", "not" or "without" does not count. The idea of describing faults in words is that of MIMII-Agent
(arXiv 2507.20666), where a language model reads them; see `embedders.pretrained.text_model`.
"""

import re
from collections.abc import Iterable
from dataclasses import replace

from featstore.anomalies.chain import LEVELS_DB, MOST_STEPS, STEPS, Chain, Step
from featstore.errors import DataError

SLOW_HZ = 200.0
"""Frequencies below are rates of impacts and modulations, others the pitch of sounds."""

RULES: tuple[tuple[str, str, str], ...] = (
    ("bearing wear", r"bearings?|races?|spall\w*|pitting|raceway|roller elements?", "impacts+leak:level_db=-10"),
    ("lack of grease", r"grease|lubricat\w*|oil film|runs? dry|dry", "squeal:level_db=-3+leak"),
    ("unbalance", r"(?:un|im)balanc\w*|eccentric\w*|misalign\w*|bent|wobbl\w*", "modulation"),
    ("leak", r"leak\w*|escap\w*|hiss\w*|blow\w* off", "leak"),
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
    (r"slight\w*|mild\w*|early|incipient|minor|weak|little|faint", -6.0),
    (r"severe\w*|strong\w*|heavy|heavily|serious\w*|advanced|loud", 6.0),
)
NEGATION = re.compile(r"\b(?:no|not|without|never)\s+(?:\w+\s+)?$")
RATE = re.compile(r"(\d+(?:\.\d+)?)\s*(khz|hz|rpm|(?:times )?(?:per|a) second|/s)\b")


def read_words(text: str) -> Chain:
    """The chain of a description; DataError where no word of it is known."""
    words = left = " ".join(text.lower().split())
    chosen = []
    for _, pattern, chain in RULES:
        if _says(left, pattern):
            chosen.append(Chain.parse(chain))
            left = re.sub(rf"\b(?:{pattern})\b", "", left)  # the "loose" of a loose belt is no looseness
    if not chosen:
        known = ", ".join(name for name, _, _ in RULES)
        raise DataError(
            f"fault {text!r:.80}: no known word; describe it as one of {known}, or write a chain such as "
            "impacts:per_second=12+leak"
        )
    level_db = sum(level for pattern, level in STRENGTHS_DB if _says(words, pattern))
    steps = _merged(step for chain in chosen for step in chain.steps)[:MOST_STEPS]
    steps = [_with_frequencies(step, words) for step in steps]
    low, high = LEVELS_DB
    return Chain.parse(
        str(Chain(tuple(replace(step, level_db=min(max(step.level_db + level_db, low), high)) for step in steps)))
    )


def _says(words: str, pattern: str) -> bool:
    """Whether the words contain the pattern, other than after a negation."""
    return any(not NEGATION.search(words[: match.start()]) for match in re.finditer(rf"\b(?:{pattern})\b", words))


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


def _with_frequencies(step: Step, words: str) -> Step:
    """The step with the rates and pitches that the words state, where it has such parameters."""
    values = dict(step.parameters)
    for number, unit in RATE.findall(words):
        hz = float(number) * {"khz": 1000.0, "rpm": 1 / 60}.get(unit, 1.0)
        names = ["per_second", "frequency_hz"] if hz < SLOW_HZ else ["resonance_hz", "pitch_hz", "centre_hz"]
        if step.name == "squeal" and unit == "hz":
            names = ["pitch_hz"]
        for name, (low, high) in STEPS[step.name].parameters.items():
            if name in names and low <= hz <= high:
                values[name] = hz
    return replace(step, parameters=values)
