"""Marks: POST /marks writes one, POST /marks/undo takes the last one of this session back."""

from typing import TYPE_CHECKING, Any

from ensemble.marks.file import Mark
from ensemble.review.answer import json_answer, session_of
from ensemble.review.asked import json_object, posted, real_of, text_of, whole_of
from ensemble.review.chosen import item_of
from ensemble.review.marking import mark_clip, mark_of_item, undo, words_now
from ensemble.review.session import Session
from featstore.errors import OptionError, RequestError

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import Route

MOST_BYTES = 1 << 16
"""Larger bodies are refused; a note has at most 4,000 characters."""

FIELDS = {"clip": text_of, "row": whole_of, "mark": text_of, "start_s": real_of, "end_s": real_of, "note": text_of}


def routes() -> "list[Route]":
    """The addresses."""
    from starlette.routing import Route

    return [
        Route("/marks", posted(add, MOST_BYTES), methods=["POST"]),
        Route("/marks/undo", take_back, methods=["POST"]),
    ]


def add(request: "Request", body: bytes) -> "Response":
    """Mark a clip, or the item of a row.

    Body: {"clip": KEY or "row": ROW, "mark": "fault|normal|ignore|none", "start_s", "end_s", "note"}. A row is that of
    an item of the results, and means all of it. Answer: {"mark": ..., "written": whether it is new, "undo": how many
    marks can be taken back}.
    """
    session, values = session_of(request), _values(json_object(body))
    before = len(session.marks.items)
    row = values.pop("row", None)
    if row is None and not values.get("clip"):
        raise OptionError("which clip? Expected its key as clip, or the row of an item as row")
    try:
        if row is None:
            return _marked(mark_clip(session, Mark(**values, who=session.who)), before, session)
        item = item_of(session, row)
        if item is None:
            raise RequestError(f"row {row}: the results have no such clip")
        note = values.get("note", "")
        mark = mark_of_item(session.scored, item, values["mark"], who=session.who, note=note)
        return _marked(mark_clip(session, mark), before, session)
    except (ValueError, UnicodeEncodeError) as error:
        raise OptionError(str(error)) from error


def take_back(request: "Request") -> "Response":
    """Take back the last mark of this session.

    Answer: {"mark": the one that was taken back, null for none, "now": the marks that hold now for its clips, "none"
    for no mark, "undo": as in `add`}.
    """
    session = session_of(request)
    mark = undo(session)
    now = words_now(session, mark) if mark else []
    return json_answer({"mark": mark.as_json() if mark else None, "now": now, "undo": len(session.undoable.marks)})


def _marked(mark: Mark, before: int, session: Session) -> "Response":
    """The answer to a mark; before: number of lines before it was asked for."""
    answer = {"mark": mark.as_json(), "written": mark.line > before, "undo": len(session.undoable.marks)}
    return json_answer(answer)


def _values(body: dict[str, Any]) -> dict[str, Any]:
    """The fields of a body that are not null; OptionError for a wrong name or type."""
    values = {}
    for name, value in body.items():
        if name not in FIELDS:
            raise OptionError(f"unknown field {name[:100]!r}; expected {', '.join(FIELDS)}")
        if value is not None:
            values[name] = FIELDS[name](value, name)
    if "mark" not in values:
        raise OptionError("mark: expected normal, fault, ignore or none")
    return values
