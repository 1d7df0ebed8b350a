"""Sounds and pictures of recordings: WAV files with ranges, and PNG images."""

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from ensemble.page.pictures import CLIP, DEVIATION, DIFFERENCE, NORMAL
from ensemble.review.answer import session_of
from ensemble.review.asked import Busy, choice_in, query_of, real_in
from ensemble.review.session import Session
from ensemble.review.sound.loudness import EQUAL, LOUDNESS
from ensemble.review.sound.sounds import Sounds
from featstore.errors import OptionError, RequestError

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import Route

KINDS = (CLIP, NORMAL, DIFFERENCE, DEVIATION)
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


def audio(request: "Request") -> "Response":
    """The sound of a clip, or of a part of its recording, as a WAV file; see `Sounds.wav`."""
    query, sounds = query_of(request), sounds_of(request)
    loudness = choice_in(query, "loudness", LOUDNESS, EQUAL)
    part = sounds.part(query.get("clip", ""), _span(query))
    content = sounds.wav(part, sounds.part(query["like"]) if "like" in query else None, loudness)
    return _ranged(content, request.headers.get("range", ""))


def picture(request: "Request") -> "Response":
    """A picture of a clip, or of a part of its recording, beside a normal clip; see `Sounds.png`."""
    from starlette.responses import Response

    query, sounds = query_of(request), sounds_of(request)
    kind = choice_in(query, "kind", KINDS, CLIP)
    part = sounds.part(query.get("clip", ""), _span(query))
    normal = sounds.part(query["normal"]) if "normal" in query else None
    try:
        image = sounds.png(part, normal, kind)
    except KeyError:
        raise RequestError(f"there is no picture of this kind ({kind}) without a normal clip") from None
    if image is None:
        raise Busy("the statistics of normal sound are being made; ask again in a moment")
    return Response(image, media_type="image/png", headers={"Cache-Control": "no-cache"})


def _span(query: Mapping[str, str]) -> tuple[float, float] | None:
    if "start" not in query and "end" not in query:
        return None
    start, end = real_in(query, "start"), real_in(query, "end")
    if not 0 <= start < end:
        raise OptionError("start and end: expected seconds of the recording, with 0 <= start < end")
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
