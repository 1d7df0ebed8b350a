"""A page of one machine whose recordings of 40 s are stored as windows of 10 s every 5 s; one has an event."""

from pathlib import Path

import numpy as np
import soundfile as sf
from report_plant import RATE, RECIPE

from ensemble.page.scored import scored_of
from ensemble.review.session import Session
from ensemble.run import detect
from featstore.clip import Clip, window_path
from featstore.exchange.embeddings import import_matrix
from featstore.store import FeatureStore
from featstore.table import ClipTable

SECONDS = 40.0
STARTS = range(0, 31, 5)


def window_session(folder: Path, *, data: bool = True) -> Session:
    paths = {split: [f"fan/{split}/{i}.wav" for i in range(n)] for split, n in (("train", 6), ("test", 2))}
    clips = [
        Clip(window_path(path, start, start + 10), "fan", "00", split, "source", "normal")
        for split, names in paths.items()
        for path in names
        for start in STARTS
    ]
    X = np.random.default_rng(0).normal(size=(len(clips), 5)) + 4
    for row, clip in enumerate(clips):
        if clip.recording == "fan/test/0.wav" and clip.window and 10 <= clip.window.start_s <= 15:
            X[row] += [0, 20, 0, 0, 0]
    import_matrix(folder / "store", "e", X.astype(np.float32), ClipTable.from_clips(clips))
    recordings = folder / "data"
    for i, path in enumerate([path for names in paths.values() for path in names] if data else []):
        (recordings / path).parent.mkdir(parents=True, exist_ok=True)
        wave = 0.1 * np.sin(2 * np.pi * (300 + 20 * i) * np.arange(int(SECONDS * 4000)) / 4000)
        sf.write(recordings / path, wave, 4000, format="WAV")
    (folder / "results").mkdir(parents=True)
    detection = detect(FeatureStore.open(folder / "store"), RECIPE)
    return Session(
        folder / "store", folder / "results", scored_of(detection, title="windows"), data=recordings, who="tester"
    )


__all__ = ["RATE", "window_session"]
