"""Which channel and which part of a recording is used."""

from dataclasses import dataclass, replace

from featstore.audio.near_far.mix import Mix
from featstore.audio.near_far.mixes import Mixes, mixes_of
from featstore.clip import Windows, windows_in
from featstore.errors import DataError

EXAMPLE = Windows(10.0, 5.0)
"""The windows that messages propose."""


@dataclass(frozen=True)
class AudioPolicy:
    """Which part of a recording is used; channel and length are stored, so one matrix never mixes two policies.

    channel: "0", "1", ...; "mean" of all, "0+1" of some; "0-1" is channel 0 minus what channel 1 explains, with options
    as in "0-1:taps=4" (`near_far.subtract`); several of these, "0,1,0-1", stand side by side (`near_far.mixes`).
    length: "native"; "crop:S" (first S seconds, shorter recordings stay short); "pad:S" (crop or zero-pad to S);
    "tile:S" (crop or repeat to S); "window:W,H" (longer recordings are cut into windows of W seconds every H seconds,
    see layouts.windows). max_seconds: limit for "native" and for windows, longer ones are rejected.
    """

    channel: str = "0"
    length: str = "native"
    max_seconds: float = 600.0

    def __post_init__(self) -> None:
        """Raise DataError for an invalid policy."""
        object.__setattr__(self, "channel", mixes_of(self.channel).text)
        self.fixed_seconds()

    @property
    def mixes(self) -> Mixes:
        """What the channel does with the channels of a recording."""
        return mixes_of(self.channel)

    @property
    def main(self) -> "AudioPolicy":
        """The policy that reads only the first of several mixes."""
        return replace(self, channel=self.mixes.main.text)

    @property
    def near(self) -> "AudioPolicy":
        """The policy that reads only the near channel, where several are kept (`Mixes.near`)."""
        mixes = self.mixes
        return replace(self, channel=Mix(mixes.sources[mixes.near]).text) if len(mixes.sources) > 1 else self

    @property
    def windows(self) -> Windows | None:
        """The windows that long recordings are cut into; None for every other policy."""
        return windows_in(self.length)

    def fixed_seconds(self) -> tuple[str, float | None]:
        """Kind and seconds of the length policy (None for native and for windows)."""
        kind, _, seconds = self.length.partition(":")
        if (kind == "native" and not seconds) or self.windows:
            return kind, None
        try:
            value = float(seconds)
        except ValueError:
            value = 0.0
        if kind not in {"crop", "pad", "tile"} or not 0 < value < 1e6:
            raise DataError(
                f"length {self.length!r}: expected native, crop:S, pad:S or tile:S with S in seconds, or window:W,H"
            )
        return kind, value

    def used_seconds(self, seconds: float) -> float:
        """Seconds of a recording of `seconds` that are read."""
        _, fixed = self.fixed_seconds()
        return seconds if fixed is None else min(seconds, fixed)


def length_option(length: str) -> str:
    """The option of `featstore build` for a text of AudioPolicy.length."""
    windows = windows_in(length)
    return windows.option if windows else f"--length {length}"
