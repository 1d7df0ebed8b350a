"""The channel of a policy, as text and as what it does with the channels of a recording."""

import re
from dataclasses import dataclass
from functools import cache

import numpy as np

from featstore.audio.near_far.subtract import Subtraction, near_minus_far
from featstore.errors import DataError

MEAN = "mean"
EXPECTED = "0, 1, ..., mean, 0+1 (their mean), or 0-1 (channel 0 minus what channel 1 explains)"

_ONE = re.compile(r"[0-9]{1,3}")
_SUM = re.compile(r"[0-9]{1,3}(?:\+[0-9]{1,3})+")
_MINUS = re.compile(r"([0-9]{1,3})-([0-9]{1,3})(?::(.+))?")


@dataclass(frozen=True)
class Mix:
    """One wave of the channels of a recording: one channel, the mean of several (of all: none named), or near - H far.

    channels: their numbers from 0. how: the subtraction of the second channel from the first; None for a mean.
    """

    channels: tuple[int, ...] = ()
    how: Subtraction | None = None

    @property
    def text(self) -> str:
        """The channel of a policy; equal mixes have equal texts."""
        if self.how is None:
            return "+".join(map(str, self.channels)) or MEAN
        default = Subtraction()
        values = {name: getattr(self.how, name) for name in ("window", "taps", "forget")}
        options = [f"{name}={value:g}" for name, value in values.items() if value != getattr(default, name)]
        return "-".join(map(str, self.channels)) + (f":{','.join(options)}" if options else "")

    @property
    def sources(self) -> "tuple[tuple[int, ...], ...]":
        """The channels of every column that is kept, whose mean the column is; () is the mean of all."""
        return (self.channels,) if self.how is None else tuple((channel,) for channel in self.channels)

    def missing(self, channels: int) -> int | None:
        """The first channel that a recording of so many channels lacks; None where it has all."""
        return next((channel for channel in self.channels if channel >= channels), None)

    def columns(self, samples: np.ndarray) -> np.ndarray:
        """What is kept of samples (frames, channels) while they are read: (frames, 1), or near and far (frames, 2)."""
        if self.how is not None:
            return samples[:, list(self.channels)]
        return column(samples, self.channels)

    def finished(self, columns: np.ndarray) -> tuple[np.ndarray, str]:
        """The wave (time,) of all columns (time, n), and why nothing was subtracted, if so."""
        if self.how is None:
            return columns[:, 0], ""
        return near_minus_far(columns[:, 0], columns[:, 1], self.how)


def column(samples: np.ndarray, channels: tuple[int, ...]) -> np.ndarray:
    """The mean (frames, 1) of some channels of samples (frames, channels), of all where none are named."""
    if len(channels) == 1:
        return samples[:, channels[0]][:, None]
    kept = samples[:, list(channels)] if channels else samples
    return np.asarray(kept.mean(axis=1, keepdims=True, dtype=np.float32))


@cache
def mix_of(text: str) -> Mix:
    """The mix that a text names; DataError for another text."""
    if text == MEAN:
        return Mix()
    if _ONE.fullmatch(text):
        return Mix((int(text),))
    if _SUM.fullmatch(text):
        channels = tuple(sorted({int(part) for part in text.split("+")}))
        return Mix(channels)
    match = _MINUS.fullmatch(text)
    if not match or match[1] == match[2]:
        raise DataError(f"channel {text!r:.80}: expected {EXPECTED}")
    return Mix((int(match[1]), int(match[2])), _subtraction(text, match[3] or ""))


def _subtraction(text: str, options: str) -> Subtraction:
    kinds = {"window": int, "taps": int, "forget": float}
    values: dict[str, float] = {}
    for option in filter(None, options.split(",")):
        name, equals, value = option.partition("=")
        if name not in kinds or not equals or name in values:
            expected = "expected window=N, taps=N and forget=X, each once"
            raise DataError(f"channel {text!r:.80}: option {option!r:.40}; {expected}")
        try:
            values[name] = kinds[name](value)
        except ValueError:
            raise DataError(f"channel {text!r:.80}: {name}={value!r:.40} is no number") from None
    try:
        return Subtraction(**values)  # type: ignore[arg-type]
    except DataError as error:
        raise DataError(f"channel {text!r:.80}: {error}") from None
