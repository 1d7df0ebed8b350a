"""The part triage of the page: the list of items, and one item to listen to and decide on."""

from typing import TYPE_CHECKING

from ensemble.page.addresses import address, encoded
from ensemble.page.cards import card_of
from ensemble.page.excess import excess_text
from ensemble.page.items import Item
from ensemble.page.scored import Scored
from ensemble.review.answer import part, session_of
from ensemble.review.asked import number_in, query_of, whole
from ensemble.review.chosen import NAMES, REPORTED, Chosen, Filter, chosen, filter_of, item_of
from ensemble.review.marking import given_note
from ensemble.review.routes.sound import sounds_of
from ensemble.review.triage import detail_of, deviation_of_item
from ensemble.windows.screen import clock
from featstore.clip import window_of
from featstore.errors import AsdError, RequestError
from featstore.terminal.shown import counted, printable

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import Route

PAGE = 50
"""Items that are listed at once."""

MOST = 500
"""Most items that are given at once."""

LAST = 999_999_999


def routes() -> "list[Route]":
    """The addresses."""
    from starlette.routing import Route

    return [
        Route("/parts/triage", frame),
        Route("/items", listed),
        Route("/items/{row}", detail),
        Route("/items/{row}/deviation", deviation),
    ]


def frame(request: "Request") -> "Response":
    """The part without items: filters, and places for the list and the item."""
    scored = session_of(request).scored
    machines = sorted({machine for machine, _ in scored.sections})
    sections = sorted({section for _, section in scored.sections})
    has_times = bool((scored.times == scored.times).any())
    return part("triage.html", machines=machines, sections=sections, has_times=has_times, encoded=encoded)


def listed(request: "Request") -> "Response":
    """Items as a filter chooses them, `limit` from `offset` on."""
    session, query = session_of(request), query_of(request)
    wanted = filter_of(query)
    offset = number_in(query, "offset", 0, 0, LAST)
    until = offset + min(number_in(query, "limit", PAGE, 1, LAST), MOST)
    items = chosen(session, wanted)
    marks = ((item, items.marked.get(item.row)) for item in items.items[offset:until])
    rows = [(item, mark, card_of(session.scored, item, mark)) for item, mark in marks]
    return part(
        "items.html",
        rows=rows,
        chosen=items,
        offset=offset,
        until=until,
        link=lambda item: _link(wanted, item),
        excess_text=excess_text,
        noun=_noun(session.scored, items, wanted),
        tail=_tail,
    )


def detail(request: "Request") -> "Response":
    """One item."""
    session, sounds = session_of(request), sounds_of(request)
    item = _item(request)
    shown = detail_of(session, sounds, item)
    note = given_note(shown.card.mark) if shown.card.mark else ""
    return part("item.html", detail=shown, item=item, note=note, encoded=encoded, clock=clock)


def deviation(request: "Request") -> "Response":
    """The deviation map of an item; 202 without content while its statistics are made."""
    from starlette.responses import Response

    session, sounds = session_of(request), sounds_of(request)
    item = _item(request)
    try:
        found = deviation_of_item(session, sounds, item)
    except AsdError as error:
        return part("deviation.html", picture=None, sentence="", reason=printable(str(error)))
    if found is None:
        return Response(status_code=202)
    return part("deviation.html", picture=found[0], sentence=found[1], reason="")


def _item(request: "Request") -> Item:
    text = request.path_params["row"]
    row = whole(text)
    item = None if row is None else item_of(session_of(request), row)
    if item is None:
        raise RequestError(f"row {text[:100]}: the results have no such clip")
    return item


def _link(wanted: Filter, item: Item) -> str:
    plain = Filter()
    names = [name for name in NAMES if getattr(wanted, name) != getattr(plain, name)]
    values = {NAMES[name]: getattr(wanted, name) for name in names}
    return address("#triage", **values, clip=str(item.row))


def _noun(scored: Scored, chosen: Chosen, wanted: Filter) -> str:
    """What is counted: events where windows were scored and are reported, else clips."""
    if wanted.decision != REPORTED:
        return counted(len(chosen.items), "clip")
    return counted(len(chosen.items), "event" if scored.keys and window_of(scored.keys[0]) else "reported clip")


def _tail(recording: str) -> str:
    """The name of a recording without its folders."""
    return recording.rpartition("/")[2] or recording
