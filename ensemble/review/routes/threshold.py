"""The part threshold of the page: what another threshold of a section would report, and thresholds that are saved."""

import shlex
from datetime import datetime
from typing import TYPE_CHECKING, Any

from ensemble.page.scored import DEFAULT, Limit, Scored
from ensemble.review.answer import json_answer, part, session_of
from ensemble.review.asked import SHOWN, json_object, posted, query_of, real_in, real_of, text_of
from ensemble.review.generated import READY, Background, State, generated_scores
from ensemble.review.saved import FILE, save_thresholds, thresholds_of_run
from ensemble.review.session import Session
from ensemble.review.whatif import BINS, Count, WhatIf
from featstore.errors import DataError, OptionError, RequestError, StoreError
from featstore.terminal.shown import printable

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import Route

MAX_BODY = 1 << 16
PREPARED = 4
"""Most sections that stay prepared."""


def routes() -> "list[Route]":
    """The addresses."""
    from starlette.routing import Route

    return [
        Route("/parts/threshold", shown),
        Route("/threshold/scores", scores),
        Route("/threshold/at", at),
        Route("/threshold", posted(save, MAX_BODY), methods=["POST"]),
    ]


def shown(request: "Request") -> "Response":
    """The part without its chart."""
    session = session_of(request)
    file = str(session.results / FILE)
    recipe, results = str(session.results / "recipe.toml"), str(session.results)
    words = ("detect", str(session.path), "--recipe", recipe, "--threshold", file, "-o", results)
    sections = [(printable(machine), printable(section)) for machine, section in session.scored.sections]
    return part("threshold.html", sections=sections, file=file, command=" ".join(map(shlex.quote, words)))


def scores(request: "Request") -> "Response":
    """Histograms of a section's scores, its present thresholds, and what every threshold of the slider would report."""
    session, what = session_of(request), _what(request)
    scored, state = session.scored, _generated(request)
    own = state.scores.get((what.machine, what.section)) if state.name == READY else None
    values = what.values
    counts = [what.count(value) for value in values]
    lines = what.lines
    answer: dict[str, Any] = {
        "bounded": scored.bounded,
        "bins": BINS,
        "clips": len(what.rows),
        "ticks": what.ticks,
        "references": [
            {"domain": each.domain, "clips": len(each.scores), "worth": round(each.independent)}
            for each in what.references
        ],
        "bars": {"scored": what.bars(what.score), "reference": what.bars(what.reference)},
        "lines": [_line(what, limit) for limit in lines],
        "saved": _saved(session, _key(what)),
        "present": _count(what.present()),
        "week": _week(what),
        "generated": {"state": state.name, "reason": state.reason, "clips": 0 if own is None else len(own.scores)},
        "values": values,
        "at": [what.share(value) for value in values],
        "counts": [_count(count) for count in counts],
        "rates": [what.rates(value) for value in values],
        "times": [[what.ratio(value, limit) for limit in lines] for value in values],
    }
    if own is not None:
        answer["bars"]["generated"] = what.bars(own.scores)
        answer["found"] = [own.found(value) for value in values]
    return json_answer(answer)


def at(request: "Request") -> "Response":
    """What one threshold, which need not be one of the slider's, would report."""
    what, state = _what(request), _generated(request)
    value = real_in(query_of(request), "value")
    if what.scored.bounded and not 0 < value < 1:
        raise OptionError(f"value: expected a number between 0 and 1, as fused scores are, got {value:g}")
    own = state.scores.get((what.machine, what.section)) if state.name == READY else None
    lines = what.lines
    return json_answer(
        {
            "value": value,
            "at": what.share(value),
            "counts": _count(what.count(value)),
            "rates": what.rates(value),
            "times": [what.ratio(value, limit) for limit in lines],
            "found": None if own is None else own.found(value),
            "kinds": [] if own is None else own.by_kind(value),
        }
    )


def save(request: "Request", body: bytes) -> "Response":
    """Save a threshold of a section, or take it back where it is null; all parts follow at once."""
    session, given = session_of(request), json_object(body)
    machine, section = _named(session.scored, *(text_of(given.get(name), name) for name in ("machine", "section")))
    value = given.get("value")
    if value is not None:
        value = real_of(value, "value")
        if session.scored.nominal is None:
            raise DataError(
                "these results decide by a false-discovery rate (--fdr), which decides all clips together, so it goes "
                "with no threshold by hand; make results with a false-alarm rate (--fpr) to set thresholds"
            )
    if session.replaced:
        raise StoreError(f"the threshold is not saved: {session.replaced}")
    key = (machine, "all" if session.scored.pool_sections else section)
    with session.lock:
        values, _ = thresholds_of_run(session.results, session.scored)
        if value is None:
            values.pop(key, None)
        else:
            values[key] = value
        decided = session.scored.with_thresholds(values)
        save_thresholds(session.results, values, decided)
        session.decide(decided)
    return json_answer({"saved": value, "reported": int(decided.decision.sum()), "file": str(session.results / FILE)})


def _saved(session: Session, key: tuple[str, str]) -> float | None:
    values, _ = thresholds_of_run(session.results, session.scored)
    return values.get(key, values.get(DEFAULT))


def _key(what: WhatIf) -> tuple[str, str]:
    return what.machine, "all" if what.scored.pool_sections else what.section


def _named(scored: Scored, machine: str, section: str) -> tuple[str, str]:
    """The section that a page names, whose names are printed; RequestError for one that the results lack."""
    for names in scored.sections:
        if (machine, section) in (names, tuple(map(printable, names))):
            return names
    raise RequestError(f"no section {section[:SHOWN]!r} of machine {machine[:SHOWN]!r} in these results")


def _what(request: "Request") -> WhatIf:
    """The section that a request names, prepared; RequestError for one that the results lack."""
    scored, query = session_of(request).scored, query_of(request)
    names = _named(scored, query.get("machine", ""), query.get("section", ""))
    state = request.app.state
    if not hasattr(state, "whatif"):
        state.whatif = {}
    prepared: dict[tuple[str, str], WhatIf] = state.whatif
    what = prepared.get(names)
    if what is None or what.scored is not scored:
        what = WhatIf(scored, *names)
        if len(prepared) >= PREPARED:
            prepared.clear()
        prepared[names] = what
    return what


def _generated(request: "Request") -> State:
    session = session_of(request)
    with session.lock:
        if not hasattr(request.app.state, "generated"):
            request.app.state.generated = Background(lambda: generated_scores(session.store, session.scored))
    background: Background = request.app.state.generated
    return background.state()


def _line(what: WhatIf, limit: Limit) -> dict[str, Any]:
    return {
        "domain": limit.domain,
        "value": limit.value,
        "at": what.share(limit.value or 0.0),
        "requested": limit.requested,
        "expected": round(limit.expected, 5),
    }


def _count(count: Count) -> list[int | None]:
    return [count.clips, count.events, count.week_clips, count.week_events]


def _week(what: WhatIf) -> dict[str, Any] | None:
    """The newest clip of the results and how many clips of the section have no time; None where no time is known."""
    if what.week is None or what.newest is None:
        return None
    newest = datetime.fromtimestamp(what.newest).astimezone()
    return {
        "newest": newest.strftime("%Y-%m-%d %H:%M"),
        "clips": int(what.week.sum()),
        "untimed": what.untimed,
        "source": what.scored.time_source,
    }
