"""Which mixes of two microphones may be used, measured on training clips without labels and generated anomalies.

A far channel that is only subtracted is not used by itself. A subtraction is used where it removes noise. Two numbers
say so. Both come from stored log-mel levels of the near channel and of what is left of it:

1. The power that it removes. Noise that the far microphone does not explain stays, and what is removed then is chance.
2. The spread of the level from clip to clip in a section, per band, as a share of the spread before. Noise changes
   from clip to clip more than the machine does, so the spread falls where noise is removed. Where the far microphone
   hears the machine, the machine is removed too, and the spread stays or grows. Noise that the far microphone does
   not hear keeps the spread near its value.

docs/microphones.md has the cases from which the limits were read.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from ensemble.checks.named import named_sources, sources_of, whole_embeddings
from ensemble.view_weights import MIN_CLIPS, rows_of, sampled
from featstore.audio.near_far.mixes import far_alone, mix_of_view, mix_texts, subtractions
from featstore.building.default import spec_of
from featstore.errors import RequestError
from featstore.store import EmbeddingInfo, FeatureStore

LEAST_REMOVED_DB = 1.5
"""Power that a subtraction removes at least, where it is used."""

MOST_SPREAD = 0.85
"""Greatest share of the spread between clips that is left by a subtraction that is used."""

LEVELS = ("mean", "median", "p25", "p75", "p10", "p90", "p05", "r0.99", "r1.01", "r0.95", "r1.05", "r0.9", "r1.1")
"""Statistics over time that hold a level in dB, the preferred one first."""

FLOOR_DB = 0.1
"""Spread of a band that does not change from clip to clip."""


@dataclass(frozen=True)
class Removed:
    """What a subtraction does to the near channel: power removed in dB, and share of the spread that is left."""

    power_db: float
    spread: float

    @property
    def reason(self) -> str:
        """Why the subtraction is not used; empty where it is."""
        if not np.isfinite([self.power_db, self.spread]).all():
            return "its levels are not finite"
        if self.power_db < LEAST_REMOVED_DB:
            return f"it removes {self.power_db:.1f} dB of the near microphone, less than {LEAST_REMOVED_DB:g} dB"
        if self.spread > MOST_SPREAD:
            return (
                f"it changes the spread of training clips to {self.spread:.2f} of its value (limit {MOST_SPREAD:g}), "
                "so it may remove sound of the machine, or leave most of the noise"
            )
        return ""


def removed(near: np.ndarray, left: np.ndarray, section: np.ndarray) -> Removed | None:
    """From levels (n, bands) in dB before and after a subtraction, and the section (n,) of every clip.

    None where no section has MIN_CLIPS clips.
    """
    before, after = near.astype(np.float64), left.astype(np.float64)
    if not (np.isfinite(before).all() and np.isfinite(after).all()):
        return Removed(np.nan, np.nan)
    names, counts = np.unique(section, return_counts=True)
    large = names[counts >= MIN_CLIPS]
    if not len(large):
        return None
    used = np.isin(section, large)
    power_db = float(np.median(_total_db(before[used]) - _total_db(after[used])))
    logs = [np.log(_spread(after[section == name]) / _spread(before[section == name])).mean() for name in large]
    return Removed(power_db, float(np.exp(np.mean(logs))))


def measured(store: FeatureStore, mix: str, near: str) -> Removed | None:
    """What a mix removes from the mix `near`; None where no embedding has log-mel levels of both and enough clips."""
    for name, info in sorted(store.embeddings.items()):
        views = _level_views(info, near, mix)
        sections = sampled(store, [name]) if views else []
        if sections:
            rows = rows_of(store, name, np.concatenate(sections))
            rows = rows.reshape(len(rows), len(info.views), -1)
            before, after = (rows[:, info.views.index(view)] for view in views)
            return removed(before, after, np.repeat(np.arange(len(sections)), [len(part) for part in sections]))
    return None


def left_out(store: FeatureStore, embeddings: Sequence[str] = ()) -> dict[str, str]:
    """Mixes of the named embeddings (default: all) that are not used, each with the reason.

    Near minus far is judged only where the near channel alone is another mix. A far channel that is only subtracted is
    never used by itself. A view that is named (`NAME@VIEW`, or `NAME@MIX` for those of a mix) is used whatever it is.
    """
    whole = whole_embeddings(store, embeddings or sorted(store.embeddings))
    texts = dict.fromkeys(text for name in whole for text in mix_texts(store.info(name).channel))
    reasons = dict.fromkeys((text for text in texts if text in far_alone(texts)), FAR)
    for mix, near in subtractions(texts).items():
        effect = measured(store, mix, near)
        reason = UNMEASURED if effect is None else effect.reason
        if reason:
            reasons[mix] = reason
    return reasons


def used_views(info: EmbeddingInfo, without: Collection[str]) -> tuple[str, ...]:
    """The views of an embedding ("" for one without views) that are of none of the mixes `without`."""
    return tuple(view for view in info.views or ("",) if mix_of_view(info.channel, view) not in without)


FAR = "it is subtracted from another channel, so it hears more noise than machine"
UNMEASURED = (
    f"what it removes cannot be measured: no logmel or twfr with the same channels and {MIN_CLIPS} training clips in a "
    "section"
)


def left_out_notes(store: FeatureStore, embeddings: Sequence[str] = ()) -> tuple[str, ...]:
    """A line on every mix of which views are left out: why, what of it is used as named, and what to type to add it."""
    texts = tuple(dict.fromkeys(embeddings)) or tuple(sorted(store.embeddings))
    named = named_sources(store, texts)
    notes = []
    for mix, reason in left_out(store, texts).items():
        of_mix = [(name, view) for name in whole_embeddings(store, texts) for view in _of_mix(store, name, mix)]
        without = list(dict.fromkeys(name for name, view in of_mix if (name, view) not in named))
        used = [text for text in texts if text not in store.embeddings and _is_of(store, text, mix)]
        if without:
            typed = " ".join(f"-e {text}" for text in (*texts, *(f"{name}@{mix}" for name in without)))
            place = f" of {', '.join(without)}" if used else ""
            kept = f"; {', '.join(used)} {'is' if len(used) == 1 else 'are'} used as named" if used else ""
            notes.append(f"{mix} left out{place}: {reason}{kept}; to add it to the rest: {typed}")
    return tuple(notes)


def _of_mix(store: FeatureStore, name: str, mix: str) -> list[str]:
    info = store.info(name)
    return [view for view in info.views if mix_of_view(info.channel, view) == mix]


def _is_of(store: FeatureStore, text: str, mix: str) -> bool:
    """Whether a text names views of a mix."""
    return any(view in _of_mix(store, name, mix) for name, view in sources_of(store, text))


def _level_views(info: EmbeddingInfo, *mixes: str) -> list[str]:
    """The views that hold levels of these mixes in dB, by the same statistic; none where a mix has none."""
    single = [str(value) for key in ("stats", "r") for value in _listed(info.config.get(key))]
    for statistic in LEVELS:
        names = [f"{mix}/{statistic}" for mix in mixes]
        if len(single) == 1 and single[0] == statistic.removeprefix("r"):
            names = list(mixes)
        if set(names) <= set(info.views):
            return names if _is_log_mel(info) else []
    return []


def _listed(value: object) -> Sequence[object]:
    return value if isinstance(value, (list, tuple)) else ()


def _is_log_mel(info: EmbeddingInfo) -> bool:
    """Whether a default embedder made an embedding: its rows hold levels in dB."""
    try:
        return bool(spec_of(info))
    except (RequestError, ImportError):
        return False


def _total_db(levels: np.ndarray) -> np.ndarray:
    """Power (n,) in dB of levels (n, bands)."""
    total: np.ndarray = 10 * np.log10((10 ** (levels / 10)).sum(axis=1))
    return total


def _spread(levels: np.ndarray) -> np.ndarray:
    """Standard deviation (bands,) of levels (n, bands) between clips."""
    return np.asarray(np.hypot(levels.std(axis=0), FLOOR_DB))
