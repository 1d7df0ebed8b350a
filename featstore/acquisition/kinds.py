"""The ways in which a recording can differ from those that it is compared with: a value each, and what is like it."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from featstore.acquisition.recordings import Recordings

LEVEL_DB = 20.0
"""Level from which a recording is no longer like another. Faults make a machine louder or quieter by less, as a rule;
another gain, another scale of the samples or another microphone changes it by this and more."""

LENGTH_RATIO = 1.5
"""Statistics over time, such as a maximum, move little up to here."""

BANDWIDTH_RATIO = 1.1
CLIPPED_SHARE = 0.001
ZEROS_S = 0.1
OFFSET = 0.02
MORE = 4.0
"""A clip with less than a quarter of the clipped samples, drop-outs or zeros of another is not like it."""

Bounds = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Kind:
    """A way to differ.

    name: as tables and notes call it. values: float64 (n,), NaN where it is unknown or does not apply. alike: lowest
    and highest value (n,) that are like the one of each clip. least: smaller values mislead nobody. text: a value for
    people. said: of a note, "5 clips with SAID".
    """

    name: str
    values: Callable[[Recordings], np.ndarray]
    alike: Callable[[Recordings, np.ndarray], Bounds]
    text: Callable[[float], str]
    said: str
    least: float = -np.inf


def _same(recordings: Recordings, values: np.ndarray) -> Bounds:
    return values, values


def _by_ratio(ratio: float) -> Callable[[Recordings, np.ndarray], Bounds]:
    return lambda recordings, values: (values / ratio, values * ratio)


def _or_more(recordings: Recordings, values: np.ndarray) -> Bounds:
    return values / MORE, np.full(len(values), np.inf)


def _offsets(recordings: Recordings, values: np.ndarray) -> Bounds:
    """An offset is small beside OFFSET, or beside half the root mean square of the sound."""
    tolerance = np.maximum(OFFSET, 10 ** (recordings.facts["level_dbfs"] / 20) / 2)
    return values - tolerance, values + tolerance


def _fact(name: str) -> Callable[[Recordings], np.ndarray]:
    """A measured fact; NaN for silent clips, which have a kind of their own."""
    return lambda recordings: np.where(recordings.silent, np.nan, recordings.facts[name].astype(np.float64))


def _outer_zeros(recordings: Recordings) -> np.ndarray:
    """The longest run of zeros, where it is not a drop-out."""
    zeros, inside = _fact("zero_run_s")(recordings), recordings.facts["dropout_s"]
    return np.where(zeros > inside, zeros, zeros * 0)


def seconds_text(value: float) -> str:
    """A time in seconds: 10 s, 2.5 s, 0.012 s."""
    return f"{value:.3g} s" if value < 100 else f"{value:,.0f} s"


SAMPLE_RATE, BANDWIDTH = "sample rate", "bandwidth"

KINDS = (
    Kind(SAMPLE_RATE, lambda recordings: recordings.rate_hz, _same, "{:.0f} Hz".format, "another sample rate"),
    Kind("length", lambda recordings: recordings.seconds, _by_ratio(LENGTH_RATIO), seconds_text, "another length"),
    Kind("channels", lambda recordings: recordings.channels, _same, "{:.0f} ch".format, "another number of channels"),
    Kind(
        "level",
        _fact("level_dbfs"),
        lambda recordings, values: (values - LEVEL_DB, values + LEVEL_DB),
        "{:.0f} dBFS".format,
        "another level",
    ),
    Kind(BANDWIDTH, _fact("bandwidth_hz"), _by_ratio(BANDWIDTH_RATIO), "{:.0f} Hz".format, "another bandwidth"),
    Kind(
        "clipping",
        _fact("clipped"),
        _or_more,
        lambda value: f"{float(f'{100 * value:.2g}'):g} %",  # not 1e+02
        "clipping",
        CLIPPED_SHARE,
    ),
    Kind("DC offset", _fact("dc_offset"), _offsets, "{:.2g}".format, "another DC offset"),
    Kind("drop-outs", _fact("dropout_s"), _or_more, seconds_text, "drop-outs", 1e-9),
    Kind("zeros", _outer_zeros, _or_more, seconds_text, "runs of zeros", ZEROS_S),
)
