"""The table of the highest events and clips, in the order of the cards."""

from collections.abc import Sequence

from markupsafe import Markup

from ensemble.page.cards import card_of
from ensemble.page.excess import excess_text
from ensemble.page.html import name, table
from ensemble.page.items import Item
from ensemble.page.scored import Scored
from featstore.terminal.shown import Block, counted

ROWS = 50


def ranking(scored: Scored, items: Sequence[Item]) -> Markup:
    """The first of all items, which are sorted by how far above the threshold they are."""
    cards = [card_of(scored, item) for item in items[:ROWS]]
    timed = any(card.span for card in cards)
    rows = [
        [
            name(card.title),
            *([Block(card.span.replace(" ", "\N{NO-BREAK SPACE}"))] if timed else []),
            name(card.item.machine),
            name(card.item.section),
            Block(card.outcome.replace(" ", "\N{NO-BREAK SPACE}")),
            excess_text(card.item.excess).removesuffix(" times"),
            f"{card.score:.5g}",
            f"{card.threshold:.5g}",
        ]
        for card in cards
    ]
    what = "events and windows" if timed else "clips"
    total = counted(len(items), "event or window", "events and windows") if timed else counted(len(items), "clip")
    caption = (
        f"The {len(rows)} of {total} that are furthest above the threshold, or least below it"
        if len(rows) < len(items)
        else f"All {what} by how far above the threshold they are"
    )
    header = ["recording" if timed else "clip", *(["from, to"] if timed else []), "machine", "section", "outcome"]
    text_columns = len(header)
    header += ["times the threshold", "score", "threshold"]
    return table(f"{caption}; scores.csv of detect run lists all", header, rows, text_columns=text_columns)
