"""Recordings opened by libsndfile, with the length that the file holds instead of the one that a header claims.

libsndfile shortens what is truncated without an error, and believes lengths that are too small or missing. So the
header is read here first (see `extent`, `flac`, `ogg`), and a compressed file must give its last sample.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from io import FileIO
from typing import TYPE_CHECKING, NamedTuple

from featstore.audio.extent import Extent, extent_of
from featstore.audio.flac import Flac, check_single, flac_of, last_frame
from featstore.audio.mp3 import COUNTED_BYTES, Unstated, unstated
from featstore.audio.ogg import ogg_outcome
from featstore.audio.once import once
from featstore.audio.outcomes import LONGER, UNKNOWN
from featstore.audio.part import Part, on_disk, without_zeros
from featstore.errors import RejectedAudio

if TYPE_CHECKING:
    from soundfile import SoundFile

HEAD_BYTES = 1 << 12  # enough for the header of nearly every recording
BLOCK_FRAMES = 1 << 16

CHECKED_FORMATS = frozenset({"WAV", "WAVEX", "RF64", "W64", "AIFF", "AU", "CAF", "FLAC", "OGG", "MP3"})
"""Formats of libsndfile whose length is checked; others are refused."""

_COMPRESSED = frozenset({"FLAC", "OGG", "MP3"})
_SAMPLE_BYTES = {
    **dict.fromkeys(("PCM_S8", "PCM_U8", "ULAW", "ALAW"), 1),
    **{"PCM_16": 2, "PCM_24": 3, "PCM_32": 4, "FLOAT": 4, "DOUBLE": 8},
}
_BIG_ENDIAN = frozenset({"AIFF", "AU", "CAF"})
_NO_LENGTH = 1 << 62  # libsndfile states the largest number for an unknown length
_LARGEST_TAG = 1 / 8  # of an MP3; more bytes after its last sample are sound


class Sound(NamedTuple):
    """An open recording. frames: that it holds. outcome: "", or how they differ from its header, as in `extent`."""

    file: "SoundFile"
    frames: int
    outcome: str = ""


@contextmanager
def opened(file: FileIO, size: int) -> Iterator[Sound]:
    """A recording of `size` bytes; RejectedAudio with the reason where it, or what the caller reads, is no sound."""
    import soundfile

    try:
        sound = _open(file, size)
        with sound.file:
            yield sound
    except (soundfile.SoundFileError, ValueError) as error:
        reason = str(error).rpartition(": ")[2]  # the part before it names a file descriptor
        raise RejectedAudio(f"not decodable as audio: {reason}") from error


def _open(file: FileIO, size: int) -> Sound:
    import soundfile

    file.seek(0)
    at = on_disk(file, file.read(HEAD_BYTES))
    extent, flac, outcome = extent_of(at, size), flac_of(at), ""
    if at(0, 4) == b"OggS":
        outcome = once(file, "ogg", lambda: ogg_outcome(at, size))
    if extent is not None and extent.outcome:
        return _to_the_end(file, extent)
    if flac:
        once(file, "flac", lambda: check_single(flac, at, size))
    first, end = last_frame(flac, at, without_zeros(at, size)) if flac else (0, 0)
    if flac and flac.frames < end and (sound := _with_length(file, size, flac, (end, first))):
        return sound
    if flac and not flac.frames:
        raise RejectedAudio("not decodable as audio: its header states no length, and it has no whole frame at its end")
    file.seek(0)
    sound = Sound(soundfile.SoundFile(file.fileno(), closefd=False), 0, outcome)
    if sound.file.format not in CHECKED_FORMATS:
        raise RejectedAudio(f"not decodable as audio: the format {sound.file.format} is not read; convert it to WAV")
    if sound.file.format == "MP3":
        position = file.tell()  # the decoder reads on from here
        if beginning := unstated(at, size):
            sound.file.close()
            return _counted(file, size, beginning)
        file.seek(position)
    if sound.file.format in _COMPRESSED:
        _check_end(sound.file, file, size, first)
    return sound._replace(frames=_frames(sound.file, extent))


def _frames(sound: "SoundFile", extent: Extent | None) -> int:
    """Samples per channel; libsndfile reads a W64 beyond them."""
    frames: int = sound.frames
    frame_bytes: int = sound.channels * _SAMPLE_BYTES.get(sound.subtype, 0)
    return min(frames, extent.length // frame_bytes) if extent and frame_bytes else frames


def _to_the_end(file: FileIO, extent: Extent) -> Sound:
    """A recording whose header states less than the file has: with a true header, or without where it has no room."""
    import soundfile

    whole = soundfile.SoundFile(Part(file, 0, extent.end, extent.patch))
    frame_bytes = whole.channels * _SAMPLE_BYTES.get(whole.subtype, 0)
    if not frame_bytes or extent.length < (whole.frames + 1) * frame_bytes:
        return Sound(whole, whole.frames, extent.outcome)
    endian = whole.endian if whole.endian != "FILE" else "BIG" if whole.format in _BIG_ENDIAN else "LITTLE"
    samples, form = Part(file, extent.start, extent.end), (whole.samplerate, whole.channels, whole.subtype, endian)
    raw = soundfile.SoundFile(samples, "r", *form, format="RAW")
    return Sound(raw, raw.frames, extent.outcome)


def _with_length(file: FileIO, size: int, flac: Flac, lengths: tuple[int, ...]) -> Sound | None:
    """A FLAC file with the first of `lengths` in its header that it holds; None where it holds none."""
    import soundfile

    for frames in lengths:
        sound = soundfile.SoundFile(Part(file, flac.start, size, flac.patch(frames)))
        if frames > flac.frames and _has_last_sample(sound):
            sound.seek(0)
            return Sound(sound, frames, LONGER if flac.frames else UNKNOWN)
    return None


def _counted(file: FileIO, size: int, beginning: Unstated) -> Sound:
    """An MP3 file that states no length, with the samples that can be decoded."""
    import soundfile

    if size > COUNTED_BYTES:
        raise RejectedAudio("its header states no length, and it is too large to be counted; convert it to WAV")
    sound = soundfile.SoundFile(Part(file, beginning.start, size, head=beginning.head))
    frames, read = once(file, "mp3", lambda: (_count(sound), file.tell()))
    if size - read > size * _LARGEST_TAG:
        raise RejectedAudio(f"its last {size - read:,} bytes cannot be decoded; convert it to WAV, or split it")
    sound.seek(0)
    return Sound(sound, frames, UNKNOWN)


def _check_end(sound: "SoundFile", file: FileIO, size: int, held: int) -> None:
    """Raise RejectedAudio for a compressed file that does not give its last sample, or has much more after it."""
    if sound.frames >= _NO_LENGTH:
        raise RejectedAudio("its header states no length; convert it to WAV")
    if not _has_last_sample(sound):
        held = held or _count_anew(file)
        raise RejectedAudio(f"truncated: its header declares {sound.frames:,} samples, the file has {held:,}")
    rest = size - file.tell() if sound.format == "MP3" else 0
    if rest > size * _LARGEST_TAG:
        raise RejectedAudio(f"{rest:,} bytes follow the end that its header states; convert it to WAV, or split it")
    sound.seek(0)


def _has_last_sample(sound: "SoundFile") -> bool:
    from soundfile import SoundFileError

    try:
        sound.seek(max(0, sound.frames - 1))
        return bool(len(sound.read(1)) == min(1, sound.frames))
    except SoundFileError:
        return False


def _count_anew(file: FileIO) -> int:
    """Samples that can be decoded from the beginning; a decoder that has failed gives none."""
    from soundfile import SoundFile

    file.seek(0)
    with SoundFile(file.fileno(), closefd=False) as sound:
        return _count(sound)


def _count(sound: "SoundFile") -> int:
    """Samples that can be decoded."""
    from soundfile import SoundFileError

    count = 0
    try:
        sound.seek(0)
        while n := len(sound.read(BLOCK_FRAMES)):
            count += n
    except SoundFileError:
        pass
    return count
