"""Cards of single clips: a clip beside its nearest normal clip, with the numbers behind its decision."""

import numpy as np
from markupsafe import Markup

from ensemble.deviation.locate import Locator
from ensemble.page.html import EMPTY, render
from ensemble.page.media import Listen, audio_uri, common_gain, data_uri
from ensemble.page.pictures import CLIP, NORMAL, Pair, pictures
from ensemble.run import Detection
from ensemble.windows.screen import clip_title
from featstore.clip import VARIANT_MARK
from featstore.errors import DataError

FALSE_ALARM, MISSED, DETECTED = "false alarm", "missed anomaly", "detected anomaly"
OUTCOMES = {
    ("normal", True): FALSE_ALARM,
    ("anomaly", False): MISSED,
    ("anomaly", True): DETECTED,
    ("normal", False): "normal",
    ("unknown", True): "reported",
    ("unknown", False): "not reported",
}
"""Outcome of a decision, by the clip's label and whether the clip is reported."""

TOP_MEMBERS = 3


def chosen_clips(detection: Detection, top: int) -> list[tuple[str, int]]:
    """Up to `top` clips as (outcome, row): false alarms, missed anomalies, then all others but true negatives.

    Each group is sorted with the most anomalous clip first, missed anomalies with the least anomalous one first. False
    alarms get half of the places and missed anomalies a fifth, more if the other groups leave places free.
    """
    label = detection.clips.column("label")
    rows: dict[str, list[tuple[str, int]]] = {FALSE_ALARM: [], MISSED: [], "": []}
    for i in np.argsort(-detection.percentile, kind="stable").tolist():
        outcome = OUTCOMES[str(label[i]), bool(detection.decision[i])]
        if outcome != OUTCOMES["normal", False]:
            rows[outcome if outcome in rows else ""].append((outcome, i))
    rows[MISSED].reverse()
    places = _places({group: len(clips) for group, clips in rows.items()}, top)
    return [clip for group, clips in rows.items() for clip in clips[: places[group]]]


def _places(available: dict[str, int], top: int) -> dict[str, int]:
    """Number of clips shown of each group: its share at most, then more in the order of the groups."""
    share = {FALSE_ALARM: -(-top // 2), MISSED: top // 5, "": top}
    places = dict.fromkeys(available, 0)
    for limit in (share, dict.fromkeys(available, top)):
        for group, n in available.items():
            places[group] += max(0, min(n, limit[group], top - sum(places.values()) + places[group]) - places[group])
    return places


Recording = tuple[str, str, Markup, str]
"""Title, path, spectrogram and player of a recording; the last two are empty if it was not found."""


def clip_cards(
    detection: Detection, top: int, seconds: float, listen: Listen | None, locator: Locator | None = None
) -> Markup:
    """One card per chosen clip, with its deviation map if there is a `locator`.

    DataError if `listen` finds none of the recordings.
    """
    chosen = chosen_clips(detection, top)
    if not chosen:
        return EMPTY
    cards = [
        (
            i,
            outcome,
            detection.clips[i],
            _top_members(detection, i),
            _recordings(detection, i, seconds, listen, locator),
        )
        for outcome, i in chosen
    ]
    if listen and not any(recordings for *_, recordings in cards):
        path = detection.clips[chosen[0][1]].path
        raise DataError(f"none of the recordings is below --data, for example {path!r}; give the folder of the build")
    shown = seconds if listen else None
    return render("clips.html", cards=cards, detection=detection, seconds=shown, clip_title=clip_title)


def _top_members(detection: Detection, i: int) -> list[tuple[str, float]]:
    """The members with the highest percentiles of the clip; empty if there is only one member."""
    members, percentiles = detection.recipe.members, detection.member_percentiles[:, i]
    if len(members) == 1:
        return []
    return [(members[j].name, percentiles[j]) for j in np.argsort(-percentiles, kind="stable")[:TOP_MEMBERS]]


def _recordings(
    detection: Detection, i: int, seconds: float, listen: Listen | None, locator: Locator | None
) -> list[Recording]:
    """The clip and its nearest normal clip with the same colour scale and gain; empty if the clip was not found.

    The difference and the deviation map of the clip come last.
    """
    clip, nearest = detection.clips[i], detection.nearest[i].partition(VARIANT_MARK)[0]
    own, normal = (listen(path) if listen and path else None for path in (clip.path, nearest))
    if own is None:
        return []
    event = (own.start_s, own.start_s + own.seconds)
    pair = Pair(own, normal, (clip.path, nearest), clip.machine, clip.section, event, locator)
    gain = common_gain([sound for sound in (own, normal) if sound])
    players = {CLIP: audio_uri(own, gain, seconds)}
    players |= {NORMAL: audio_uri(normal, gain, seconds)} if normal else {}
    shown = pictures(pair, lambda _, make: data_uri("image/png", make()))
    return [(each.title, clip.path, each.chart, players.get(each.kind, "")) for each in shown]
