"""Sounds, pictures and audio files of a session: of recordings that its store knows, below its folder of recordings."""

from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path

from ensemble.deviation.locate import Locator, locator_of
from ensemble.inputs import evidence_of
from ensemble.page.deviation import deviation_of
from ensemble.page.media import Sound
from ensemble.page.pictures import DEVIATION, Pair
from ensemble.page.scored import Scored
from ensemble.recipe import recipe_of
from ensemble.review.sound.cache import Cache
from ensemble.review.sound.files import opened_below
from ensemble.review.sound.listen import read_part
from ensemble.review.sound.locating import Locating
from ensemble.review.sound.loudness import gain_of, wav
from ensemble.review.sound.parts import Part, part_of
from featstore.audio.near_far.mixes import main_channel
from featstore.clip import VARIANT_MARK
from featstore.errors import DataError, RejectedAudio, RequestError, StoreError
from featstore.store import FeatureStore
from featstore.table import ClipTable
from featstore.terminal.shown import printable

Place = tuple[str, str]
"""Machine and section."""

Span = tuple[float, float | None]
"""Start and end in seconds of a recording; None: its end."""

DEFAULT_HZ = 16_000


class Sounds:
    """Makes and keeps what a page plays and draws. Thread-safe.

    Sounds have the sample rate and the channel of the embedding that lists the clips; those of a deviation map have the
    ones of the statistics. scored: the results; store: opens the store; data: folder of the recordings.
    """

    def __init__(
        self, scored: Scored, store: Callable[[], FeatureStore], data: Path | None, cache: Cache | None = None
    ) -> None:
        self.scored = scored
        self.store = store
        self.data = data
        self.cache = cache or Cache()
        self.locating = Locating(self._locator)

    def part(self, key: str, span: tuple[float, float] | None = None) -> Part:
        """The part of a recording that a key names, or `span` of that recording.

        RequestError for a recording that neither the results nor the store know.
        """
        part = part_of(key)
        self.place(part)
        return part if span is None else Part(part.recording, *span)

    def place(self, part: Part) -> Place:
        """Machine and section of a recording; RequestError as in `part`."""
        for known in ("_scored", "_stored"):
            place: Place | None = getattr(self, known).get(part.recording)
            if place is not None:
                return place
        name = printable(part.recording[:200])
        if VARIANT_MARK in part.recording:
            raise RequestError(f"{name} is a generated anomaly; it has no recording")
        raise RequestError(f"{name} is no recording of this store")

    def sound(self, part: Part, rate: tuple[int, str] | None = None) -> Sound:
        """The sound of a part; rate: sample rate and channel. RejectedAudio says why it cannot be read."""
        self.place(part)
        rate_hz, channel = rate or self.rate
        key = ("sound", part, rate_hz, channel, self._stamp(part))

        def make() -> Sound:
            with opened_below(self._root, part.recording) as (file, info):
                return read_part(file, info.st_size, rate_hz, channel, (part.start_s, part.end_s))

        return self.cache.get(key, make, lambda sound: sound.wave.nbytes)

    def wav(self, part: Part, other: Part | None, loudness: str) -> bytes:
        """A part as a WAV file, at the level for a comparison with another one; without it if that is not readable."""
        key = ("wav", part, other, loudness, self._stamp(part), other and self._stamp_or_none(other))

        def make() -> bytes:
            sound = self.sound(part)
            return wav(sound, gain_of(sound, self.sound_or_none(other), loudness))

        return self.cache.get(key, make, len)

    def sound_or_none(self, part: Part | None) -> Sound | None:
        """The sound of a part; None where there is none, or it cannot be read."""
        try:
            return self.sound(part) if part else None
        except (RejectedAudio, RequestError):
            return None

    def pair(self, part: Part, normal: Part | None, event: Span | None = None, what: str = "This clip") -> Pair:
        """A part beside a normal one, without a deviation map; event: what is marked in it, all of it if None.

        what: its title.
        """
        clip, (machine, section) = self.sound(part), self.place(part)
        names = (part.key, normal.key if normal else "")
        end_s = clip.start_s + clip.seconds
        start, end = event or (clip.start_s, None)
        marked = (start, end_s if end is None else end)
        return Pair(clip, self.sound_or_none(normal), names, machine, section, marked, what=what)

    def deviating(self, part: Part, event: Span | None = None) -> Pair | None:
        """A part with its deviation map alone; None while the statistics are made, DataError where there are none."""
        locator = self.locating.get()
        if locator is None:
            return None
        rate = (locator.embedder.sample_rate_hz, main_channel(locator.channel))
        clip, (machine, section) = self.sound(part, rate), self.place(part)
        start, end = event or (clip.start_s, None)
        whole = clip.start_s + clip.seconds
        marked = (start, whole if end is None else end)
        key = ("sentence", part, marked, self._stamp(part))
        sentence = self.cache.get(
            key, lambda: deviation_of(locator, _between(clip, marked), machine, section), lambda text: 4 * len(text)
        )
        return Pair(clip, None, (part.key, ""), machine, section, marked, locator, sentence)

    def png(self, part: Part, normal: Part | None, kind: str) -> bytes | None:
        """The picture of a kind, see `Pair.png`; None while the statistics of a deviation map are made."""
        if kind == DEVIATION:
            pair = self.deviating(part)
            if pair is None:
                return None
            return self.cache.get(("png", part, kind, self._stamp(part)), lambda: pair.png(kind), len)
        key = (part, normal, self._stamp(part), normal and self._stamp_or_none(normal))
        return self.cache.get(("png", kind, *key), lambda: self._drawn(key, part, normal).png(kind), len)

    def _drawn(self, key: tuple[object, ...], part: Part, normal: Part | None) -> Pair:
        """A pair with its spectrograms, which its three pictures share."""

        def size(pair: Pair) -> int:
            sounds, levels = (pair.clip, pair.normal), pair.levels
            return sum(s.wave.nbytes for s in sounds if s) + sum(S.nbytes for S in levels if S is not None)

        return self.cache.get(("pair", *key), lambda: self.pair(part, normal), size)

    @property
    def _root(self) -> Path:
        if self.data is None:
            raise RejectedAudio("the folder of the recordings is unknown; start detect review with --data DATA")
        return self.data

    def _stamp(self, part: Part) -> tuple[int, int, int]:
        """What changes when the file of a part is replaced or written; RejectedAudio where there is no such file."""
        with opened_below(self._root, part.recording) as (_, info):
            return info.st_ino, info.st_size, info.st_mtime_ns

    def _stamp_or_none(self, part: Part) -> tuple[int, int, int] | None:
        try:
            return self._stamp(part)
        except RejectedAudio:
            return None

    @cached_property
    def rate(self) -> tuple[int, str]:
        """Sample rate and channel of the embedding that lists the clips."""
        store = self.store()
        try:
            name = evidence_of(store, recipe_of(self.scored.recipe)).embedding
            info = store.info(name)
        except (DataError, StoreError):  # a recipe of score files, or of another store
            info = next(iter(store.embeddings.values()), None)  # type: ignore[assignment]
        return (info.sample_rate_hz or DEFAULT_HZ, main_channel(info.channel)) if info else (DEFAULT_HZ, "0")

    def _locator(self) -> tuple[Locator | None, str]:
        scored, store = self.scored, self.store()
        return locator_of(store, scored.train, pool_sections=scored.pool_sections)

    @cached_property
    def _scored(self) -> Mapping[str, Place]:
        return _places([self.scored.clips, self.scored.train])

    @cached_property
    def _stored(self) -> Mapping[str, Place]:
        store = self.store()
        return _places([store.clips(name) for name in store.embeddings])


def _between(sound: Sound, span: tuple[float, float]) -> Sound:
    """The part of a sound from start to end, in seconds of its recording; all of it where nothing is left."""
    first, last = (max(0, round((time - sound.start_s) * sound.rate_hz)) for time in span)
    wave = sound.wave[first:last]
    return Sound(wave, sound.rate_hz, sound.start_s + first / sound.rate_hz) if len(wave) else sound


def _places(tables: list[ClipTable]) -> dict[str, Place]:
    """Machine and section of every recording."""
    places: dict[str, Place] = {}
    for clips in tables:
        columns = (clips.column(name).tolist() for name in ("machine", "section"))
        places |= zip(clips.recordings(), zip(*columns, strict=True), strict=True)
    return places
