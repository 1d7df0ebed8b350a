"""The part of the report on a selection: what `detect select` weighed, and whether it holds on real anomalies."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from detectors.metrics.labels import Labels
from detectors.metrics.official import evaluate
from detectors.metrics.scores import ScoreTable
from ensemble.output import labelled
from ensemble.report.charts import scatter_chart
from ensemble.report.page import Html, join, name, table, tag
from ensemble.run import Detection

ROWS = 15
MIN_MEMBERS = 3
"""Members that a rank correlation needs."""


def selection_part(selection: Mapping[str, Any] | None, detection: Detection, year: int | None) -> list[str]:
    """Agreement where labels exist (`year` is the rule of the figures), the selection's tables, then its other values.

    Tables are drawn from what is there: a selection file that lacks or adds something is shown all the same.
    """
    if not selection:
        return []
    content = _agreement(selection, detection, year) if year is not None else []
    for key, draw in KNOWN.items():
        if selection.get(key):
            content += draw(selection[key])
    others = {key: value for key, value in selection.items() if key not in KNOWN and value not in (None, [], {})}
    plain = [[_words(key), _cell(value)] for key, value in others.items() if _is_plain(value)]
    if plain:
        content.append(table("What else the selection says", ["", "value"], plain, text_columns=2))
    for key, value in others.items():
        content += _any_table(_words(key), value)
    return content


def _any_table(caption: str, value: object) -> list[str]:
    """A mapping of plain values or a list of rows as a table; nothing of anything else."""
    if isinstance(value, dict) and all(map(_is_plain, value.values())):
        return [table(caption, ["", "value"], [[str(key), _cell(one)] for key, one in list(value.items())[:ROWS]])]
    if isinstance(value, list) and all(isinstance(row, dict) for row in value):
        header = [one for one, cell in value[0].items() if _is_plain(cell)]
        return [
            table(caption, [_words(one) for one in header], [[_cell(row.get(one)) for one in header] for row in value])
        ]
    return []


def _reason(reason: object) -> list[str]:
    return [tag("p", "Why this choice: ", str(reason), ".")]


def _warnings(warnings: object) -> list[str]:
    return [tag("p", str(one), class_="warning") for one in warnings] if isinstance(warnings, list) else []


def _members(members: object) -> list[str]:
    """Nothing: the report lists the members that ran."""
    return []


def _standings(standings: object) -> list[str]:
    """Ways of choosing and fixed systems on generated anomalies, in percent."""
    if not _are_rows(standings, "name", "score", "lead", "low", "high"):
        return _any_table("standings", standings)
    rows = [
        [name(one["name"]), f"{100 * one['score']:.1f}", "{:+.1f} [{:+.1f}, {:+.1f}]".format(*_percents(one))]
        for one in standings  # type: ignore[attr-defined]
    ]
    caption = "Official score on generated anomalies of unseen recordings and transforms, in percent"
    return [table(caption, ["system", "score", "lead over the fixed default [95 % interval]"], rows)]


def _percents(one: Mapping[str, float]) -> list[float]:
    return [100 * one[key] for key in ("lead", "low", "high")]


def _pair_weights(weights: object) -> list[str]:
    """The generated anomalies that tell candidates apart, the most telling first."""
    if not isinstance(weights, dict) or not all(isinstance(one, (int, float)) for one in weights.values()):
        return []
    telling = sorted(((one, weight) for one, weight in weights.items() if weight > 0), key=lambda pair: -pair[1])
    most = max((weight for _, weight in telling), default=1.0)
    rows = [[name(one), join([_bar(weight / most), f" {100 * weight:.1f}"])] for one, weight in telling[:ROWS]]
    caption = f"Generated anomalies (transform at dB of change) that weigh most; {len(telling)} of {len(weights)} count"
    return [table(caption, ["anomaly", "weight %"], rows)] if rows else []


def _bar(share: float) -> Html:
    return tag("span", class_="share", style=f"width:{max(1, round(80 * share))}px", aria_hidden="true")


def _candidates(candidates: object) -> list[str]:
    """The best candidates, with every number there is of them."""
    if not isinstance(candidates, list) or not all(isinstance(one, dict) for one in candidates):
        return []
    known = "figure: mean rank over the anomalies that count, 1 is best; score: official score"
    return _any_table(f"The best of {len(candidates):,} candidates on generated anomalies; {known}", candidates[:ROWS])


KNOWN: Mapping[str, Callable[[object], list[str]]] = {
    "reason": _reason,
    "warnings": _warnings,
    "members": _members,
    "standings": _standings,
    "pair_weights": _pair_weights,
    "candidates": _candidates,
}
"""How each part of selection.json is shown; what is not here is shown as it is."""


def _are_rows(rows: object, *keys: str) -> bool:
    return isinstance(rows, list) and all(isinstance(row, dict) and set(keys) <= set(row) for row in rows)


def _agreement(selection: Mapping[str, Any], detection: Detection, year: int) -> list[str]:
    """Official score of every member on generated and on real anomalies."""
    generated = {
        one.get("name"): one["score"]
        for one in selection.get("candidates") or []
        if isinstance(one, dict) and isinstance(one.get("score"), float)
    }
    members = [member.name for member in detection.recipe.members]
    known = [i for i, member in enumerate(members) if member in generated]
    if not known:
        return []
    real = _real_scores(detection, known, year)
    pairs = [(generated[members[i]], score) for i, score in zip(known, real, strict=True)]
    caption = "Official score of the members on generated and on real anomalies, in percent"
    rows = [[name(members[i]), f"{100 * x:.1f}", f"{100 * y:.1f}"] for i, (x, y) in zip(known, pairs, strict=True)]
    content: list[str] = [table(caption, ["member", "generated", "real"], rows)]
    if len(known) >= MIN_MEMBERS:
        told = f"Rank correlation over these {len(known)} members: {_spearman(pairs)}. Members are the best of many"
        label = f"Scores of {len(known)} members on generated against real anomalies"
        chart = tag("div", scatter_chart(label, pairs, "on generated anomalies", "on real anomalies"), class_="small")
        content += [chart, tag("p", f"{told} candidates, so that they lie close together by choice.", class_="muted")]
    return content


def _real_scores(detection: Detection, members: list[int], year: int) -> list[float]:
    labels = Labels.of(labelled(detection.clips)[0])
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
