"""The only audio reader: returns float32 waves at one sample rate, one per mix, or the reason why it cannot.

| input                                    | outcome                                                              |
|------------------------------------------|----------------------------------------------------------------------|
| WAV (any PCM width, float, A-law), RF64, W64, AIFF, AU, CAF, FLAC, Ogg (Vorbis, Opus), MP3 | decoded; the file  |
|                                          | extension is ignored                                                 |
| zero samples, not audio, truncated, unreadable | rejected; a file that lacks one byte of its samples is truncated |
| NaN or Inf samples                       | rejected                                                             |
| no length in the header, or a placeholder | decoded to the end, outcome "length unknown"                        |
| more sound than the header states        | decoded to the end, outcome "longer than its header says" (`extent`) |
| every sample zero                        | decoded, outcome "silent" (detectors do not use it as reference)     |
| several mixes, the first of them silent  | the same; another one: outcome "silent in one of its channels"       |
| shorter than the embedder's minimum      | zero-padded to the minimum, outcome "padded"                         |
| longer than `max_seconds`, length native | rejected before decoding; the reason names the options to give      |
| selected channel does not exist          | rejected                                                             |
| window that ends after the recording     | rejected; by at most a millisecond, the window is that much shorter  |

Long files are decoded once, block by block; memory holds only the channels that the mixes need, at the target rate, and
only the part that the length policy or the window needs. A window is decoded, resampled and subtracted alone, so its
wave is that of a file with these samples.
"""

import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import NamedTuple

import numpy as np
import xxhash

from featstore.audio.hashes import hash_once
from featstore.audio.measure import UNKNOWN, Measures, Measuring, measure
from featstore.audio.opened import BLOCK_FRAMES, opened
from featstore.audio.outcomes import ONE_SILENT, PADDED, SILENT, first_of
from featstore.audio.part import in_memory, on_disk
from featstore.audio.policy import EXAMPLE, AudioPolicy
from featstore.audio.wav import WavData, wav_data
from featstore.clip import Window, recording_of, window_of
from featstore.errors import RejectedAudio

FAST_BYTES = 64 << 20  # larger files are decoded as a stream
HEAD_BYTES = 1 << 16

TOLERANCE_S = 1e-3
"""Seconds by which a window may end after the recording, or leave out its end."""

UNREADABLE = "cannot be read"
"""Start of every reason caused by the file system; the next build tries these recordings again."""


@dataclass(frozen=True)
class Recording:
    """A decoded recording, or a window of one, and facts about its file.

    wave: float32 at the target rate, (time,), or (mixes, time) of a policy with several. n_samples: of the file, or of
    the window, at the rate of the file. sample_rate_hz, channels: of the file. content_hash: of the bytes of the whole
    file. outcome: "" or a word of `outcomes`. measures: of the samples that are used, before resampling and padding; of
    the first channel, where several are used.
    """

    wave: np.ndarray
    sample_rate_hz: int
    n_samples: int
    channels: int
    content_hash: str
    outcome: str = ""
    measures: Measures = UNKNOWN


def read_clip(root: Path, path: str, sample_rate_hz: int, policy: AudioPolicy, *, min_samples: int = 1) -> Recording:
    """`read_recording` for the path of a clip below `root`, which may name a window."""
    file, window = root / recording_of(path), window_of(path)
    return read_recording(file, sample_rate_hz, policy, window=window, min_samples=min_samples)


def read_recording(
    path: Path, sample_rate_hz: int, policy: AudioPolicy, *, window: Window | None = None, min_samples: int = 1
) -> Recording:
    """Decode `path`, or one window of it, under `policy` at `sample_rate_hz`; 0 keeps the rate of the file.

    A window has the frames from round(start * rate) to round(end * rate) of the file. A wave shorter than `min_samples`
    is zero-padded. Raises RejectedAudio with the reason.
    """
    kept = read_kept(path, sample_rate_hz, policy, window=window)
    return mixed(kept, *policy.mixes.finished(kept.columns), policy, min_samples)


def read_kept_clip(root: Path, path: str, sample_rate_hz: int, policy: AudioPolicy) -> "Kept":
    """`read_kept` for the path of a clip below `root`, which may name a window."""
    return read_kept(root / recording_of(path), sample_rate_hz, policy, window=window_of(path))


def read_kept(path: Path, sample_rate_hz: int, policy: AudioPolicy, *, window: Window | None = None) -> "Kept":
    """What the mixes of a policy need of a recording or window, not yet mixed or padded; errors as `read_recording`."""
    try:
        with open(path, "rb", buffering=0, opener=open_without_waiting) as file:
            info = os.fstat(file.fileno())
            if not stat.S_ISREG(info.st_mode):
                raise RejectedAudio("not a regular file")
            if info.st_size == 0:
                raise RejectedAudio("the file is empty (0 bytes)")
            return _decode(file, info, sample_rate_hz, policy, window)
    except OSError as error:
        raise RejectedAudio(f"{UNREADABLE}: {error.strerror or error}") from error


def mixed(
    kept: "Kept", wave: np.ndarray, fallen: Sequence[str], policy: AudioPolicy, min_samples: int = 1
) -> Recording:
    """The recording of a wave (time,) or (mixes, time) that was mixed of what is kept of it.

    fallen: for every mix why nothing was subtracted, or "".
    """
    wave, padded = fit_length(wave, kept.rate_hz, policy, min_samples)
    sounds = np.atleast_1d(wave.any(axis=-1))
    silent = "" if sounds.all() else ONE_SILENT if sounds[0] else SILENT
    outcome = first_of(kept.length, padded, silent, *fallen)
    return Recording(wave, kept.file_hz, kept.frames, kept.channels, kept.content_hash, outcome, kept.measures)


def open_without_waiting(path: str, flags: int) -> int:
    """Opener for `open` that does not block: a named pipe among recordings must not stop their reader."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def fit_length(wave: np.ndarray, rate_hz: int, policy: AudioPolicy, min_samples: int) -> tuple[np.ndarray, str]:
    """Apply pad or tile, then the embedder's minimum; crop was applied while decoding."""
    kind, seconds = policy.fixed_seconds()
    if kind in {"pad", "tile"} and seconds is not None:
        n_samples = round(seconds * rate_hz)
        if kind == "tile" and wave.shape[-1] < n_samples:
            wave = wave[..., np.arange(n_samples) % wave.shape[-1]]
        else:
            wave = _padded(wave, n_samples)
    if wave.shape[-1] < min_samples:
        return _padded(wave, min_samples), PADDED
    return wave, ""


def _padded(wave: np.ndarray, n_samples: int) -> np.ndarray:
    missing = max(0, n_samples - wave.shape[-1])
    return np.pad(wave, [(0, 0)] * (wave.ndim - 1) + [(0, missing)]) if missing else wave


class Kept(NamedTuple):
    """What is kept of a recording or window before it is mixed, and facts about its file.

    columns: float32 (time, n), one for each of `Mixes.sources`, at `rate_hz`. file_hz: rate of the file. frames: of the
    recording or window, at that rate. channels: of the file. length: how it differs from that in the header.
    """

    columns: np.ndarray
    rate_hz: int
    file_hz: int
    frames: int
    channels: int
    length: str
    measures: Measures
    content_hash: str = ""


def _decode(file: FileIO, info: os.stat_result, rate_hz: int, policy: AudioPolicy, window: Window | None) -> Kept:
    """The columns with their facts."""
    if window is None and info.st_size <= FAST_BYTES:
        content = file.read()
        digest = xxhash.xxh3_128_hexdigest(content)
        layout = wav_data(in_memory(content), len(content))
        if layout is not None and layout.bits == 16 and rate_hz in (0, layout.rate_hz):
            return _decode_pcm16(content, layout, policy)._replace(content_hash=digest)
        return _decode_stream(file, info.st_size, rate_hz, policy)._replace(content_hash=digest)
    digest = hash_once(file)
    file.seek(0)
    layout = wav_data(on_disk(file, file.read(HEAD_BYTES)), info.st_size)
    if window is not None and layout is not None and layout.bits == 16 and rate_hz in (0, layout.rate_hz):
        return _decode_pcm16(file, layout, policy, window)._replace(content_hash=digest)
    return _decode_stream(file, info.st_size, rate_hz, policy, window)._replace(content_hash=digest)


def _decode_pcm16(source: bytes | FileIO, layout: WavData, policy: AudioPolicy, window: Window | None = None) -> Kept:
    """16-bit PCM at the target rate, the common case, without a decoder (about twice as fast as libsndfile).

    source: the content of the file, or the file, of which only the part that is needed is read.
    """
    part = _part(layout.frames, layout.rate_hz, layout.channels, policy, window)
    start, size = layout.start + 2 * layout.channels * part.first, 2 * layout.channels * part.needed
    if not isinstance(source, bytes):
        source.seek(start)
        source, start = source.read(size), 0
        if len(source) < size:
            raise RejectedAudio(f"truncated: {size - len(source)} bytes of the window are missing")
    samples = np.frombuffer(source, "<i2", part.needed * layout.channels, start).reshape(part.needed, -1)
    columns = np.multiply(policy.mixes.columns(samples), np.float32(1 / 32768), dtype=np.float32)
    measures = measure(columns[:, 0], layout.rate_hz)
    rate_hz = layout.rate_hz
    return Kept(columns, rate_hz, rate_hz, part.frames, layout.channels, layout.outcome, measures)


def _decode_stream(file: FileIO, size: int, rate_hz: int, policy: AudioPolicy, window: Window | None = None) -> Kept:
    """Decode any format of libsndfile, block by block, through a streaming resampler."""
    import soxr

    with opened(file, size) as sound:
        native_hz, channels = sound.file.samplerate, sound.file.channels
        part = _part(sound.frames, native_hz, channels, policy, window)
        if part.first:
            sound.file.seek(part.first)
        kept = len(policy.mixes.sources)
        resample = (
            soxr.ResampleStream(native_hz, rate_hz, kept, dtype="float32") if rate_hz not in (0, native_hz) else None
        )
        blocks, done, measuring = [], 0, Measuring(native_hz)
        while done < part.needed:
            block = sound.file.read(min(BLOCK_FRAMES, part.needed - done), dtype="float32", always_2d=True)
            if len(block) == 0:
                raise RejectedAudio(f"truncated: {done} of {part.needed} frames could be decoded")
            if not np.isfinite(block).all():
                raise RejectedAudio("contains NaN or infinite samples")
            done += len(block)
            columns = policy.mixes.columns(block)
            measuring.add(columns[:, 0])
            last = done >= part.needed
            blocks.append(resample.resample_chunk(columns, last=last).reshape(-1, kept) if resample else columns)
        columns, measures = np.concatenate(blocks), measuring.result()
        return Kept(columns, rate_hz or native_hz, native_hz, part.frames, channels, sound.outcome, measures)


class _Part(NamedTuple):
    """Frames of a file: the first one of the recording or window, how many it has, and how many the policy needs."""

    first: int
    frames: int
    needed: int


def _part(frames: int, native_hz: int, channels: int, policy: AudioPolicy, window: Window | None) -> _Part:
    """The part of a file that is read; RejectedAudio when there is no such part or the policy cannot be applied."""
    if frames <= 0:
        raise RejectedAudio("contains no samples")
    missing = policy.mixes.missing(channels)
    if missing is not None:
        raise RejectedAudio(f"channel {missing} does not exist, the file has {channels} (0 to {channels - 1})")
    first, cure = 0, f"cut it into windows with {EXAMPLE.option}, use a part with --length crop:S"
    if window is not None:
        (first, frames), cure = _frames_of(window, frames, native_hz), "give a shorter window"
    _, seconds = policy.fixed_seconds()
    if seconds is not None:
        return _Part(first, frames, min(frames, max(1, round(seconds * native_hz))))
    if frames > policy.max_seconds * native_hz:
        raise RejectedAudio(
            f"{frames / native_hz:,.0f} s long, more than {policy.max_seconds:,g} s; {cure}, or increase --max-seconds"
        )
    return _Part(first, frames, frames)


def _frames_of(window: Window, frames: int, native_hz: int) -> tuple[int, int]:
    """First frame and number of frames of a window; the last ones may be missing by rounding."""
    first, end = round(window.start_s * native_hz), round(window.end_s * native_hz)
    if end - frames > max(1, TOLERANCE_S * native_hz):
        raise RejectedAudio(
            f"the window ends at {window.end_s:,.9g} s, after the end of the recording at {frames / native_hz:,.9g} s"
        )
    end = min(end, frames)
    if first >= end:
        raise RejectedAudio(f"the window from {window.start_s:g} to {window.end_s:g} s contains no samples")
    return first, end - first
