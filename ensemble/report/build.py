"""One HTML file that explains a detection: which clips are reported, how they sound, and how reliable this is.

The page contains no scripts and loads nothing from the network; it can be mailed, archived and printed. Without labels
it shows the ranking, the score distributions and the thresholds. With labels it also shows ROC curves and metrics, and
the false alarms come first.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup

from detectors.metrics.intervals import Interval, Intervals, caution
from detectors.metrics.official import Evaluation, rule_of
from ensemble.decision.drift import Drift
from ensemble.decision.false_alarms import FalseAlarms, discoveries, false_alarm_rates, in_percent, nominal_text
from ensemble.decision.fuse import fusion
from ensemble.deviation.locate import Locator
from ensemble.output import labelled, measure, score_table, year_of
from ensemble.page.html import EMPTY, name, page, render, share_bar, table
from ensemble.page.media import Listen
from ensemble.recipe import Recipe, recipe_text
from ensemble.report.clips import OUTCOMES, clip_cards
from ensemble.report.events import events_table
from ensemble.report.sections import section_charts
from ensemble.report.selection import are_rows, selection_part
from ensemble.run import Detection
from ensemble.windows.findings import Findings, findings_of
from ensemble.windows.recordings import Recordings, rule_text
from ensemble.windows.screen import clip_title
from featstore.disk.files import write_new
from featstore.errors import DataError, reason_of
from featstore.terminal.shown import Block, block, counted

RANKED = 50
"""Rows of the ranking."""

Metrics = tuple[Evaluation, Intervals]


@dataclass(frozen=True)
class ReportOptions:
    """`top`: number of clip cards; `seconds`: length of the players; `year`: official rule, None for the usual one."""

    title: str = "Anomaly report"
    top: int = 20
    seconds: float = 5.0
    year: int | None = None


def write_report(path: Path, page: str) -> None:
    """Write a page of `report_html` to `path`, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_new(path, page.encode("utf-8"))


def read_selection(path: Path, recipe: Recipe) -> dict[str, Any]:
    """The content of a selection.json; DataError if it is not one, or if it lists no member of the recipe."""
    try:
        selection = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path}: not a readable selection: {reason_of(error)}") from error
    if not isinstance(selection, dict):
        raise DataError(f"{path}: expected a JSON object, found {type(selection).__name__}")
    candidates, chosen = (rows if are_rows(rows := selection.get(key)) else [] for key in ("candidates", "members"))
    names = {str(row.get("name")) for row in candidates}
    sources = {tuple(str(row.get(key)) for key in ("embedding", "view", "detector")) for row in chosen}
    members = recipe.members
    if names and not any(m.name in names or (m.embedding, m.view, m.detector) in sources for m in members):
        raise DataError(
            f"{path}: lists no member of this recipe, for example not {members[0].name!r}; give the selection.json of "
            "the `detect select` that wrote the recipe"
        )
    return selection


def report_html(
    detection: Detection,
    options: ReportOptions,
    *,
    drifts: Sequence[Drift] = (),
    listen: Listen | None = None,
    locator: Locator | None = None,
    selection: Mapping[str, Any] | None = None,
    findings: Findings | None = None,
) -> str:
    """The whole page. `listen` reads recordings, None if there are none; `selection`: content of a selection.json.

    `findings`: events and recordings, by default those of the detection. locator: statistics of normal sound for
    deviation maps, None without.
    """
    findings = findings or findings_of(detection)
    recordings = findings.recordings
    year = options.year or year_of(recordings.clips)
    clips, _ = labelled(recordings.clips, year)
    table_of = recordings.table(score_table(detection), clips.keys())
    metrics = measure(table_of, clips, year) if len(clips) else None
    evaluation = metrics[0] if metrics else None
    rates = false_alarm_rates(detection.clips, detection.decided)
    parts: list[tuple[str, str, Markup]] = [
        ("events", "Events", events_table(findings)),
        ("clips", "Clips to inspect", clip_cards(detection, options.top, options.seconds, listen, locator)),
        ("sections", "Machines and sections", section_charts(detection, evaluation)),
        ("metrics", "Metrics", (_official(*metrics, recordings) if metrics else EMPTY) + _false_alarms(rates)),
        ("members", "Members of the ensemble", _members(detection)),
        ("ranking", "Ranking", _ranking(detection)),
        ("selection", "Selection", selection_part(selection, detection, year if metrics else None, recordings)),
        (
            "recipe",
            "How to reproduce this report",
            render("recipe.html", recipe=block(*recipe_text(detection.recipe).split("\n"))),
        ),
    ]
    return page(
        options.title,
        facts=_facts(detection, metrics, rates),
        warnings=[*detection.warnings, *(drift.warning for drift in drifts if drift.warning)],
        notes=detection.notes,
        parts=[part for part in parts if part[2].strip()],
    )


def _facts(detection: Detection, metrics: Metrics | None, rates: Sequence[FalseAlarms]) -> list[tuple[str, str, str]]:
    """The most important numbers as (term, value, detail)."""
    clips, reported = len(detection.clips), int(detection.decision.sum())
    fdr, rate = detection.recipe.fdr, detection.recipe.fdr or detection.recipe.false_alarm_rate
    facts = [
        ("clips scored", f"{clips:,}", f"{counted(len(detection.train), 'training clip')} as reference"),
        ("reported as anomalous", f"{reported:,}", f"{100 * reported / max(1, clips):.1f} % of the clips"),
        (f"nominal {'false-discovery' if fdr else 'false-alarm'} rate", f"{100 * rate:g} %", "requested by the recipe"),
    ]
    if detection.recipe.thresholds:
        expected = f"about {detection.decided.expected:,.0f} clips above them would be expected if all were normal"
        facts[2] = ("thresholds", "by hand", expected)
    if rates:
        normal, alarms = sum(group.clips for group in rates), sum(group.reported for group in rates)
        facts.append(
            ("real false-alarm rate", f"{100 * alarms / normal:.1f} %", f"{alarms} of {counted(normal, 'normal clip')}")
        )
    if metrics:
        score = metrics[1].score
        detail = f"95 % interval {100 * score.low:.1f} to {100 * score.high:.1f}, rule of {metrics[0].year}"
        facts.append(("official score", f"{100 * score.value:.2f}", detail))
    if rates and fdr:
        false = discoveries(detection.clips, detection.decided)
        detail = f"{false.normal} of {counted(false.reported, 'reported clip')} with a label are normal"
        facts.append(("real false-discovery rate", f"{100 * false.rate:.1f} %", detail))
    return facts


def _official(evaluation: Evaluation, intervals: Intervals, recordings: Recordings) -> Markup:
    rule = rule_of(evaluation.year)
    rows = []
    for row in evaluation.rows:
        section = intervals.sections[row.machine, row.section]
        rows.append([name(row.machine), name(row.section), *(_percent(section[metric]) for metric in rule.metrics)])
    rows.append([f"{rule.mean} mean", "", *(f"{100 * evaluation.mean(metric):.2f}" for metric in rule.metrics)])
    caption = f"Official metrics in percent, rule of {evaluation.year}, with 95 % intervals"
    if recordings.divided:
        caption += f"; of recordings, scored by the {rule_text(recordings.rule)} of their windows"
    caption = "; ".join([caption, *caution(evaluation)])
    return table(caption, ["machine", "section", *map(_readable, rule.metrics)], rows, text_columns=2)


def _false_alarms(rates: Sequence[FalseAlarms]) -> Markup:
    rows = [
        [name(rate.machine), name(rate.section), rate.domain, f"{rate.clips}", nominal_text(rate), in_percent(rate)]
        for rate in rates
    ]
    header = ["machine", "section", "domain", "normal clips", "nominal %", "real % [95 % interval]"]
    caption = "False alarms among normal clips: nominal and real rate"
    return table(caption, header, rows, text_columns=3) if rows else EMPTY


def _percent(interval: Interval) -> str:
    return f"{100 * interval.value:.2f} [{100 * interval.low:.1f}, {100 * interval.high:.1f}]"


def _readable(metric: str) -> str:
    return metric.replace("pauc", "pAUC").replace("auc", "AUC").replace("_", ", ")


def _members(detection: Detection) -> Markup:
    """The members with their weights and the share of clips that each would report on its own."""
    recipe = detection.recipe
    weights = np.array([member.weight if fusion(recipe.fusion).weighted else 1.0 for member in recipe.members])
    shares = weights / weights.sum()
    above = (detection.member_percentiles > 1 - recipe.false_alarm_rate).mean(axis=1)
    rows = [
        [name(member.source), name(member.method), share_bar(share, shares.max()), f"{100 * alone:.1f}"]
        for member, share, alone in zip(recipe.members, shares, above, strict=True)
    ]
    caption = f"Members, fused by {recipe.fusion}" if len(rows) > 1 else "The only member; its raw scores are used"
    return table(caption, ["embedding", "detector", "weight %", "clips reported if used alone %"], rows, text_columns=2)


def _ranking(detection: Detection) -> Markup:
    order = np.argsort(-detection.percentile, kind="stable")[:RANKED]
    rows = [
        [
            name(clip_title(clip.key)),
            name(clip.machine),
            name(clip.section),
            Block(OUTCOMES[clip.label, bool(detection.decision[i])].replace(" ", "\N{NO-BREAK SPACE}")),
            f"{detection.decided.p_value[i]:.4f}",
            f"{detection.percentile[i]:.4f}",
            f"{detection.score[i]:.5g}",
        ]
        for i, clip in zip(order, detection.clips[order], strict=True)
    ]
    caption = (
        f"The {len(rows)} most anomalous of {counted(len(detection.clips), 'clip')}; scores.csv of detect run lists all"
    )
    header = ["clip", "machine", "section", "outcome", "p-value", "percentile", "score"]
    return table(caption, header, rows, text_columns=4)
