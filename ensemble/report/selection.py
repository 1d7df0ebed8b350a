"""The report's section on a selection: what `detect select` compared, and whether real anomalies agree."""

import sys
from collections.abc import Callable, Mapping
from typing import Any, TypeGuard

import numpy as np
from markupsafe import Markup

from detectors.metrics.labels import Labels
from detectors.metrics.official import evaluate
from detectors.metrics.scores import ScoreTable
from ensemble.output import labelled
from ensemble.page.charts import scatter_chart
from ensemble.page.html import EMPTY, name, render, share_bar, table
from ensemble.run import Detection
from ensemble.selection.standings import DEFAULT
from ensemble.windows.recordings import Recordings, recordings_of
from featstore.terminal.shown import counted

ROWS = 15
MIN_MEMBERS = 3
"""Fewest members for a rank correlation."""


def selection_part(
    selection: Mapping[str, Any] | None, detection: Detection, year: int | None, recordings: Recordings | None = None
) -> Markup:
    """Scores on generated and real anomalies (by the official rule of `year`, None without labels), then all tables.

    Keys that are missing are left out; unknown keys are shown in tables of their own. recordings: what real anomalies
    are, by default the clips.
    """
    if not selection:
        return EMPTY
    recordings = recordings or recordings_of(detection.clips)
    tables = [make(selection[key]) for key, make in TABLES.items() if selection.get(key)]
    others = {key: value for key, value in selection.items() if key not in KNOWN and value not in (None, [], {})}
    plain = [[NAMES.get(key, _words(key)), _cell(value)] for key, value in others.items() if _is_plain(value)]
    if plain:
        tables.append(table("Other values of selection.json", ["", "value"], plain, text_columns=2))
    tables += [_any_table(_words(key), value) for key, value in others.items()]
    warnings, notes = selection.get("warnings"), selection.get("notes")
    return render(
        "selection.html",
        agreement=_agreement(selection, detection, recordings, year) if year else (EMPTY, EMPTY, ""),
        reason=choice_text(selection) or selection.get("reason"),
        warnings=warnings if isinstance(warnings, list) else [],
        notes=notes if isinstance(notes, list) else [],
        tables=tables,
    )


def choice_text(selection: Mapping[str, Any]) -> str:
    """What was taken and why, where the standings say it; empty where they do not."""
    rows = selection.get("standings")
    rows = rows if are_rows(rows) else []
    by_name = {str(row.get("name")): row for row in rows if all(_is_number(row.get(key)) for key in _NUMBERS)}
    own, default = by_name.get(str(selection.get("chosen"))), by_name.get(DEFAULT)
    if own is None or default is None:
        return ""
    score, lead, low, high = (100 * own[key] for key in _NUMBERS)
    on = "on generated anomalies that were not used to choose"
    if own is default:
        return f"the {DEFAULT}, which scores {score:.1f} {on}"
    text = f"{own['name']}, which scores {score:.1f} {on}; the {DEFAULT} scores {100 * default['score']:.1f}"
    text += f" (difference {lead:+.1f}, 95 % interval {low:+.1f} to {high:+.1f})"
    if lead >= 0:
        return text
    return (
        f"{text}. So small a difference does not show which is better on real anomalies. Of choices that are so close, "
        f"the first in a fixed order is taken; half of the weight of this one is the {DEFAULT}"
    )


def _any_table(caption: str, value: object) -> Markup:
    """A table of an object with plain values or of a list of objects; empty for other values."""
    if isinstance(value, dict) and all(map(_is_plain, value.values())):
        return table(caption, ["", "value"], [[str(key), _cell(cell)] for key, cell in list(value.items())[:ROWS]])
    if are_rows(value):
        header = [key for key, cell in value[0].items() if _is_plain(cell)]
        return table(
            caption, [_words(key) for key in header], [[_cell(row.get(key)) for key in header] for row in value]
        )
    return EMPTY


def _standings(standings: object) -> Markup:
    """Scores of the choices on generated anomalies, in percent."""
    if not are_rows(standings) or not all(_is_number(row.get(key)) for row in standings for key in _NUMBERS):
        return _any_table("standings", standings)
    rows = []
    for row in standings:
        score, lead, low, high = (100 * row[key] for key in _NUMBERS)
        rows.append([name(str(row.get("name", ""))), f"{score:.1f}", f"{lead:+.1f} [{low:+.1f}, {high:+.1f}]"])
    caption = "Official score in percent, on generated anomalies of recordings and types that were not used to choose"
    return table(caption, ["choice", "score", "lead over the fixed default [95 % interval]"], rows)


def _pair_weights(weights: object) -> Markup:
    """The generated anomalies that separate the candidates, highest weight first."""
    if not isinstance(weights, dict) or not all(map(_is_number, weights.values())):
        return EMPTY
    weighted = sorted(((pair, weight) for pair, weight in weights.items() if weight > 0), key=lambda item: -item[1])
    if not weighted:
        return EMPTY
    rows = [[name(pair), share_bar(weight, weighted[0][1])] for pair, weight in weighted[:ROWS]]
    count = f"{len(weighted)} of {counted(len(weights), 'pair')} of type and strength separate the candidates"
    caption = f"Generated anomalies with the highest weight (type@strength in dB); {count}"
    return table(caption, ["anomaly", "weight %"], rows)


def _candidates(candidates: object) -> Markup:
    """The best candidates with all their values; "figure" is the mean rank."""
    if not are_rows(candidates):
        return EMPTY
    best = [{"rank" if key == "figure" else key: value for key, value in row.items()} for row in candidates[:ROWS]]
    count = counted(len(candidates), "candidate")
    caption = f"The first {len(best)} of {count} (embedding and detector) by their rank on generated anomalies"
    return _any_table(f"{caption}. {LEGEND}", best)


LEGEND = (
    "Rank: mean rank, 1 is best. Score: official score, 1 is best. For information only: agreement is the mean rank "
    "correlation with the other candidates, domain gap that between the scores of normal clips of the two domains, "
    "instability how far its rank differs between two halves of the recordings."
)

_NUMBERS = ("score", "lead", "low", "high")

NAMES = {
    "ranking_reliability": "correlation of the ranks by two halves of the recordings",
    "raced_out": "candidates left out after a first comparison on a fifth of the clips",
    "fusion": "how the scores of the members are combined",
}
"""Words for keys that do not explain themselves."""

TABLES: Mapping[str, Callable[[object], Markup]] = {
    "standings": _standings,
    "pair_weights": _pair_weights,
    "candidates": _candidates,
}
"""Keys of selection.json and the functions that make their tables."""

KNOWN = {*TABLES, "reason", "warnings", "notes", "members"}
"""All other keys are shown without interpretation. "members" is left out: the report lists the members anyway."""


def are_rows(rows: object) -> TypeGuard[list[dict[str, Any]]]:
    """Whether `rows` is a list of JSON objects."""
    return isinstance(rows, list) and all(isinstance(row, dict) for row in rows)


def _is_number(value: object) -> bool:
    """Whether `value` is a finite number that a float can hold; JSON can contain others."""
    return isinstance(value, (int, float)) and abs(value) <= sys.float_info.max


def _agreement(
    selection: Mapping[str, Any], detection: Detection, recordings: Recordings, year: int
) -> tuple[Markup, Markup, str]:
    """Official scores of the members on generated and on real anomalies: table, chart and rank correlation.

    All are empty if no member is a candidate; chart and correlation also for fewer than MIN_MEMBERS members.
    """
    candidates = selection.get("candidates")
    rows = candidates if are_rows(candidates) else []
    generated = {str(row.get("name")): float(row["score"]) for row in rows if _is_number(row.get("score"))}
    members = [member.name for member in detection.recipe.members]
    known = [i for i, member in enumerate(members) if member in generated]
    if not known:
        return EMPTY, EMPTY, ""
    real = _real_scores(detection, recordings, known, year)
    pairs = [(generated[members[i]], score) for i, score in zip(known, real, strict=True)]
    caption = "Official score of the members on generated and on real anomalies, in percent"
    cells = [[name(members[i]), f"{100 * x:.1f}", f"{100 * y:.1f}"] for i, (x, y) in zip(known, pairs, strict=True)]
    scores = table(caption, ["member", "generated", "real"], cells)
    if len(known) < MIN_MEMBERS:
        return scores, EMPTY, ""
    label = f"Scores of {len(known)} members on generated against real anomalies"
    chart = scatter_chart(label, pairs, "on generated anomalies", "on real anomalies")
    return scores, chart, f"Rank correlation of the two scores over these {len(known)} members: {_spearman(pairs)}."


def _real_scores(detection: Detection, recordings: Recordings, members: list[int], year: int) -> list[float]:
    labels = Labels.of(labelled(recordings.clips, year)[0])
    keys = tuple(detection.clips.keys())
    tables = [ScoreTable(detection.recipe.members[i].name, keys, detection.member_percentiles[i]) for i in members]
    tables = [recordings.table(scores, labels.keys) for scores in tables]
    aligned = (ScoreTable(scores.name, labels.keys, scores.aligned(labels.keys)) for scores in tables)
    return [evaluate(scores, labels, year).score for scores in aligned]


def _spearman(pairs: list[tuple[float, float]]) -> str:
    from scipy.stats import rankdata

    x, y = (rankdata(column) for column in zip(*pairs, strict=True))
    return (
        f"{np.corrcoef(x, y)[0, 1]:.2f}"
        if x.std() and y.std()
        else "undefined, one of them is the same for all members"
    )


def _words(key: str) -> str:
    return key.replace("_", " ")


def _is_plain(value: object) -> bool:
    return value is None or isinstance(value, (str, int, float))


def _cell(value: object) -> str:
    return "" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)
