"""The parts of recordings that belong to an item: what is shown of it, and its nearest normal clip."""

from dataclasses import dataclass

from ensemble.page.items import Item
from ensemble.page.scored import Scored
from ensemble.review.sound.listen import MOST_S
from ensemble.windows.screen import clock
from featstore.clip import VARIANT_MARK, recording_of, window_of, window_path

CONTEXT_S = 2.0
"""What is shown before and after an event of windows."""


@dataclass(frozen=True)
class Part:
    """A recording from start_s on, up to end_s; None: to its end."""

    recording: str
    start_s: float = 0.0
    end_s: float | None = None

    @property
    def key(self) -> str:
        """The key of the recording, or that of a window with these times."""
        return self.recording if self.end_s is None else window_path(self.recording, self.start_s, self.end_s)


@dataclass(frozen=True)
class Shown:
    """What is shown of an item. clip: with its surroundings. event: its start and end, in seconds of the recording.

    normal: the training clip that is nearest to its peak, None without any. note: what is left out, "" if nothing.
    """

    clip: Part
    normal: Part | None
    event: tuple[float, float | None]
    note: str = ""


def part_of(key: str) -> Part:
    """The part that the key of a recording or a window names."""
    window = window_of(key)
    return Part(recording_of(key), *window) if window else Part(key)


def shown_of(scored: Scored, item: Item) -> Shown:
    """The parts that are shown of an item; at most MOST_S, which contain its peak."""
    nearest = scored.nearest[item.row].partition(VARIANT_MARK)[0]
    normal = part_of(nearest) if nearest else None
    peak = window_of(scored.keys[item.row])
    if peak is None or item.end_s is None:
        long = item.end_s is not None and item.end_s > MOST_S
        note = f"The recording lasts {clock(item.end_s)}; its first {MOST_S:g} s are shown and played." if long else ""
        return Shown(Part(item.recording), normal, (item.start_s, item.end_s), note)
    start, end = max(0.0, item.start_s - CONTEXT_S), item.end_s + CONTEXT_S
    note = ""
    if end - start > MOST_S:
        if peak.end_s > start + MOST_S:
            start = max(start, (peak.start_s + peak.end_s - MOST_S) / 2)
        end = start + MOST_S
        note = f"The event lasts {clock(item.end_s - item.start_s)}; {MOST_S:g} s from {clock(start)} on are shown."
    return Shown(Part(item.recording, start, end), normal, (item.start_s, item.end_s), note)
