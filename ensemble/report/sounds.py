"""Pictures and players of a card: the whole event, or the clip, beside its nearest normal clip."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ensemble.deviation.locate import Locator
from ensemble.page.items import Item, what_is
from ensemble.page.media import Listen, Sound, audio_uri, common_gain, data_uri
from ensemble.page.pictures import CLIP, DEVIATION, NORMAL, Pair, Picture, Player, pictures
from ensemble.page.scored import Scored
from ensemble.windows.screen import clip_title, clock
from featstore.clip import VARIANT_MARK, window_path

AROUND_S = 1.0
"""An event is played with this much before and after it, where the recording has it."""

SLACK_S = 0.5
"""A part that lacks less than this of an event is whole: window times are rounded, and windows end with the file."""

DEVIATION_TITLE = "Deviation from normal: red is louder, blue is quieter"


@dataclass(frozen=True)
class Heard:
    """Where the sound of a page comes from. locator: statistics of normal sound, for deviation maps.

    given: the folder of the recordings was named; otherwise it is that of the last build.
    """

    listen: Listen
    locator: Locator | None = None
    given: bool = True


@dataclass(frozen=True)
class Sounds:
    """What a card shows and plays. players: each with its kind. missing: the nearest normal clip if it was not found.

    sentence: where the part that is shown deviates from normal, "" where that is unknown.
    """

    pictures: Sequence[Picture]
    players: Sequence[tuple[Player, str]]
    sentence: str
    missing: str = ""


def sounds_of(scored: Scored, item: Item, heard: Heard, seconds: float) -> Sounds | None:
    """Pictures and players of an item, of `seconds` at most; None where its recording is not found.

    The two sounds have the same gain, and their pictures the same scale.
    """
    clip, nearest = scored.clips[item.row], scored.nearest[item.row].partition(VARIANT_MARK)[0]
    whole = heard.listen(_part(clip.path, item) if clip.window else clip.path)
    normal = heard.listen(nearest) if nearest else None
    if whole is None:
        return None
    own, normal = _first(whole, seconds), _first(normal, seconds) if normal else None
    end_s = own.start_s + own.seconds if item.end_s is None else item.end_s
    event = (item.start_s, end_s)
    names = (clip.path, nearest)
    what = f"This {what_is(scored, item)}"
    pair = Pair(own, normal, names, clip.machine, clip.section, event, heard.locator, what=what)
    gain = common_gain([sound for sound in (own, normal) if sound])
    titles = {CLIP: _title(what, item, own, whole), NORMAL: "Nearest normal clip"}
    sounds = {CLIP: own} | ({NORMAL: normal} if normal else {})
    players = [
        (Player(titles[kind], audio_uri(sound, gain, seconds), sound.start_s, sound.seconds), kind)
        for kind, sound in sounds.items()
    ]
    shown = [_plain(picture) for picture in pictures(pair, lambda _, make: data_uri("image/png", make()))]
    missing = clip_title(nearest) if nearest and normal is None else ""
    return Sounds(shown, players, pair.sentence, missing)


def _part(path: str, item: Item) -> str:
    """The path of an event with what is around it; that of its highest window where its end is unknown."""
    if item.end_s is None:
        return path
    return window_path(item.recording, max(0.0, item.start_s - AROUND_S), item.end_s + AROUND_S)


def _first(sound: Sound, seconds: float) -> Sound:
    return replace(sound, wave=sound.wave[: max(1, round(seconds * sound.rate_hz))])


def _title(what: str, item: Item, own: Sound, whole: Sound) -> str:
    """The title of the player, which says when it ends before what it plays does."""
    if item.end_s is None:
        return f"{what}: first {own.seconds:.3g} s" if len(own.wave) < len(whole.wave) else what
    if own.start_s + own.seconds < item.end_s - SLACK_S:
        return f"{what}: first {own.seconds:.3g} s of {clock(item.end_s - item.start_s)}"
    return what if what == "This clip" else f"{what}, with up to {AROUND_S:g} s around it"


def _plain(picture: Picture) -> Picture:
    """The card says where it deviates; the title of the map explains its colours instead."""
    return replace(picture, title=DEVIATION_TITLE) if picture.kind == DEVIATION else picture
