"""Clips of one section with the facts of clean recordings, for tests of what is recorded differently."""

import numpy as np

from featstore.acquisition.recordings import Recordings
from featstore.clip import Clip
from featstore.table import ClipTable, encode

CLEAN = {
    "sample_rate_hz": 16000,
    "n_samples": 160_000,
    "channels": 1,
    "level_dbfs": -30.0,
    "peak": 0.1,
    "clipped": 0.0,
    "dc_offset": 0.0,
    "dropouts": 0.0,
    "dropout_s": 0.0,
    "zero_run_s": 0.0,
    "bandwidth_hz": 8000.0,
}
KINDS = {"sample_rate_hz": np.int32, "n_samples": np.int64, "channels": np.int16}


def recordings(
    train: int = 20, test: int = 10, *, sections: int = 1, odd: dict[int, dict[str, object]] | None = None
) -> Recordings:
    """Clean clips, `train` and then `test` of each section; odd: other facts by the number of a clip."""
    clips = [
        Clip(f"fan/{s:02d}/{split}/{i:03d}.wav", "fan", f"{s:02d}", split, "source", "normal")  # type: ignore[arg-type]
        for s in range(sections)
        for split, n in (("train", train), ("test", test))
        for i in range(n)
    ]
    rng = np.random.default_rng(0)
    columns = {name: np.full(len(clips), value, KINDS.get(name, np.float32)) for name, value in CLEAN.items()}
    columns["level_dbfs"] += rng.normal(0, 2, len(clips)).astype(np.float32)
    texts = {"content_hash": [f"{i:032x}" for i in range(len(clips))], "outcome": [""] * len(clips)}
    for row, facts in (odd or {}).items():
        for name, value in facts.items():
            (texts if name in texts else columns)[name][row] = value  # type: ignore[index]
    return Recordings(ClipTable.from_clips(clips), columns | {name: encode(text) for name, text in texts.items()})
