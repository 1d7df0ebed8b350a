"""One HTML file that explains a detection to people: what stands out, how it sounds, how far it can be trusted.

Nothing in it comes from the network or runs; it can be mailed, archived and printed. Without labels it holds the
ranking, the score distributions and the thresholds; with them ROC curves, figures and the false alarms first.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from detectors.metrics.intervals import Interval, Intervals
from detectors.metrics.official import Evaluation, rule_of
from ensemble.decision.drift import Drift
from ensemble.decision.false_alarms import discoveries, false_alarm_rates, in_percent, nominal_text
from ensemble.decision.fuse import fusion
from ensemble.output import labelled, measure, score_table, year_of
from ensemble.recipe import Recipe, recipe_text
from ensemble.report.clips import OUTCOMES, clip_cards
from ensemble.report.media import Listen
from ensemble.report.page import Html, join, name, page, table, tag
from ensemble.report.sections import section_charts
from ensemble.report.selection import selection_part
from ensemble.run import Detection
from featstore.disk.files import write_new
from featstore.errors import DataError

RANKED = 50


@dataclass(frozen=True)
class ReportOptions:
    """How many clips it shows, how many seconds of each; the year of the official rule, None for the usual one."""

    title: str = "Anomaly report"
    top: int = 20
    seconds: float = 5.0
    year: int | None = None


Figures = tuple[Evaluation, Intervals]


def write_report(
    path: Path,
    detection: Detection,
    options: ReportOptions,
    *,
    drifts: Sequence[Drift] = (),
    listen: Listen | None = None,
    selection: Mapping[str, Any] | None = None,
) -> None:
    """Write the page to `path`, which is there whole or not at all."""
    text = report_html(detection, options, drifts=drifts, listen=listen, selection=selection)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_new(path, text.encode("utf-8"))


def read_selection(path: Path, recipe: Recipe) -> dict[str, Any]:
    """The JSON object that a selection left; DataError names the file, also where it knows no member of the recipe."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: not a readable selection: {error}") from error
    if not isinstance(found, dict):
        raise DataError(f"{path}: expected a JSON object, found {type(found).__name__}")
    known = {one.get("name") for one in found.get("candidates") or [] if isinstance(one, dict)}
    members = [member.name for member in recipe.members]
    if known and not known.intersection(members):
        raise DataError(f"{path}: knows no member of this recipe, such as {members[0]!r}: of another store or recipe?")
    return found


def report_html(
    detection: Detection,
    options: ReportOptions,
    *,
    drifts: Sequence[Drift] = (),
    listen: Listen | None = None,
    selection: Mapping[str, Any] | None = None,
) -> str:
    """The whole page. `listen` finds recordings, None where there are none; `selection`: what `detect select` wrote."""
    year = options.year or year_of(detection.clips)
    clips, _ = labelled(detection.clips, year)
    figures = measure(score_table(detection), clips, year) if len(clips) else None
    cards = clip_cards(detection, options.top, options.seconds, listen)
    parts: list[tuple[str, str, list[str]]] = [
        ("clips", "Clips to look into", cards),
        ("sections", "Machines and sections", section_charts(detection, figures)),
        ("figures", "Figures", _figures(detection, figures)),
        ("members", "Members of the ensemble", [_members(detection)]),
        ("ranking", "Ranking", [_ranking(detection)]),
        ("selection", "Selection", selection_part(selection, detection, figures[0].year if figures else None)),
        ("recipe", "How to make this again", _recipe(detection)),
    ]
    return page(options.title, _lead(detection, figures, drifts), [part for part in parts if part[2]])


def _lead(detection: Detection, figures: Figures | None, drifts: Sequence[Drift]) -> Html:
    """The few numbers to know first, and every warning."""
    clips, reported = len(detection.clips), int(detection.decision.sum())
    recipe = detection.recipe
    rate = recipe.fdr or recipe.false_alarm_rate
    facts = [
        _fact("clips scored", f"{clips:,}", f"{len(detection.train):,} training clips as reference"),
        _fact("reported as anomalous", f"{reported:,}", f"{100 * reported / max(1, clips):.1f} % of the clips"),
        _fact(f"nominal {'false-discovery' if recipe.fdr else 'false-alarm'} rate", f"{100 * rate:g} %", "aimed at"),
    ]
    rates = false_alarm_rates(detection)
    if rates:
        normal, alarms = sum(one.clips for one in rates), sum(one.reported for one in rates)
        facts.append(
            _fact("real false-alarm rate", f"{100 * alarms / normal:.1f} %", f"{alarms} of {normal} normal clips")
        )
    if figures:
        evaluation, intervals = figures
        score = intervals.score
        between = f"95 % interval {100 * score.low:.1f} to {100 * score.high:.1f}, rule of {evaluation.year}"
        facts.append(_fact("official score", f"{100 * score.value:.2f}", between))
    if rates and recipe.fdr:
        found = discoveries(detection)
        facts.append(
            _fact(
                "real false-discovery rate", f"{100 * found.rate:.1f} %", f"{found.normal} of {found.reported} reports"
            )
        )
    notes = [tag("p", one.warning, class_="warning") for one in drifts if one.warning]
    notes += [tag("p", note, class_="note") for note in detection.notes]
    return join([tag("dl", *facts, class_="facts"), *notes])


def _fact(term: str, value: str, detail: str) -> Html:
    return tag("div", tag("dt", term), tag("dd", value, tag("small", detail)))


def _figures(detection: Detection, figures: Figures | None) -> list[str]:
    content: list[str] = []
    if figures:
        evaluation, intervals = figures
        names = list(rule_of(evaluation.year).metrics)
        rows: list[list[str | float]] = [
            [name(row.machine), name(row.section), *(_percent(found[one]) for one in names)]
            for row in evaluation.rows
            for found in [intervals.sections[row.machine, row.section]]
        ]
        mean = rule_of(evaluation.year).mean
        rows.append([f"{mean} mean", "", *(f"{100 * evaluation.mean(one):.2f}" for one in names)])
        caption = f"Official figures in percent, rule of {evaluation.year}, with 95 % bootstrap intervals"
        content.append(table(caption, ["machine", "section", *map(_readable, names)], rows, text_columns=2))
    rates = false_alarm_rates(detection)
    if rates:
        rows = [
            [
                name(one.machine),
                name(one.section),
                one.domain,
                f"{one.clips}",
                nominal_text(one),
                in_percent(one),
            ]
            for one in rates
        ]
        header = ["machine", "section", "domain", "normal clips", "nominal %", "real % [95 % interval]"]
        content.append(table("False alarms among normal clips: nominal and real rate", header, rows, text_columns=3))
    return content


def _percent(interval: Interval) -> str:
    return f"{100 * interval.value:.2f} [{100 * interval.low:.1f}, {100 * interval.high:.1f}]"


def _readable(figure: str) -> str:
    return figure.replace("pauc", "pAUC").replace("auc", "AUC").replace("_", ", ")


def _members(detection: Detection) -> Html:
    """Every member with its weight and how much it agrees with the fused ranking."""
    recipe = detection.recipe
    weights = np.array([member.weight if fusion(recipe.fusion).weighted else 1.0 for member in recipe.members])
    shares = weights / weights.sum()
    rows: list[list[str | float]] = []
    for member, share, percentiles in zip(recipe.members, shares, detection.member_percentiles, strict=True):
        bar = tag(
            "span", class_="share", style=f"width:{max(1, round(80 * share / shares.max()))}px", aria_hidden="true"
        )
        above = f"{100 * np.mean(percentiles > 1 - recipe.false_alarm_rate):.1f}"
        rows.append([name(member.source), name(member.method), join([bar, f" {100 * share:.1f}"]), above])
    caption = f"Members, fused by {recipe.fusion}" if len(rows) > 1 else "The only member; its raw scores are shown"
    return table(caption, ["embedding", "detector", "weight %", "clips it would report %"], rows, text_columns=2)


def _ranking(detection: Detection) -> Html:
    order = np.argsort(-detection.percentile, kind="stable")[:RANKED]
    keys, clips = detection.clips.keys(), detection.clips
    machine, section, label = (clips.column(one) for one in ("machine", "section", "label"))
    rows: list[list[str | float]] = [
        [
            name(keys[i]),
            name(str(machine[i])),
            name(str(section[i])),
            OUTCOMES[str(label[i]), bool(detection.decision[i])].replace(" ", "\N{NO-BREAK SPACE}"),
            f"{detection.decided.p_value[i]:.4f}",
            f"{detection.percentile[i]:.4f}",
            f"{detection.score[i]:.5g}",
        ]
        for i in order
    ]
    total = f"The {len(rows)} most anomalous of {len(keys):,} clips; scores.csv of detect run holds all"
    header = ["clip", "machine", "section", "outcome", "p-value", "percentile", "score"]
    return table(total, header, rows, text_columns=4)


def _recipe(detection: Detection) -> list[str]:
    lead = "Save this as recipe.toml; detect report STORE --recipe recipe.toml makes the page again."
    return [tag("p", lead), tag("details", tag("summary", "recipe.toml"), tag("pre", recipe_text(detection.recipe)))]
