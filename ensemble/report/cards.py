"""The events of a report as cards: which ones are shown, in which order, and how they are sorted and filtered."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from markupsafe import Markup

from ensemble.marks.file import Mark
from ensemble.page.cards import Card, card_of
from ensemble.page.excess import excess_meaning
from ensemble.page.html import EMPTY, render
from ensemble.page.items import Item
from ensemble.page.scored import Scored
from ensemble.report.sounds import Heard, Sounds, sounds_of
from featstore.errors import DataError
from featstore.terminal.shown import counted

QUIET = 3
"""Cards of a page on which nothing is above its threshold."""


@dataclass(frozen=True)
class Chosen:
    """The items that get a card, in their order. events, missed, below: number of all items of these kinds.

    events: above the threshold. missed: recordings labelled anomaly of which nothing is reported. below: all others.
    """

    items: tuple[Item, ...]
    events: int
    missed: int
    below: int

    @property
    def shown_events(self) -> int:
        """Number of the events that have a card."""
        return sum(item.reported for item in self.items)


def chosen_items(scored: Scored, items: Sequence[Item], top: int) -> Chosen:
    """Up to `top` items by their ratio: the events, then the missed anomalies, for which a quarter is kept.

    `items` are all, by their ratio. Labels have no other effect on what is shown. Where there is neither an event nor a
    missed anomaly, the highest others are shown, so that one hears what is normal here.
    """
    label = scored.clips.column("label")
    places = [(item.recording, item.machine, item.section) for item in items]
    reported = {place for item, place in zip(items, places, strict=True) if item.reported}
    events: list[Item] = []
    others: list[Item] = []
    missed: dict[tuple[str, str, str], Item] = {}
    for item, place in zip(items, places, strict=True):
        if item.reported:
            events.append(item)
        elif label[item.row] == "anomaly" and place not in reported:
            missed.setdefault(place, item)  # the highest of a recording
        elif label[item.row] != "normal" and place not in reported:
            others.append(item)
    quarter = -(-top // 4) if top > 1 else 0
    kept = min(len(missed), max(quarter, top - len(events)))
    shown = [*events[: top - kept], *list(missed.values())[:kept]]
    shown = shown or (others or list(items))[: min(top, QUIET)]
    return Chosen(tuple(shown), len(events), len(missed), len(items) - len(events) - len(missed))


def event_cards(
    scored: Scored,
    items: Sequence[Item],
    *,
    top: int,
    seconds: float,
    heard: Heard | None = None,
    marks: Mapping[int, Mark] | None = None,
) -> Markup:
    """The cards with what sorts and filters them; empty without any clip. marks: by row of the scored clips.

    DataError where the folder of the recordings was named and has none of those that are shown.
    """
    chosen = chosen_items(scored, items, top)
    if not chosen.items:
        return EMPTY
    cards = [_card(scored, item, heard, seconds, _mark(item, marks or {})) for item in chosen.items]
    found = any(sounds for _, sounds in cards)
    if heard and heard.given and not found:
        path = scored.clips[chosen.items[0].row].path
        raise DataError(f"none of the recordings is below --data, for example {path!r}; give the folder of the build")
    return render(
        "clips.html",
        cards=cards,
        counts=_counts(scored, chosen),
        ratio=excess_meaning(scored.bounded),
        sound=_sound_text(heard, found, seconds),
        sorts=_sorts([card for card, _ in cards]),
        filters=_filters([card for card, _ in cards]),
        listened=heard is not None and found,
    )


def _card(
    scored: Scored, item: Item, heard: Heard | None, seconds: float, mark: Mark | None
) -> tuple[Card, Sounds | None]:
    card, sounds = card_of(scored, item, mark), sounds_of(scored, item, heard, seconds) if heard else None
    return (replace(card, sentence=sounds.sentence) if sounds and not card.sentence else card), sounds


def _mark(item: Item, marks: Mapping[int, Mark]) -> Mark | None:
    """The mark of the highest clip of an item, or else of another clip of it."""
    return next((marks[row] for row in (item.row, *item.rows) if row in marks), None)


def _counts(scored: Scored, chosen: Chosen) -> str:
    """How many of what is shown, in words."""
    windows = scored.divided
    noun = "event" if windows else "reported clip"
    shown, total = chosen.shown_events, chosen.events
    if not total:
        first = f"None of {counted(len(scored.clips), 'window' if windows else 'clip')} is above its threshold."
    elif shown == total:
        first = counted(total, noun) + ("." if total == 1 else ", the furthest above the threshold first.")
    else:
        first = f"{shown:,} of {counted(total, noun)}, the furthest above the threshold first; --top shows more."
    missed = len(chosen.items) - shown if chosen.missed else 0
    texts = [first]
    if windows and total:
        texts.append("An event is a run of neighbouring reported windows.")
    if missed:
        of = f"{missed:,} of {chosen.missed:,}" if missed < chosen.missed else f"{missed:,}"
        noun = "missed anomaly follows" if chosen.missed == 1 else "missed anomalies follow"
        texts.append(f"{of} {noun}: labelled as an anomaly, and below the threshold.")
    elif not total:
        texts.append("The highest ones follow, to hear what is normal here.")
    return " ".join(texts)


def _sound_text(heard: Heard | None, found: bool, seconds: float) -> str:
    """What players and pictures are, or why there are none."""
    cure = "give the folder of the recordings: detect report --data DATA"
    if heard is None:
        return f"Players and pictures are missing. To have them, {cure}."
    if not found:
        lacking = "Players and pictures are missing: the folder of the last build lacks these recordings."
        return f"{lacking} To have them, {cure}."
    source = "" if heard.given else " The recordings are those in the folder of the last build, as they are now."
    return (
        "The two spectrograms of a card have the same colour scale and the two players the same gain, so they can be "
        f"compared. A player holds {seconds:g} s at most (--seconds).{source}"
    )


def _sorts(cards: Sequence[Card]) -> list[tuple[str, str]]:
    """Ways to sort as (attribute, words); by time only where a time is known."""
    known = any(np.isfinite(card.item.time) for card in cards)
    ways = [("order", "times the threshold"), ("time", "time of recording, newest first"), ("place", "machine")]
    return [way for way in ways if way[0] != "time" or known]


def _filters(cards: Sequence[Card]) -> list[tuple[str, str, list[str]]]:
    """What can be filtered as (attribute, words, values): only what differs between the cards."""
    columns: list[tuple[str, str, Iterable[str]]] = [
        ("machine", "Machine", (card.item.machine for card in cards)),
        ("section", "Section", (card.item.section for card in cards)),
        ("outcome", "Outcome", (card.outcome for card in cards)),
        ("decision", "Decision", (decision_text(card) for card in cards)),
        ("mark", "Mark", (mark_text(card) for card in cards)),
    ]
    made = [(key, words, sorted(set(values))) for key, words, values in columns]
    labelled = any(card.outcome not in ("reported", "not reported") for card in cards)
    return [entry for entry in made if len(entry[2]) > 1 and (entry[0] != "outcome" or labelled)]


def decision_text(card: Card) -> str:
    """The decision of a card in a word or two."""
    return "reported" if card.item.reported else "not reported"


def mark_text(card: Card) -> str:
    """The mark of a card in a word or two."""
    return card.mark.mark if card.mark else "not marked"
