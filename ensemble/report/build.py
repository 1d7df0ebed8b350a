"""One HTML file that explains a detection: which clips are reported, how they sound, and how reliable this is.

The page loads nothing from the network; it can be mailed, archived and printed, and is complete without its scripts,
which sort and filter cards and move the cursor of a player. It shows the machines first, then the events, the furthest
above its threshold first. Labels add outcomes, ROC curves and metrics; they change no order.
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
from ensemble.decision.false_alarms import FalseAlarms, false_alarm_rates, in_percent, nominal_text
from ensemble.decision.fuse import fusion
from ensemble.marks.file import Mark
from ensemble.output import labelled, measure, score_table, year_of
from ensemble.page.html import EMPTY, name, page, render, share_bar, table
from ensemble.page.items import items
from ensemble.page.overview.tiles import overview
from ensemble.page.scored import Scored, scored_of
from ensemble.recipe import Recipe, recipe_text
from ensemble.report.cards import event_cards
from ensemble.report.ranking import ranking
from ensemble.report.sections import section_charts
from ensemble.report.selection import are_rows, selection_part
from ensemble.report.sounds import Heard
from ensemble.report.summary import facts, lead
from ensemble.run import Detection
from ensemble.windows.findings import Findings, findings_of
from ensemble.windows.recordings import Recordings, rule_text
from featstore.disk.files import write_new
from featstore.errors import DataError, reason_of
from featstore.terminal.shown import block


@dataclass(frozen=True)
class ReportOptions:
    """`top`: most cards; `seconds`: longest part in a player; `year`: official rule, None for the usual one."""

    title: str = "Anomaly report"
    top: int = 20
    seconds: float = 60.0
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
    scored: Scored | None = None,
    heard: Heard | None = None,
    selection: Mapping[str, Any] | None = None,
    findings: Findings | None = None,
    marks: Mapping[int, Mark] | None = None,
) -> str:
    """The whole page. `heard`: where the sound comes from, None without; `selection`: content of a selection.json.

    `findings`: events and recordings; scored: the results with their drift; both by default those of the detection.
    marks: by row of the scored clips.
    """
    findings = findings or findings_of(detection)
    scored = scored or scored_of(detection, title=options.title, seconds=findings.seconds)
    recordings = findings.recordings
    year = options.year or year_of(recordings.clips)
    clips, _ = labelled(recordings.clips, year)
    table_of = recordings.table(score_table(detection), clips.keys())
    metrics = measure(table_of, clips, year) if len(clips) else None
    rates = false_alarm_rates(detection.clips, detection.decided, scored.copied)
    found = items(scored)
    shown = event_cards(scored, found, top=options.top, seconds=options.seconds, heard=heard, marks=marks)
    recipe = block(*recipe_text(detection.recipe).split("\n"))
    parts: list[tuple[str, str, Markup]] = [
        ("overview", "Machines", overview(scored, links=False, found=found, marked=marks)),
        ("events", "Events", shown),
        ("sections", "Scores of each machine and section", section_charts(detection, metrics[0] if metrics else None)),
        ("metrics", "Metrics", (_official(*metrics, recordings) if metrics else EMPTY) + _false_alarms(rates)),
        ("members", "Members of the ensemble", _members(detection)),
        ("ranking", "Ranking", ranking(scored, found)),
        ("selection", "Selection", selection_part(selection, detection, year if metrics else None, recordings)),
        ("words", "Words on this page", render("words.html", labelled=metrics is not None, bounded=scored.bounded)),
        ("recipe", "How to reproduce this report", render("recipe.html", recipe=recipe)),
    ]
    drifts = (str(drift.get("warning") or "") for drift in scored.drifts)
    return page(
        options.title,
        lead=lead(scored, found),
        facts=facts(detection, metrics, rates, recordings),
        warnings=[*detection.warnings, *filter(None, drifts)],
        notes=detection.notes,
        parts=[part for part in parts if part[2].strip()],
    )


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
    caption = "False alarms among normal clips: the rate that was asked for (nominal), and the real one. "
    caption += "Copies of training clips are left out"
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
