"""Sounds and pictures of recordings: WAV files with ranges, and PNG images."""

import re
from collections.abc import Callable, Mapping
from math import inf
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import parse_qsl

from ensemble.page.pictures import CLIP, DEVIATION, DIFFERENCE, NORMAL
from ensemble.review.answer import session_of
from ensemble.review.session import Session
from ensemble.review.sound.loudness import EQUAL, LOUDNESS
from ensemble.review.sound.sounds import Sounds
from featstore.errors import AsdError, DataError, RejectedAudio, RequestError
from featstore.spec import unknown
from featstore.terminal.shown import printable

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import Route

T = TypeVar("T")
KINDS = (CLIP, NORMAL, DIFFERENCE, DEVIATION)
MAKING = "The statistics of normal sound are being made; ask again in a moment."
MOST_FIELDS = 50
_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})", re.ASCII)


def routes() -> "list[Route]":
    """The addresses."""
    from starlette.routing import Route

    return [Route("/sound/audio.wav", audio), Route("/sound/picture.png", picture)]


def sounds_for(session: Session) -> Sounds:
    """The sounds of a session."""
    return Sounds(session.scored, lambda: session.store, session.data)


def sounds_of(request: "Request") -> Sounds:
    """The sounds of the session that a request belongs to."""
    session, state = session_of(request), request.app.state
    with session.lock:
        if not hasattr(state, "sounds"):
            state.sounds = sounds_for(session)
        sounds: Sounds = state.sounds
    return sounds


def query_of(request: "Request") -> Mapping[str, str]:
    """The values of an address; names of files that are not UTF-8 keep their bytes. Too many values are refused."""
    text = request.scope["query_string"].decode("latin-1")
    try:
        return dict(parse_qsl(text, errors="surrogateescape", max_num_fields=MOST_FIELDS))
    except ValueError:
        raise refusal(RequestError(f"an address has at most {MOST_FIELDS} values")) from None


def refusal(error: Exception) -> "Exception":
    """An error as an answer that a person can read."""
    from starlette.exceptions import HTTPException

    status = 400 if isinstance(error, RequestError | ValueError) else 404 if isinstance(error, DataError) else 409
    return HTTPException(404 if isinstance(error, RejectedAudio) else status, printable(str(error)))


def audio(request: "Request") -> "Response":
    """The sound of a clip, or of a part of its recording, as a WAV file; see `Sounds.wav`."""
    query, sounds = query_of(request), sounds_of(request)
    loudness = query.get("loudness", EQUAL)

    def make() -> bytes:
        if loudness not in LOUDNESS:
            raise RequestError(unknown("loudness", printable(loudness), LOUDNESS))
        part = sounds.part(query.get("clip", ""), _span(query))
        return sounds.wav(part, sounds.part(query["like"]) if query.get("like") else None, loudness)

    return _ranged(_made(make), request.headers.get("range", ""))


def picture(request: "Request") -> "Response":
    """A picture of a clip, or of a part of its recording, beside a normal clip; see `Sounds.png`."""
    from starlette.exceptions import HTTPException
    from starlette.responses import Response

    query, sounds = query_of(request), sounds_of(request)
    kind = query.get("kind", CLIP)

    def make() -> bytes | None:
        if kind not in KINDS:
            raise RequestError(unknown("kind", printable(kind), KINDS))
        normal = sounds.part(query["normal"]) if query.get("normal") else None
        try:
            return sounds.png(sounds.part(query.get("clip", ""), _span(query)), normal, kind)
        except KeyError:
            raise DataError(f"there is no picture of this kind ({kind}) without a normal clip") from None

    image = _made(make)
    if image is None:
        raise HTTPException(503, MAKING, {"Retry-After": "2"})
    return Response(image, media_type="image/png", headers={"Cache-Control": "no-cache"})


def _made(make: Callable[[], T]) -> T:
    try:
        return make()
    except (AsdError, ValueError) as error:
        raise refusal(error) from error


def _span(query: Mapping[str, str]) -> tuple[float, float] | None:
    if "start" not in query and "end" not in query:
        return None
    try:
        start, end = float(query.get("start", "")), float(query.get("end", ""))
    except ValueError:
        start = end = inf
    if not 0 <= start < end < inf:
        raise RequestError("start and end: expected seconds of the recording, with 0 <= start < end")
    return start, end


def _ranged(content: bytes, wanted: str) -> "Response":
    """The whole content, or the part that a header `Range` asks for; several parts at once are answered as a whole."""
    from starlette.responses import Response

    headers, size = {"Accept-Ranges": "bytes", "Cache-Control": "no-cache"}, len(content)
    match = _RANGE.fullmatch(wanted.strip())
    if match is None or match.groups() == ("", ""):
        return Response(content, media_type="audio/wav", headers=headers)
    first, last = match.groups()
    start = int(first) if first else max(0, size - int(last))
    end = min(size, int(last) + 1) if first and last else size
    if first and last and int(last) < int(first):
        return Response(content, media_type="audio/wav", headers=headers)
    if start >= size:
        return Response(status_code=416, headers=headers | {"Content-Range": f"bytes */{size}"})
    headers["Content-Range"] = f"bytes {start}-{end - 1}/{size}"
    return Response(content[start:end], 206, media_type="audio/wav", headers=headers)
