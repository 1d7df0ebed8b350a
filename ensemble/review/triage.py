"""What the part triage shows of an item: its card, its sounds and pictures, its history."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from ensemble.marks.file import Mark
from ensemble.page.addresses import address, encoded
from ensemble.page.cards import Card, card_of, local_time
from ensemble.page.items import Item, what_is
from ensemble.page.pictures import DEVIATION, DIFFERENCE, Pair, Picture, Player, pictures
from ensemble.review.marking import history
from ensemble.review.session import Session
from ensemble.review.sound.loudness import EQUAL, SAME
from ensemble.review.sound.parts import Part, Shown, shown_of
from ensemble.review.sound.sounds import Sounds
from ensemble.windows.screen import clip_title
from featstore.clip import recording_of
from featstore.errors import RejectedAudio
from featstore.terminal.shown import printable

LEGEND = ": red is louder, blue is quieter"
DEVIATION_TITLE = f"Deviation from normal sound{LEGEND}"


@dataclass(frozen=True)
class Voice:
    """A player with the two addresses of its sound: at the loudness of the other one, and with the same gain."""

    kind: str
    player: Player
    same: str


@dataclass(frozen=True)
class Remark:
    """One mark of a history. span: the part that it is of, in words."""

    mark: Mark
    span: str
    when: str


@dataclass(frozen=True)
class Detail:
    """An item to decide on. note: what is not shown of it. missing: why there is no sound, "" where there is.

    key: of its clip, as an address has it. has_deviation: whether a deviation map may follow.
    """

    card: Card
    key: str
    pictures: Sequence[Picture]
    voices: Sequence[Voice]
    note: str
    missing: str
    normal_missing: str
    has_deviation: bool
    remarks: Sequence[Remark]


def detail_of(session: Session, sounds: Sounds, item: Item) -> Detail:
    """What is shown of an item. Its pictures and sounds are made later, when their addresses are asked for."""
    scored, shown = session.scored, shown_of(session.scored, item)
    pair, missing, normal_missing = None, "", ""
    try:
        pair = sounds.pair(shown.clip, shown.normal, shown.event, f"This {what_is(scored, item)}")
    except RejectedAudio as error:
        missing = f"There is no sound of {printable(item.recording)}: {error}"
    if pair and shown.normal and not pair.normal:
        name = printable(shown.normal.key)
        normal_missing = f"There is no sound of the nearest normal clip {name}: it is missing, or not readable."
    return Detail(
        card=card_of(scored, item, session.marked.get(item.row)),
        key=encoded(scored.keys[item.row]),
        pictures=list(_drawn(pair, shown)) if pair else [],
        voices=list(_voices(pair, shown)) if pair else [],
        note=shown.note,
        missing=missing,
        normal_missing=normal_missing,
        has_deviation=pair is not None,
        remarks=[_remark(mark) for mark in history(session.marks.items, scored, item)],
    )


def deviation_of_item(session: Session, sounds: Sounds, item: Item) -> tuple[Picture, str] | None:
    """The deviation map of an item and where it deviates, in words; None while the statistics are made.

    DataError where there are no statistics, RejectedAudio where there is no sound.
    """
    shown = shown_of(session.scored, item)
    pair = sounds.deviating(shown.clip, shown.event)
    if pair is None:
        return None
    uri = address("/sound/picture.png", clip=shown.clip.key, kind=DEVIATION)
    (picture,) = (each for each in pictures(pair, lambda kind, make: uri) if each.kind == DEVIATION)
    return replace(picture, title=DEVIATION_TITLE), pair.sentence


def _drawn(pair: Pair, shown: Shown) -> Iterator[Picture]:
    normal = shown.normal.key if shown.normal and pair.normal else None

    def uri(kind: str, make: object) -> str:
        return address("/sound/picture.png", clip=shown.clip.key, normal=normal, kind=kind)

    for picture in pictures(pair, uri):
        legend = LEGEND if picture.kind == DIFFERENCE else ""
        yield replace(picture, title=picture.title + legend)


def _voices(pair: Pair, shown: Shown) -> Iterator[Voice]:
    other = shown.normal if pair.normal else None
    end_s = pair.clip.start_s + pair.clip.seconds
    own = Player(pair.what, "", pair.clip.start_s, pair.clip.seconds, (pair.event[0], min(pair.event[1], end_s)))
    yield _voice("clip", own, shown.clip, other)
    if other and pair.normal:
        title = f"Nearest normal clip: {clip_title(other.key)}"
        yield _voice("normal", Player(title, "", pair.normal.start_s, pair.normal.seconds), other, shown.clip)


def _voice(kind: str, player: Player, part: Part, other: Part | None) -> Voice:
    like = other.key if other else None
    equal, same = (
        address("/sound/audio.wav", clip=part.key, like=like, loudness=loudness) for loudness in (EQUAL, SAME)
    )
    return Voice(kind, replace(player, uri=equal), same)


def _remark(mark: Mark) -> Remark:
    span = "" if mark.start_s is None else clip_title(f"x#t={mark.start_s:.6f},{mark.end_s:.6f}").removeprefix("x, ")
    if not span and mark.clip != recording_of(mark.clip):
        span = clip_title(mark.clip).removeprefix(f"{recording_of(mark.clip)}, ")
    return Remark(mark, span, local_time(mark.when))
