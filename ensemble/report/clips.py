"""The cards of single clips: what was heard, beside the nearest normal clip, and why it was decided so."""

from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

from ensemble.report.charts import spectrogram_chart
from ensemble.report.media import Listen, audio_uri, common_gain, image_uri, shared_range, spectrogram
from ensemble.report.page import EMPTY, render
from ensemble.run import Detection
from featstore.clip import VARIANT_MARK, Clip
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
"""What a decision was, by the label that is known and whether the clip is reported."""

LOUDEST_MEMBERS = 3


def chosen_clips(detection: Detection, top: int) -> list[tuple[str, int]]:
    """Up to `top` clips as (kind, row), most anomalous first within a kind.

    False alarms come first and may take half of the places, missed anomalies (least noticed first) a fifth, where
    others need the rest; clips without a label are "reported" or "not reported".
    """
    label = detection.clips.column("label")
    rows: dict[str, list[int]] = {FALSE_ALARM: [], MISSED: [], "": []}
    names = {}
    for i in np.argsort(-detection.percentile, kind="stable").tolist():
        kind = OUTCOMES[str(label[i]), bool(detection.decision[i])]
        if kind != OUTCOMES["normal", False]:
            names[i] = kind
            rows[kind if kind in rows else ""].append(i)
    rows[MISSED].reverse()
    return [
        (names[i], i) for part, n in _places({k: len(v) for k, v in rows.items()}, top).items() for i in rows[part][:n]
    ]


def _places(available: dict[str, int], top: int) -> dict[str, int]:
    """How many of each kind are shown: a share each, then what is left over in their order."""
    share = {FALSE_ALARM: -(-top // 2), MISSED: top // 5, "": top}
    places = dict.fromkeys(available, 0)
    for limit in (share, dict.fromkeys(available, top)):
        for kind, n in available.items():
            places[kind] += max(0, min(n, limit[kind], top - sum(places.values()) + places[kind]) - places[kind])
    return places


@dataclass(frozen=True)
class Recording:
    """A recording to see and hear; both are empty where it was not found."""

    title: str
    path: str
    spectrogram: Markup = EMPTY
    audio: str = ""


@dataclass(frozen=True)
class Card:
    """A clip and what its card shows beside the numbers of its row in the detection."""

    row: int
    clip: Clip
    outcome: str
    style: str
    members: list[tuple[str, float]]
    recordings: list[Recording]


def clip_cards(detection: Detection, top: int, seconds: float, listen: Listen | None) -> Markup:
    """The lead and one card per chosen clip; DataError when `listen` finds none of the recordings."""
    cards = [_card(detection, outcome, i, seconds, listen) for outcome, i in chosen_clips(detection, top)]
    if not cards:
        return EMPTY
    if listen and not any(card.recordings for card in cards):
        path = cards[0].clip.path
        raise DataError(
            f"none of the recordings is below --data, first missing {path!r}; give the folder that was built"
        )
    lead = (
        "Both images of a pair share one colour scale, both players one amplification, so that differences are real. "
        f"Players hold the first {seconds:g} s."
        if listen
        else "Spectrograms and players need the recordings: run detect report with --data DATA."
    )
    return render("clips.html", lead=lead, cards=cards, detection=detection, listening=listen is not None)


def _card(detection: Detection, outcome: str, i: int, seconds: float, listen: Listen | None) -> Card:
    clip, nearest = detection.clips[i], detection.nearest[i]
    paths = {"This clip": clip.path}
    if nearest:
        paths["Nearest normal clip"] = nearest.partition(VARIANT_MARK)[0]
    style = {FALSE_ALARM: "false-alarm", MISSED: "missed", DETECTED: "hit"}.get(outcome, "plain")
    recordings = _recordings(paths, listen, seconds) if listen else []
    return Card(i, clip, outcome, style, _loudest_members(detection, i), recordings)


def _loudest_members(detection: Detection, i: int) -> list[tuple[str, float]]:
    """The members that rank the clip highest, with its percentile; empty where there is only one."""
    members, percentiles = detection.recipe.members, detection.member_percentiles[:, i]
    if len(members) == 1:
        return []
    return [(members[j].name, percentiles[j]) for j in np.argsort(-percentiles, kind="stable")[:LOUDEST_MEMBERS]]


def _recordings(paths: dict[str, str], listen: Listen, seconds: float) -> list[Recording]:
    """Spectrograms on one colour scale, players with one gain, by title; empty where no recording was found."""
    sounds = {title: sound for title, path in paths.items() if (sound := listen(path)) is not None}
    if not sounds:
        return []
    spectrograms = {title: spectrogram(sound) for title, sound in sounds.items()}
    levels_db, gain = shared_range(list(spectrograms.values())), common_gain(list(sounds.values()))
    recordings = []
    for title, path in paths.items():
        if title not in sounds:
            recordings.append(Recording(title, path))
            continue
        sound, S = sounds[title], spectrograms[title]
        label = f"{title}: log-mel spectrogram of {path}, {sound.seconds:.1f} s, up to {sound.rate_hz / 2000:g} kHz"
        chart = spectrogram_chart(label, image_uri(S, *levels_db), sound.seconds, sound.rate_hz)
        recordings.append(Recording(title, path, chart, audio_uri(sound, gain, seconds)))
    return recordings
