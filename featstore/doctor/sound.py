"""Which formats of recordings libsndfile reads here: each is written to memory and read back."""

import io

from featstore.doctor.finding import BROKEN, NOTE, Finding

FORMATS = {
    "WAV": ("WAV", "PCM_16"),
    "FLAC": ("FLAC", "PCM_16"),
    "Ogg Vorbis": ("OGG", "VORBIS"),
    "Ogg Opus": ("OGG", "OPUS"),
    "MP3": ("MP3", "MPEG_LAYER_III"),
    "AIFF": ("AIFF", "PCM_16"),
    "W64": ("W64", "PCM_16"),
    "CAF": ("CAF", "PCM_16"),
}
NEEDED = ("WAV", "FLAC")
NO_M4A = "m4a and AAC must be converted"
RATE_HZ = 16000


def formats_found() -> Finding:
    """The version of libsndfile, the formats that it reads, and those that it does not."""
    import soundfile

    failed = [name for name in FORMATS if not is_read(name)]
    read = [name for name in FORMATS if name not in failed]
    text = f"libsndfile {soundfile.__libsndfile_version__} reads {', '.join(read)}; {NO_M4A}"
    if not failed:
        return Finding("sound files", text)
    text = f"{text}; nor {', '.join(failed)}"
    state = BROKEN if set(NEEDED) & set(failed) else NOTE
    return Finding("sound files", text, state, "pip install --upgrade soundfile")


def is_read(name: str) -> bool:
    """Whether a tenth of a second of a tone comes back from a file in memory, about as loud as it was."""
    import numpy as np  # here, so that the examination works without it
    import soundfile

    tone = 0.5 * np.sin(2 * np.pi * 440 * np.arange(RATE_HZ // 10) / RATE_HZ)
    container, subtype = FORMATS[name]
    file = io.BytesIO()
    try:
        soundfile.write(file, tone, RATE_HZ, format=container, subtype=subtype)
        file.seek(0)
        wave, rate_hz = soundfile.read(file)
    except (soundfile.SoundFileError, ValueError):
        return False
    return bool(rate_hz == RATE_HZ and abs(np.sqrt(np.mean(wave**2)) / np.sqrt(np.mean(tone**2)) - 1) < 0.5)
