"""How a recording was made, in eight numbers that are measured while it is decoded.

They are measured on the samples that are used (the selected channel, the part that the policy needs), at the rate of
the file, before resampling and padding. A stream gives the same numbers as a whole recording: both are cut into the
same blocks.
"""

import math
from typing import NamedTuple

import numpy as np

MEASURED_FRAMES = 1 << 18
"""Samples that are measured at once; one megabyte, about the cache of a core."""

SILENCE_DBFS = -200.0
"""The lowest level; that of a constant."""

SHORTEST_RUN_S = 0.005
"""Equal samples shorter than this are no drop-out: sound of a few quantisation steps has them too."""

CLIPPED_RUN = 3
"""Equal samples in a row, at the extreme value, from which they count as clipped."""

CLIPPED_REACH = 0.5
"""Standard deviations from the mean from which an extreme value can be clipped; nearer is a rest between few pulses."""

FRAME, FRAMES_PER_BLOCK = 512, 6
"""Samples of a frame of the spectrum, and frames that are spread over a block."""

BANDS = 64
"""Bands of equal width, up to half the sample rate, in which a cut of the spectrum is searched."""

LOWEST, FIRST_CUT = 2, 8
"""Bands from which the spectrum counts (recorders remove the lowest frequencies), and from which it may be cut."""

CUT_DB = 20.0
"""Fall from one band to the next but one that counts as a cut; that of natural sound is less steep."""


class Measures(NamedTuple):
    """The numbers of one recording; NaN where a number is unknown.

    level_dbfs: root mean square about the mean, in dB relative to full scale 1; a sine of full scale has -3.01. peak:
    largest absolute sample, full scale is 1. clipped: share of samples in runs of three or more at the largest or the
    smallest value, where that is half a standard deviation or more from the mean. dc_offset: mean of the samples, full
    scale is 1. dropouts: number of runs of one repeated value of 5 ms or more, with other samples before and after it.
    dropout_s: their total length in seconds. zero_run_s: longest run of zeros in seconds, also at the beginning and the
    end; 0 below 5 ms. bandwidth_hz: frequency at which the mean spectrum falls to 20 dB or more below its quietest band
    up to there, for good; half the sample rate where it does not.
    """

    level_dbfs: float
    peak: float
    clipped: float
    dc_offset: float
    dropouts: float
    dropout_s: float
    zero_run_s: float
    bandwidth_hz: float


UNKNOWN = Measures(*[float("nan")] * len(Measures._fields))


def measure(wave: np.ndarray, rate_hz: int) -> Measures:
    """The numbers of a float32 wave (time,) at `rate_hz`."""
    measuring = Measuring(rate_hz)
    measuring.add(wave)
    return measuring.result()


class Measuring:
    """Measures a recording that comes in blocks of any size."""

    def __init__(self, rate_hz: int) -> None:
        self._rate_hz = rate_hz
        self._level, self._spectrum = _Level(), _Spectrum(rate_hz)
        self._high, self._low, self._runs = _Extreme(1), _Extreme(-1), _Runs(round(SHORTEST_RUN_S * rate_hz))
        self._waiting: list[np.ndarray] = []

    def add(self, block: np.ndarray) -> None:
        """Take the next samples, float32 (n,) and finite."""
        self._waiting.append(np.ascontiguousarray(block))
        if sum(map(len, self._waiting)) >= MEASURED_FRAMES:
            wave = np.concatenate(self._waiting) if len(self._waiting) > 1 else self._waiting[0]
            whole = len(wave) - len(wave) % MEASURED_FRAMES
            for start in range(0, whole, MEASURED_FRAMES):
                self._measure(wave[start : start + MEASURED_FRAMES])
            self._waiting = [wave[whole:]]

    def _measure(self, block: np.ndarray) -> None:
        self._level.add(block)
        self._spectrum.add(block)
        self._high.add(block, float(block.max()))
        self._low.add(block, float(block.min()))
        self._runs.add(block)

    def result(self) -> Measures:
        """The numbers of all samples; UNKNOWN without any."""
        if rest := [block for block in self._waiting if len(block)]:
            self._measure(np.concatenate(rest) if len(rest) > 1 else rest[0])
        n = self._level.n
        if not n:
            return UNKNOWN
        runs, high, low, level = self._runs, self._high, self._low, self._level
        at_limit = sum(extreme.count for extreme in (high, low) if level.reached(extreme.value))
        return Measures(
            level_dbfs=self._level.dbfs,
            peak=max(abs(high.value), abs(low.value)),
            clipped=at_limit / n if low.value < high.value else 0.0,  # a constant is not clipped
            dc_offset=self._level.mean,
            dropouts=runs.dropouts,
            dropout_s=runs.dropout_samples / self._rate_hz,
            zero_run_s=runs.longest_zeros() / self._rate_hz,
            bandwidth_hz=self._spectrum.bandwidth_hz() if high.value > low.value else float("nan"),
        )


class _Level:
    """Mean and mean square about the mean, joined block by block (Chan et al. 1979)."""

    def __init__(self) -> None:
        self.n, self.mean, self._square = 0, 0.0, 0.0

    def add(self, block: np.ndarray) -> None:
        n = len(block)
        mean, square = _sums(block)
        delta = mean - self.mean
        self._square += square + delta * delta * self.n * n / (self.n + n)
        self.mean += delta * n / (self.n + n)
        self.n += n

    def reached(self, value: float) -> bool:
        """Whether a value is so far from the mean that it can be a limit of the sound."""
        return abs(value - self.mean) >= CLIPPED_REACH * math.sqrt(self._square / self.n)

    @property
    def dbfs(self) -> float:
        power = self._square / self.n
        return max(10 * math.log10(power), SILENCE_DBFS) if power > 0 else SILENCE_DBFS


_ONES = np.ones(4096, np.float32)
OFFSET_SHARE = 0.01
"""Share of an offset in the power of a block above which float32 sums are not exact enough."""


def _sums(block: np.ndarray) -> tuple[float, float]:
    """Mean of a block, and the sum of squares about it."""
    n, rows = len(block), len(block) // len(_ONES)
    whole = rows * len(_ONES)
    with np.errstate(over="ignore", invalid="ignore"):
        total = float((block[:whole].reshape(rows, -1) @ _ONES).sum()) if rows else 0.0  # faster than block.sum()
        mean, power = (total + float(block[whole:].sum())) / n, float(block @ block) / n
    if math.isfinite(power) and mean * mean <= OFFSET_SHARE * power:
        return mean, n * (power - mean * mean)
    exact = block.astype(np.float64)
    mean = float(exact.mean())
    exact -= mean
    return mean, float(exact @ exact)


class _Extreme:
    """The largest (sign 1) or smallest (-1) value so far, and the samples in runs of CLIPPED_RUN or more at it."""

    def __init__(self, sign: int) -> None:
        self.value, self.count = -sign * float("inf"), 0
        self._sign, self._open = sign, 0  # samples at the extreme at the end of the last block, at most CLIPPED_RUN

    def add(self, block: np.ndarray, value: float) -> None:
        """Add a block; value: its own extreme."""
        if self._sign * value > self._sign * self.value:
            self.value, self.count, self._open = value, 0, 0
        elif value != self.value:
            self._open = 0
            return
        at = block == value
        if not self._open and not (at[2:] & at[1:-1] & at[:-2]).any():  # the usual case
            self._open = int(at[-1]) + int(at[-2:].sum() == 2)
            return
        edges = np.flatnonzero(at[1:] != at[:-1]) + 1  # few in a long run, as in silence
        ends = np.concatenate([np.zeros(int(at[0]), np.intp), edges, np.full(int(at[-1]), len(at))])
        lengths = ends[1::2] - ends[::2]
        counted = 0
        if at[0]:  # a run goes on
            lengths[0] += self._open
            counted = self._open if self._open >= CLIPPED_RUN else 0
        self.count += int(lengths[lengths >= CLIPPED_RUN].sum()) - counted
        self._open = min(int(lengths[-1]), CLIPPED_RUN) if at[-1] else 0


class _Runs:
    """Runs of `shortest` or more equal samples: those between other samples, and the longest one of zeros."""

    def __init__(self, shortest: int) -> None:
        self.dropouts, self.dropout_samples, self._zeros = 0, 0, 0
        self._shortest = max(shortest, 4)
        self._value, self._length, self._first = float("nan"), 0, True  # the run that the last block ended with

    def add(self, block: np.ndarray) -> None:
        (value, length), *others = self._runs(block)
        if value == self._value:
            self._length += length
        else:
            self._next(value, length)
        for value, length in others:
            self._next(value, length)

    def _runs(self, block: np.ndarray) -> list[tuple[float, int]]:
        """Value and length of the first and the last run of a block, and of all long ones between them."""
        n, shortest = len(block), self._shortest
        step = shortest // 2
        points = block[::step]  # a long run holds at least two of them, and what lies between
        at = np.flatnonzero(points[1:] == points[:-1])
        if n > 2 * shortest and not (block[step * at + step // 2] == points[at]).any():
            first = int((block[:shortest] != block[0]).argmax())
            last = int((block[: -shortest - 1 : -1] != block[-1]).argmax())
            return [(float(block[0]), first), (float("nan"), n - first - last), (float(block[-1]), last)]
        starts = np.concatenate([[0], np.flatnonzero(block[1:] != block[:-1]) + 1])
        lengths = np.diff(starts, append=n)
        kept = lengths >= shortest
        kept[[0, -1]] = True
        return list(zip(block[starts[kept]].tolist(), lengths[kept].tolist(), strict=True))

    def _next(self, value: float, length: int) -> None:
        """Close the run at the end, and begin another."""
        self._close()
        self._first, self._value, self._length = self._length == 0, value, length

    def _close(self) -> None:
        """Count the run that has ended."""
        if self._length < self._shortest or self._value != self._value:
            return
        self._zeros = self.longest_zeros()
        if not self._first:
            self.dropouts += 1
            self.dropout_samples += self._length

    def longest_zeros(self) -> int:
        """Samples of the longest run of zeros so far, also of one that has not ended."""
        is_long = self._value == 0 and self._length >= self._shortest
        return max(self._zeros, self._length) if is_long else self._zeros


TOGETHER = 16
_WINDOW = np.hanning(FRAME + 1)[:-1].astype(np.float32)


class _Spectrum:
    """Mean power spectrum of a few frames of every block."""

    def __init__(self, rate_hz: int) -> None:
        self._rate_hz = rate_hz
        self._squares = np.zeros(FRAME + 2)  # of real and imaginary parts in turn
        self._frames: list[np.ndarray] = []

    def add(self, block: np.ndarray) -> None:
        count = min(len(block) // FRAME, FRAMES_PER_BLOCK)
        for i in range(count):
            start = (len(block) - FRAME) * i // max(count - 1, 1)
            self._frames.append(block[start : start + FRAME] * _WINDOW)
        if len(self._frames) >= TOGETHER:
            self._transform()

    def _transform(self) -> None:
        """Add the frames that wait; together they take half as long."""
        if not self._frames:
            return
        lines = np.fft.rfft(np.stack(self._frames)).view(np.float32)
        with np.errstate(over="ignore"):  # of float files with huge samples
            lines *= lines
        self._squares += lines.sum(axis=0, dtype=np.float64)
        self._frames.clear()

    def bandwidth_hz(self) -> float:
        """See `Measures`; NaN below FRAME samples."""
        self._transform()
        power = self._squares[2:].reshape(BANDS, -1).sum(axis=1)[LOWEST:]
        if not 0 < float(power.sum()) < math.inf:
            return float("nan")
        quietest = np.minimum.accumulate(power)[:-2]
        loudest = np.maximum.accumulate(power[::-1])[::-1][2:]
        cuts = np.flatnonzero(loudest <= quietest * 10 ** (-CUT_DB / 10))
        cuts = cuts[cuts >= FIRST_CUT - LOWEST]
        band = cuts[0] + LOWEST + 1 if len(cuts) else BANDS
        return float(band * self._rate_hz / 2 / BANDS)
