"""What a search of the page asks for, and what it shows of every recording found."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from ensemble.marks.apply import marked_rows
from ensemble.page.addresses import encoded
from ensemble.review.asked import choice_in, number_in
from ensemble.review.session import Session
from ensemble.review.space.population import item_rows
from ensemble.review.space.views import Views
from ensemble.scoring.neighbours import Neighbour, Rows, Search, neighbours
from ensemble.windows.screen import clock
from featstore.building.default import spec_of
from featstore.clip import SPLITS, recording_of
from featstore.errors import DataError, RejectedAudio, RequestError
from featstore.spec import did_you_mean
from featstore.store import FeatureStore
from featstore.table import ClipTable

FOUND, MOST = 12, 100
"""Recordings that a search lists: by default, and at most."""

CANDIDATES = 2000
"""Most keys that a mistyped one is compared with."""


@dataclass(frozen=True)
class Match:
    """A recording found. span, like: its times and those of the part of the query, "" where unknown or whole.

    distance: None for the clip that was asked for. address: its key, quoted for an address. row: of its item in the
    results, -1 where it has none. mark: the mark that counts for it, "" for none.
    """

    title: str
    machine: str
    section: str
    split: str
    domain: str
    span: str
    like: str
    distance: float | None
    address: str
    row: int
    mark: str


def search_of(query: Mapping[str, str], views: Views, store: FeatureStore) -> Search:
    """The search that a query describes; OptionError for a value that is not possible, RequestError for the view."""
    view = views.checked(query.get("embedding", ""))
    machines = sorted(set(store.clips(views.embedding(view)).column("machine").tolist()))
    return Search(
        embedding=view,
        k=number_in(query, "k", FOUND, 1, MOST),
        machine=choice_in(query, "machine", machines),
        split=choice_in(query, "split", SPLITS),
    )


def by_clip(store: FeatureStore, rows: Rows, key: str, search: Search) -> tuple[Neighbour, list[Neighbour]]:
    """A clip of the store, and what is most similar; RequestError for a key, or path of windows, that it has not."""
    own = rows.of(key)
    if not len(own):
        hint = did_you_mean(key[:500], _similar(rows, key[:500]))
        raise RequestError(f"{rows.info.name} has no clip {key[:500]!r}{hint}")
    clip, rate = rows.clips[int(own[0])], int(rows.facts["sample_rate_hz"][own[0]])
    end = int(rows.facts["n_samples"][own[0]]) / rate if rate else float("nan")
    start, end = clip.window or (0.0, end)
    if clip.key != key:  # a recording of windows
        clip, start, end = replace(clip, path=key), 0.0, float("nan")
    return Neighbour(clip, float("nan"), start, end, None), neighbours(store, key, search, rows)


def by_file(store: FeatureStore, rows: Rows, file: Path, name: str, search: Search) -> list[Neighbour]:
    """What is most similar to a file.

    RejectedAudio, which names it `name`, where it cannot be read; DataError where files cannot be embedded here.
    """
    if not spec_of(rows.info):
        raise DataError(
            f"{rows.info.name}: a file cannot be embedded here, because the embedder needs weights or is not of this "
            f"project; run `detect neighbours STORE FILE -e {search.embedding} --embedder LINE`, or choose another view"
        )
    try:
        return neighbours(store, str(file), search, rows)
    except DataError as error:
        raise RejectedAudio(str(error).replace(str(file), name)) from error


def matches(session: Session, found: Iterable[Neighbour]) -> list[Match]:
    """The recordings found, in words."""
    place = {key: row for row, key in enumerate(session.scored.keys)}
    item = item_rows(session)
    rows = list(found)
    marked = marked_rows(session.marks.items, ClipTable.from_clips([one.clip for one in rows]))
    words = [marked[i].mark if i in marked else "" for i in range(len(rows))]
    places = [item[place[one.clip.key]] if one.clip.key in place else -1 for one in rows]
    return [_match(*values) for values in zip(rows, places, words, strict=True)]


def _match(found: Neighbour, row: int, mark: str) -> Match:
    clip = found.clip
    return Match(
        title=clip.recording if not clip.variant else f"{clip.recording} ({clip.variant})",
        machine=clip.machine,
        section=clip.section,
        split=clip.split,
        domain=clip.domain,
        span=f"{clock(found.start_s)} to {clock(found.end_s)}" if found.end_s == found.end_s else "",
        like=f"{clock(found.query.start_s)} to {clock(found.query.end_s)}" if found.query else "",
        distance=found.distance if found.distance == found.distance else None,
        address=encoded(clip.key),
        row=row,
        mark=mark,
    )


def _similar(rows: Rows, key: str) -> list[str]:
    """Keys that a mistyped one may stand for: those of the same file name or folder, or the first of all."""
    folder, _, file = recording_of(key).rpartition("/")
    near = [path for path in rows.recordings if path.endswith(file) or (folder and path.startswith(f"{folder}/"))]
    return list(dict.fromkeys(near or rows.recordings))[:CANDIDATES]
