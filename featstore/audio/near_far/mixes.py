"""Mixes of the channels of a recording side by side: `0,1,0-1` is near, far, and near minus far.

The mixes are separated by commas. An item `key=value` is an option of the mix before it: `0-1:window=512,taps=4,0` are
two mixes. The first mix is the main one: it decides whether a recording is silent, its channel is measured, and
statistics of normal sound are its.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache, cached_property

import numpy as np

from featstore.audio.near_far.mix import EXPECTED, Mix, column, mix_of
from featstore.errors import DataError

MOST = 8
"""Mixes of a policy; each is embedded."""

LONGEST = 400
"""Characters of a text of mixes."""

MARK = "/"
"""Between mix and view in the name of a view: `0-1/mean`."""

_OPTION = re.compile(r"[a-z]+=")


@dataclass(frozen=True)
class Mixes:
    """One or several mixes of the same recording, no two of them equal."""

    each: tuple[Mix, ...]

    @property
    def text(self) -> str:
        """The channel of a policy; equal mixes in equal order have equal texts."""
        return ",".join(mix.text for mix in self.each)

    @property
    def main(self) -> Mix:
        """The first mix."""
        return self.each[0]

    @property
    def several(self) -> bool:
        """Whether a recording becomes (mixes, time) instead of (time,)."""
        return len(self.each) > 1

    @cached_property
    def sources(self) -> tuple[tuple[int, ...], ...]:
        """What is kept of a recording: the channels of every column, see `Mix.sources`."""
        return tuple(dict.fromkeys(source for mix in self.each for source in mix.sources))

    @property
    def near(self) -> int:
        """The column of the microphone at the machine.

        The channel that another one is subtracted from, else the first channel that stands alone, else the main mix.
        """
        own = [mix for mix in self.each if mix.how] or [mix for mix in self.each if len(mix.channels) == 1]
        return self.sources.index((own or self.each)[0].sources[0])

    def missing(self, channels: int) -> int | None:
        """The first channel that a recording of so many channels lacks; None where it has all."""
        lacking = (mix.missing(channels) for mix in self.each)
        return next((channel for channel in lacking if channel is not None), None)

    def columns(self, samples: np.ndarray) -> np.ndarray:
        """What is kept of samples (frames, channels) while they are read: (frames, n), a column per source."""
        if not self.several:
            return self.main.columns(samples)
        return np.concatenate([column(samples, source) for source in self.sources], axis=1)

    def finished(self, columns: np.ndarray, leave: Sequence[bool] = ()) -> tuple[np.ndarray, tuple[str, ...]]:
        """The wave (time,) or waves (mixes, time) of all columns (time, n), and why nothing was subtracted, or "".

        leave: for every mix, whether nothing is to be subtracted, whatever the columns are.
        """
        results = []
        for i, mix in enumerate(self.each):
            own = columns[:, [self.sources.index(source) for source in mix.sources]] if self.several else columns
            results.append((own[:, 0], "") if leave and leave[i] else mix.finished(own))
        waves, fallen = zip(*results, strict=True)
        return np.stack(waves) if self.several else waves[0], fallen


@cache
def mixes_of(text: str) -> Mixes:
    """The mixes that a text names; DataError for another text."""
    if len(text) > LONGEST:
        raise DataError(f"channel {text!r:.80}...: {len(text):,} characters, at most {LONGEST} are read")
    parts: list[str] = []
    for item in text.split(","):
        if parts and _OPTION.match(item):
            parts[-1] += f",{item}"
        else:
            parts.append(item)
    if "" in parts and len(parts) > 1:
        raise DataError(f"channel {text!r:.80}: nothing between two commas; expected {EXPECTED}, separated by commas")
    each = tuple(mix_of(part) for part in parts)
    repeated = next((mix.text for i, mix in enumerate(each) if mix in each[:i]), None)
    if repeated:
        raise DataError(f"channel {text!r:.80}: {repeated} is given twice; name every mix once")
    if len(each) > MOST:
        raise DataError(f"channel {text!r:.80}: {len(each)} mixes; at most {MOST} stand side by side")
    return Mixes(each)


def side_by_side(
    mixes: Mixes, shape: tuple[int, ...], views: tuple[str, ...], n_channels: int = 1
) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """Shape and views of a row that an embedder of this shape and these views makes of every mix.

    The views of the first mix come first. n_channels: mixes that the embedder reads together, as one row. ValueError
    for an embedder that reads another number of them, or whose rows have other than one or two axes.
    """
    if n_channels > 1 and len(mixes.each) != n_channels:
        together = ",".join(map(str, range(n_channels)))
        raise ValueError(
            f"it reads {n_channels} channels of a recording together, and --channel {mixes.text} names "
            f"{len(mixes.each)}; give --channel {together}"
        )
    if not mixes.several or n_channels > 1:
        return shape, views
    texts = [mix.text for mix in mixes.each]
    if len(shape) == 1:
        return (len(texts), *shape), tuple(texts)
    if len(shape) != 2:
        raise ValueError(f"rows of shape {shape}: several channels side by side need (d,) or (views, d)")
    own = views or tuple(map(str, range(shape[0])))
    return (len(texts) * shape[0], shape[1]), tuple(f"{text}{MARK}{view}" for text in texts for view in own)


def main_channel(channel: str) -> str:
    """The text of the first mix of a channel that a store states; "0" where it states none."""
    return _stated(channel).main.text


def main_views(channel: str, views: Sequence[str]) -> dict[str, int]:
    """The views of the first mix by their own names, with their places among all views of an embedding."""
    mixes = _stated(channel)
    start = f"{mixes.main.text}{MARK}" if mixes.several else ""
    return {view.removeprefix(start): i for i, view in enumerate(views) if view.startswith(start)}


def mix_of_view(channel: str, view: str) -> str:
    """The text of the mix that a view of an embedding is of; all of them for the views joined."""
    mixes = _stated(channel)
    own = (mix.text for mix in mixes.each if view == mix.text or view.startswith(f"{mix.text}{MARK}"))
    return next(own, mixes.text) if mixes.several else mixes.text


def mix_texts(channel: str) -> tuple[str, ...]:
    """The texts of the mixes of a channel that a store states."""
    return tuple(mix.text for mix in _stated(channel).each)


def subtractions(texts: Iterable[str]) -> dict[str, str]:
    """The mixes that are near minus far, each with its near channel alone, where this is one of the mixes too."""
    mixes = [_stated(text).main for text in texts]
    alone = {mix.channels[0]: mix.text for mix in mixes if not mix.how and len(mix.channels) == 1}
    return {mix.text: alone[mix.channels[0]] for mix in mixes if mix.how and mix.channels[0] in alone}


def far_alone(texts: Iterable[str]) -> set[str]:
    """The mixes that are only channels that others of them subtract: these hear more noise than machine."""
    mixes = [_stated(text).main for text in texts]
    near, far = ({mix.channels[i] for mix in mixes if mix.how} for i in (0, 1))
    return {mix.text for mix in mixes if not mix.how and mix.channels and set(mix.channels) <= far - near}


def _stated(channel: str) -> Mixes:
    """The mixes of a channel that a store states; those of "0" where it states none, or a text of another program."""
    try:
        return mixes_of(channel or "0")
    except DataError:
        return mixes_of("0")
