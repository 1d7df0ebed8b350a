"""The cards of single clips: what was heard, beside the nearest normal clip, and why it was decided so."""

import numpy as np
from markupsafe import Markup

from ensemble.report.charts import spectrogram_chart
from ensemble.report.media import Listen, audio_uri, common_gain, image_uri, shared_range, spectrogram
from ensemble.report.page import EMPTY, render
from ensemble.run import Detection
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
"""What a decision was, by the label that is known and whether the clip is reported."""

LOUDEST_MEMBERS = 3


def chosen_clips(detection: Detection, top: int) -> list[tuple[str, int]]:
    """Up to `top` clips as (kind, row), most anomalous first within a kind.

    False alarms come first and may take half of the places, missed anomalies (least noticed first) a fifth, where
    others need the rest; clips without a label are "reported" or "not reported".
    """
    label = detection.clips.column("label")
    rows: dict[str, list[tuple[str, int]]] = {FALSE_ALARM: [], MISSED: [], "": []}
    for i in np.argsort(-detection.percentile, kind="stable").tolist():
        kind = OUTCOMES[str(label[i]), bool(detection.decision[i])]
        if kind != OUTCOMES["normal", False]:
            rows[kind if kind in rows else ""].append((kind, i))
    rows[MISSED].reverse()
    places = _places({kind: len(clips) for kind, clips in rows.items()}, top)
    return [clip for kind, clips in rows.items() for clip in clips[: places[kind]]]


def _places(available: dict[str, int], top: int) -> dict[str, int]:
    """How many of each kind are shown: a share each, then what is left over in their order."""
    share = {FALSE_ALARM: -(-top // 2), MISSED: top // 5, "": top}
    places = dict.fromkeys(available, 0)
    for limit in (share, dict.fromkeys(available, top)):
        for kind, n in available.items():
            places[kind] += max(0, min(n, limit[kind], top - sum(places.values()) + places[kind]) - places[kind])
    return places


Recording = tuple[str, str, Markup, str]
"""Title, path, spectrogram and player of a recording; the last two are empty where it was not found."""


def clip_cards(detection: Detection, top: int, seconds: float, listen: Listen | None) -> Markup:
    """The lead and one card per chosen clip; DataError when `listen` finds none of the recordings."""
    chosen = chosen_clips(detection, top)
    if not chosen:
        return EMPTY
    cards = [
        (i, outcome, detection.clips[i], _loudest_members(detection, i), _recordings(detection, i, seconds, listen))
        for outcome, i in chosen
    ]
    if listen and not any(recordings for *_, recordings in cards):
        path = detection.clips[chosen[0][1]].path
        raise DataError(
            f"none of the recordings is below --data, first missing {path!r}; give the folder that was built"
        )
    return render("clips.html", cards=cards, detection=detection, seconds=seconds if listen else None)


def _loudest_members(detection: Detection, i: int) -> list[tuple[str, float]]:
    """The members that rank the clip highest, with its percentile; empty where there is only one."""
    members, percentiles = detection.recipe.members, detection.member_percentiles[:, i]
    if len(members) == 1:
        return []
    return [(members[j].name, percentiles[j]) for j in np.argsort(-percentiles, kind="stable")[:LOUDEST_MEMBERS]]


def _recordings(detection: Detection, i: int, seconds: float, listen: Listen | None) -> list[Recording]:
    """Spectrograms on one colour scale, players with one gain; empty where no recording was found."""
    paths = {
        "This clip": detection.clips[i].path,
        "Nearest normal clip": detection.nearest[i].partition(VARIANT_MARK)[0],
    }
    sounds = {title: listen(path) for title, path in paths.items() if path} if listen else {}
    spectrograms = {title: spectrogram(sound) for title, sound in sounds.items() if sound}
    if not spectrograms:
        return []
    levels_db = shared_range(list(spectrograms.values()))
    gain = common_gain([sound for sound in sounds.values() if sound])
    recordings = []
    for title, sound in sounds.items():
        chart, audio = EMPTY, ""
        if sound:
            what = f"{title}: log-mel spectrogram of {paths[title]}"
            label = f"{what}, {sound.seconds:.1f} s, up to {sound.rate_hz / 2000:g} kHz"
            chart = spectrogram_chart(label, image_uri(spectrograms[title], *levels_db), sound.seconds, sound.rate_hz)
            audio = audio_uri(sound, gain, seconds)
        recordings.append((title, paths[title], chart, audio))
    return recordings
