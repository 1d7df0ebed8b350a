"""The part of the report on a selection: what `detect select` weighed, and whether it holds on real anomalies."""

import sys
from collections.abc import Callable, Mapping
from typing import Any, TypeGuard

import numpy as np
from markupsafe import Markup

from detectors.metrics.labels import Labels
from detectors.metrics.official import evaluate
from detectors.metrics.scores import ScoreTable
from ensemble.output import labelled
from ensemble.report.charts import scatter_chart
from ensemble.report.page import EMPTY, name, render, share_bar, table
from ensemble.run import Detection

ROWS = 15
MIN_MEMBERS = 3
"""Members that a rank correlation needs."""


def selection_part(selection: Mapping[str, Any] | None, detection: Detection, year: int | None) -> Markup:
    """Agreement where labels exist (`year` is the rule of the figures), the selection's tables, then its other values.

    Tables are drawn from what is there: a selection file that lacks or adds something is shown all the same.
    """
    if not selection:
        return EMPTY
    tables = [draw(selection[key]) for key, draw in TABLES.items() if selection.get(key)]
    others = {key: value for key, value in selection.items() if key not in KNOWN and value not in (None, [], {})}
    plain = [[_words(key), _cell(value)] for key, value in others.items() if _is_plain(value)]
    if plain:
        tables.append(table("What else the selection says", ["", "value"], plain, text_columns=2))
    tables += [_any_table(_words(key), value) for key, value in others.items()]
    warnings = selection.get("warnings")
    return render(
        "selection.html",
        agreement=_agreement(selection, detection, year) if year else (EMPTY, EMPTY, ""),
        reason=selection.get("reason"),
        warnings=warnings if isinstance(warnings, list) else [],
        tables=tables,
    )


def _any_table(caption: str, value: object) -> Markup:
    """A mapping of plain values or a list of rows as a table; nothing of anything else."""
    if isinstance(value, dict) and all(map(_is_plain, value.values())):
        return table(caption, ["", "value"], [[str(key), _cell(cell)] for key, cell in list(value.items())[:ROWS]])
    if are_rows(value):
        header = [key for key, cell in value[0].items() if _is_plain(cell)]
        return table(
            caption, [_words(key) for key in header], [[_cell(row.get(key)) for key in header] for row in value]
        )
    return EMPTY


def _standings(standings: object) -> Markup:
    """Ways of choosing and fixed systems on generated anomalies, in percent."""
    numbers = ("score", "lead", "low", "high")
    if not are_rows(standings) or not all(_is_number(row.get(key)) for row in standings for key in numbers):
        return _any_table("standings", standings)
    rows = []
    for row in standings:
        score, lead, low, high = (100 * row[key] for key in numbers)
        rows.append([name(str(row.get("name", ""))), f"{score:.1f}", f"{lead:+.1f} [{low:+.1f}, {high:+.1f}]"])
    caption = "Official score on generated anomalies of unseen recordings and transforms, in percent"
    return table(caption, ["system", "score", "lead over the fixed default [95 % interval]"], rows)


def _pair_weights(weights: object) -> Markup:
    """The generated anomalies that tell candidates apart, the most telling first."""
    if not isinstance(weights, dict) or not all(map(_is_number, weights.values())):
        return EMPTY
    telling = sorted(((pair, weight) for pair, weight in weights.items() if weight > 0), key=lambda item: -item[1])
    if not telling:
        return EMPTY
    rows = [[name(pair), share_bar(weight, telling[0][1])] for pair, weight in telling[:ROWS]]
    caption = f"Generated anomalies (transform at dB of change) that weigh most; {len(telling)} of {len(weights)} count"
    return table(caption, ["anomaly", "weight %"], rows)


def _candidates(candidates: object) -> Markup:
    """The best candidates, with every number there is of them."""
    if not are_rows(candidates):
        return EMPTY
    known = "figure: mean rank over the anomalies that count, 1 is best; score: official score"
    return _any_table(f"The best of {len(candidates):,} candidates on generated anomalies; {known}", candidates[:ROWS])


TABLES: Mapping[str, Callable[[object], Markup]] = {
    "standings": _standings,
    "pair_weights": _pair_weights,
    "candidates": _candidates,
}
"""The parts of selection.json that have a table of their own."""

KNOWN = {*TABLES, "reason", "warnings", "members"}
"""Shown in their own way, or, as the members that ran, elsewhere; what is not here is shown as it is."""


def are_rows(rows: object) -> TypeGuard[list[dict[str, Any]]]:
    """Whether these are the rows of a table: JSON objects."""
    return isinstance(rows, list) and all(isinstance(row, dict) for row in rows)


def _is_number(value: object) -> bool:
    """A finite number that a float holds; JSON may hold others."""
    return isinstance(value, (int, float)) and abs(value) <= sys.float_info.max


def _agreement(selection: Mapping[str, Any], detection: Detection, year: int) -> tuple[Markup, Markup, str]:
    """Official scores of the members on generated and on real anomalies: table, chart and rank correlation.

    Empty where the selection knows no member; chart and correlation also of fewer members than MIN_MEMBERS.
    """
    candidates = selection.get("candidates")
    rows = candidates if are_rows(candidates) else []
    generated = {str(row.get("name")): float(row["score"]) for row in rows if _is_number(row.get("score"))}
    members = [member.name for member in detection.recipe.members]
    known = [i for i, member in enumerate(members) if member in generated]
    if not known:
        return EMPTY, EMPTY, ""
    real = _real_scores(detection, known, year)
    pairs = [(generated[members[i]], score) for i, score in zip(known, real, strict=True)]
    caption = "Official score of the members on generated and on real anomalies, in percent"
    cells = [[name(members[i]), f"{100 * x:.1f}", f"{100 * y:.1f}"] for i, (x, y) in zip(known, pairs, strict=True)]
    scores = table(caption, ["member", "generated", "real"], cells)
    if len(known) < MIN_MEMBERS:
        return scores, EMPTY, ""
    label = f"Scores of {len(known)} members on generated against real anomalies"
    chart = scatter_chart(label, pairs, "on generated anomalies", "on real anomalies")
    told = f"Rank correlation over these {len(known)} members: {_spearman(pairs)}. Members are the best of many"
    return scores, chart, f"{told} candidates, so that they lie close together by choice."


def _real_scores(detection: Detection, members: list[int], year: int) -> list[float]:
    labels = Labels.of(labelled(detection.clips, year)[0])
    keys = tuple(detection.clips.keys())
    tables = [ScoreTable(detection.recipe.members[i].name, keys, detection.member_percentiles[i]) for i in members]
    return [evaluate(ScoreTable(one.name, labels.keys, one.aligned(labels.keys)), labels, year).score for one in tables]


def _spearman(pairs: list[tuple[float, float]]) -> str:
    from scipy.stats import rankdata

    x, y = (rankdata(column) for column in zip(*pairs, strict=True))
    return f"{np.corrcoef(x, y)[0, 1]:.2f}" if x.std() and y.std() else "none, all are alike"


def _words(key: str) -> str:
    return key.replace("_", " ")


def _is_plain(value: object) -> bool:
    return value is None or isinstance(value, (str, int, float))


def _cell(value: object) -> str:
    return "" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)
