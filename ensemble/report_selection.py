"""The part of the report on a selection: what `detect select` weighed, and whether it holds on real anomalies."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from detectors.labels import Labels
from detectors.official import evaluate
from detectors.scores import ScoreTable
from ensemble.output import labelled
from ensemble.report_charts import scatter_chart
from ensemble.report_page import name, table, tag
from ensemble.run import Detection

ROWS = 25
MIN_MEMBERS = 3
"""Members that a rank correlation needs."""


def selection_part(selection: Mapping[str, Any] | None, detection: Detection, year: int | None) -> list[str]:
    """Agreement where labels exist (`year` is the rule of the figures), then the selection's own values and tables."""
    if not selection:
        return []
    content = _agreement(selection, detection, year) if year is not None else []
    plain = [[key.replace("_", " "), _cell(value)] for key, value in selection.items() if _is_plain(value)]
    if plain:
        content.append(table("What the selection says", ["", "value"], plain, text_columns=2))
    for key, value in selection.items():
        caption = key.replace("_", " ")
        if isinstance(value, dict) and value and all(map(_is_plain, value.values())):
            content.append(table(caption, ["", "value"], [[str(k), _cell(v)] for k, v in list(value.items())[:ROWS]]))
        elif isinstance(value, list) and value and all(isinstance(row, dict) for row in value):
            header = [one for one, cell in value[0].items() if _is_plain(cell)]
            rows = [[_cell(row.get(one)) for one in header] for row in value[:ROWS]]
            content.append(table(caption, header, rows))
    return content


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


def _is_plain(value: object) -> bool:
    return value is None or isinstance(value, (str, int, float))


def _cell(value: object) -> str:
    return "" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)
