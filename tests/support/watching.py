"""A scorer without a model, clocks that stand still, and a watch over a folder, for tests of ensemble/watching."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import soundfile as sf

from ensemble.scoring.verdict import Verdict
from ensemble.watching.journal import Journal
from ensemble.watching.sinks import Delivery
from ensemble.watching.watch import Watch, WatchRequest
from featstore.audio.policy import AudioPolicy
from featstore.audio.read import read_recording
from featstore.errors import DataError

RATE = 1000
LOUD = 0.5


def verdict(start_s: float = 0.0, end_s: float = 1.0, score: float = 0.1, **changes: Any) -> Verdict:
    """A verdict of fan 00; anomalous above LOUD."""
    values = {"machine": "fan", "section": "00", "start_s": start_s, "end_s": end_s, "score": score}
    values |= {"percentile": score, "p_value": 1 - score, "threshold": LOUD, "anomaly": score > LOUD}
    values |= {"target_probability": None, "nearest": "", "nearest_distance": 0.0, "members": {}}
    return Verdict(**{**values, **changes})


class Listener:
    """Scores the highest level of a recording. before: called with every path before it is scored."""

    sections = (("fan", "00"), ("fan", "01"))
    seconds, hop_s = 1.0, 0.5
    policy = AudioPolicy()

    def __init__(self) -> None:
        self.before: Callable[[Path], None] = lambda path: None
        self.scored: list[str] = []
        self.lengths: list[int] = []
        self.warnings: tuple[str, ...] = ()

    def drift(self, verdicts: Sequence[Verdict]) -> tuple[str, ...]:
        return self.warnings

    def section_of(self, path: str, machine: str = "", section: str = "") -> tuple[str, str]:
        if "unclear" in path:
            raise DataError(f"{path}: no section; use --section")
        return machine or "fan", section or ("01" if "one" in path else "00")

    def score_file(self, path: Path, *, machine: str, section: str) -> list[Verdict]:
        self.before(path)
        self.scored.append(path.name)
        return self.score(read_recording(path, RATE, AudioPolicy()).wave, RATE, machine=machine, section=section)

    def score(self, wave: np.ndarray, rate_hz: int, *, machine: str, section: str) -> list[Verdict]:
        self.lengths.append(len(wave))
        level = float(np.abs(wave).max())
        return [verdict(0.0, len(wave) / rate_hz, level, machine=machine, section=section)]


class Clock:
    """A clock that only moves when it is told to."""

    def __init__(self, now: float) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


class Still:
    """A wait that moves the clocks instead of waiting."""

    def __init__(self, *clocks: Clock) -> None:
        self.clocks, self.stopped, self.waits = clocks, False, 0

    def wait(self, seconds: float, least: float = 0.0) -> None:
        self.waits += 1
        assert self.waits < 1000, "the watch never ends"
        for clock in self.clocks:
            clock.now += max(seconds, least)

    def stop(self) -> None:
        self.stopped = True


class Kept:
    """A sink that keeps what it gets; `delivers` False: it never says that it did."""

    def __init__(self, name: str = "stdout", *, delivers: bool = True) -> None:
        self.name, self.delivers = name, delivers
        self.messages: list[dict[str, Any]] = []
        self._done: list[Delivery] = []

    def send(self, name: str, messages: Any) -> bool:
        self.messages += messages
        if self.delivers:
            self._done.append(Delivery(name))
        return True

    def done(self) -> list[Delivery]:
        done, self._done = self._done, []
        return done

    def types(self) -> list[str]:
        return [message["type"] for message in self.messages]


class Bench:
    """A watch over `top/sound` that tests drive step by step."""

    def __init__(self, top: Path) -> None:
        self.folder, self.place = top / "sound", top / "journal"
        self.folder.mkdir(exist_ok=True)
        self.clock, self.wall = Clock(100.0), Clock(1_800_000_000.0)
        self.scorer, self.log = Listener(), [""]
        self.sink: Any = Kept()

    def write(self, name: str, level: float = 0.1, *, seconds: float = 1.0, mtime: float | None = None) -> Path:
        """A whole recording; its time is that of the wall clock."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        sf.write(path, np.full(round(seconds * RATE), level), RATE, subtype="PCM_16")
        at = round((self.wall() if mtime is None else mtime) * 1e9)
        os.utime(path, ns=(at, at))
        return path

    def tear(self, name: str) -> Path:
        """A recording that lacks its end."""
        path = self.write(name)
        os.truncate(path, 500)
        os.utime(path, (self.wall(), self.wall()))
        return path

    def open(self, **options: Any) -> Watch:
        """Start the watch."""
        journal = Journal(self.place, say=self.log.append, wall=self.wall)
        request = WatchRequest(self.folder, **{"heartbeat_s": 1e9, **options})
        wake: Any = Still(self.clock, self.wall)
        return Watch(self.scorer, journal, request, [self.sink], wake=wake, say=self.log.append, clock=self.clock)

    def steps(self, watch: Watch, count: int = 4, seconds: float = 0.5) -> None:
        """Looks, with pauses of half a second."""
        for _ in range(count):
            watch.step()
            self.clock.now += seconds
            self.wall.now += seconds
