"""Marks: POST /marks writes one, POST /marks/undo takes the last one of this session back."""

import json
from typing import TYPE_CHECKING, Any

from ensemble.marks.file import Mark
from ensemble.review.answer import session_of
from ensemble.review.chosen import item_of
from ensemble.review.marking import mark_clip, mark_of_item, undo
from ensemble.review.session import Session
from featstore.errors import AsdError, RequestError, ResourceError
from featstore.terminal.shown import printable

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import Route

MOST_BYTES = 1 << 16
"""Larger bodies are refused; a note has at most 4,000 characters."""

FIELDS = {"clip": str, "row": int, "mark": str, "start_s": float, "end_s": float, "note": str}


def routes() -> "list[Route]":
    """The addresses."""
    from starlette.routing import Route

    return [Route("/marks", add, methods=["POST"]), Route("/marks/undo", take_back, methods=["POST"])]


async def add(request: "Request") -> "Response":
    """Mark a clip, or the item of a row.

    Body: {"clip": KEY or "row": ROW, "mark": "fault|normal|ignore|none", "start_s", "end_s", "note"}. A row is that of
    an item of the results, and means all of it. Answer: {"mark": ..., "undo": how many marks can be taken back}.
    """
    from starlette.concurrency import run_in_threadpool

    body, session = await _body(request), session_of(request)
    return await run_in_threadpool(_answered, lambda: _add(session, body), session)


def _add(session: Session, body: dict[str, Any]) -> Mark:
    values = _values(body)
    row = values.pop("row", None)
    if row is None and not values.get("clip"):
        raise RequestError("which clip? Expected its key as clip, or the row of an item as row")
    try:
        if row is None:
            return mark_clip(session, Mark(**values, who=session.who))
        item = item_of(session, row)
        if item is None:
            raise RequestError(f"row {row}: the results have no such clip")
        note = values.get("note", "")
        return mark_clip(session, mark_of_item(session.scored, item, values["mark"], who=session.who, note=note))
    except (ValueError, UnicodeEncodeError) as error:
        raise RequestError(str(error)) from error


async def take_back(request: "Request") -> "Response":
    """Take back the last mark of this session. Answer as in `add`, with the mark that was taken back, null for none."""
    from starlette.concurrency import run_in_threadpool

    session = session_of(request)
    return await run_in_threadpool(_answered, lambda: undo(session), session)


def _answered(change: Any, session: Session) -> "Response":
    """The mark that `change` gives, as JSON; an error as a sentence."""
    from starlette.responses import Response

    try:
        mark, status = change(), 200
        answer: dict[str, Any] = {"mark": mark.as_json() if mark else None, "undo": len(session.undoable.marks)}
    except AsdError as error:
        status = 400 if isinstance(error, RequestError) else 507 if isinstance(error, ResourceError) else 409
        answer = {"error": printable(str(error)), "undo": len(session.undoable.marks)}
    return Response(json.dumps(answer), status, media_type="application/json")  # ASCII: names may not be UTF-8


async def _body(request: "Request") -> dict[str, Any]:
    from starlette.exceptions import HTTPException

    content = b""
    async for chunk in request.stream():
        content += chunk
        if len(content) > MOST_BYTES:
            raise HTTPException(413, f"a mark has at most {MOST_BYTES:,} bytes")
    try:
        body = json.loads(content)
    except (ValueError, RecursionError):
        body = None
    if not isinstance(body, dict):
        raise HTTPException(400, 'expected JSON such as {"clip": "fan/1.wav", "mark": "fault"}')
    return body


def _values(body: dict[str, Any]) -> dict[str, Any]:
    """The fields of a body that are not null; RequestError for a wrong name or type."""
    values = {}
    for name, value in body.items():
        kind = FIELDS.get(name)
        if kind is None:
            raise RequestError(f"unknown field {printable(name[:100])!r}; expected {', '.join(FIELDS)}")
        if value is None:
            continue
        fits = isinstance(value, int | float if kind is float else kind) and not isinstance(value, bool)
        if not fits:
            raise RequestError(f"{name}: expected {kind.__name__}, got {type(value).__name__}")
        values[name] = value
        if kind is float:
            try:
                values[name] = float(value)
            except OverflowError:
                raise RequestError(f"{name}: the number is too large") from None
    if "mark" not in values:
        raise RequestError("mark: expected normal, fault, ignore or none")
    return values
