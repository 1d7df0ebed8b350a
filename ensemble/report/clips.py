"""The cards of single clips: what was heard, beside the nearest normal clip, and why it was decided so."""

from collections.abc import Callable

import numpy as np

from ensemble.report.charts import spectrogram_chart
from ensemble.report.media import Listen, Sound, audio_uri, common_gain, image_uri, shared_range, spectrogram
from ensemble.report.page import Html, join, name, tag
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


def clip_cards(detection: Detection, top: int, seconds: float, listen: Listen | None) -> list[str]:
    """The lead and one card per chosen clip; DataError when `listen` finds none of the recordings."""
    chosen = chosen_clips(detection, top)
    if not chosen:
        return []
    if listen is None:
        lead = "Spectrograms and players need the recordings: run detect report with --data DATA."
        return [tag("p", lead, class_="muted"), *(_card(detection, kind, i, "") for kind, i in chosen)]
    found = 0
    cards: list[str] = []
    paths = [clip.path for clip in detection.clips[np.array([i for _, i in chosen])]]
    for (kind, i), path in zip(chosen, paths, strict=True):
        sounds = [(path, listen(path))]
        if detection.nearest[i]:
            near = detection.nearest[i].partition(VARIANT_MARK)[0]
            sounds.append((near, listen(near)))
        found += sum(sound is not None for _, sound in sounds)
        cards.append(_card(detection, kind, i, _pair(sounds, seconds)))
    if not found:
        raise DataError(
            f"none of the recordings is below --data, first missing {paths[0]!r}; give the folder that was built"
        )
    lead = (
        "Both images of a pair share one colour scale, both players one amplification, so that differences are real. "
        f"Players hold the first {seconds:g} s."
    )
    return [tag("p", lead, class_="muted"), *cards]


def _card(detection: Detection, kind: str, i: int, media: str) -> Html:
    style = {FALSE_ALARM: "false-alarm", MISSED: "missed", DETECTED: "hit"}.get(kind, "plain")
    clip = detection.clips[i]
    title = tag("h3", name(clip.key), tag("span", kind, class_=f"badge {style}"))
    domain = "" if clip.domain == "unknown" else f", {clip.domain} domain"
    where = tag("p", name(clip.machine), " section ", name(clip.section), domain, class_="muted")
    return tag("article", title, where, media, _evidence(detection, i), class_="card")


def _evidence(detection: Detection, i: int) -> Html:
    """Score, threshold, and the members that were most surprised."""
    percentiles = detection.member_percentiles[:, i]
    loudest = np.argsort(-percentiles, kind="stable")[:LOUDEST_MEMBERS]
    members = [tag("li", name(detection.recipe.members[j].name), f", percentile {percentiles[j]:.3f}") for j in loudest]
    facts: list[tuple[str, str]] = [
        ("score", f"{detection.score[i]:.5g}"),
        ("threshold", f"{detection.decided.threshold[i]:.5g}"),
        ("p-value", f"{detection.decided.p_value[i]:.4f}"),
        ("percentile among the training clips", f"{detection.percentile[i]:.4f}"),
    ]
    if detection.nearest[i]:
        distance = f", cosine distance {detection.nearest_distance[i]:.4f}"
        facts.append(("nearest normal clip", join([name(detection.nearest[i]), distance])))
    if len(detection.recipe.members) > 1:
        facts.append(("most surprised members", tag("ul", *members)))
    return tag("dl", *(tag("div", tag("dt", term), tag("dd", value)) for term, value in facts), class_="evidence")


def _pair(sounds: list[tuple[str, Sound | None]], seconds: float) -> Html:
    """Spectrogram and player of the clip and of its nearest normal clip."""
    heard = [sound for _, sound in sounds if sound is not None]
    if not heard:
        return tag("p", "The recording was not found below --data.", class_="muted")
    pictures = [spectrogram(sound) for sound in heard]
    draw = _drawer(shared_range(pictures), common_gain(heard), seconds)
    figures = []
    remaining = iter(pictures)
    for what, (path, sound) in zip(("This clip", "Nearest normal clip"), sounds, strict=False):
        if sound is None:
            figures.append(tag("figure", tag("figcaption", f"{what}: recording not found below --data")))
        else:
            figures.append(draw(what, path, sound, next(remaining)))
    return tag("div", *figures, class_="pair")


def _drawer(
    levels_db: tuple[float, float], gain: float, seconds: float
) -> Callable[[str, str, Sound, np.ndarray], Html]:
    """Makes figures with one colour scale and one amplification."""

    def draw(what: str, path: str, sound: Sound, S: np.ndarray) -> Html:
        label = f"{what}: log-mel spectrogram of {path}, {sound.seconds:.1f} s, up to {sound.rate_hz / 2000:g} kHz"
        image = spectrogram_chart(label, image_uri(S, *levels_db), sound.seconds, sound.rate_hz)
        source = audio_uri(sound, gain, seconds)
        player = tag("audio", controls=True, preload="metadata", src=source, aria_label=f"{what}: {path}")
        return tag("figure", tag("figcaption", what), image, player)

    return draw
