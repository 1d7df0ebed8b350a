"""`detect run`, `report` and `evaluate`: scores and decisions, a page that explains them, official metrics."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ensemble.commands.options import no_marks_option, recipe_options, recording_option, submission_options, year_option
from featstore.clip import path_tail
from featstore.console import (
    EXISTING,
    EXIT_REJECTED,
    OUT_FILE,
    OUT_FOLDER,
    Command,
    Meter,
    echo,
    echo_json,
    size,
    table,
)
from featstore.terminal.shown import Block, block

if TYPE_CHECKING:
    from ensemble.results import Outcome

SHOWN = 10

LARGE_REPORT = 18_000_000
"""Bytes; many mail servers refuse larger ones, which mail makes a third larger."""


@click.command(cls=Command)
@click.argument("store", type=EXISTING)
@recipe_options
@click.option("-o", "--out", type=OUT_FOLDER, default="results", show_default=True, help="Folder of the results.")
@click.option(
    "--format",
    "formats",
    type=click.Choice(["csv", "parquet", "dcase"]),
    multiple=True,
    help="parquet adds scores.parquet, dcase a submission.",
)
@click.option(
    "--data",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder of recordings, to find where in time and frequency reported clips deviate [that of the last build].",
)
@submission_options
@year_option
@click.option("--json", "as_json", is_flag=True, help="Summary and metrics as JSON on stdout.")
def run(store: Path, out: Path, as_json: bool, **options: Any) -> None:
    """Score every test clip of STORE and write scores.csv, recipe.toml and metrics.json to OUT.

    Where clips are windows of recordings, also events.csv and recordings.csv. Rejected recordings, and sections with
    fewer than two training clips, are left out and named; the exit code is then 3.
    """
    from ensemble.checks.recorded import recorded_warning
    from ensemble.output import removed_if_empty
    from ensemble.request import RunRequest, Screen
    from ensemble.results import OutRequest, run_to

    named = {name: options.pop(name) for name in ("year", "data", "label", "authors", "fill_missing")}
    formats = options.pop("formats")
    written = OutRequest(submission="dcase" in formats, parquet="parquet" in formats, **named)
    request = RunRequest(**options)
    with Meter("members") as meter, removed_if_empty(out):
        screen = Screen(meter.say, meter.count("candidates"), meter.count("members"))
        outcome = run_to(store, out, request, screen, written)
    for text in outcome.texts:
        echo(block(text, ""), err=as_json)
    messages = [*(f"warning: {text}" for text in outcome.warnings), *(f"note: {text}" for text in outcome.notes)]
    for message in [*messages, *filter(None, [recorded_warning(outcome.detection) if as_json else ""])]:
        echo(message, err=True)
    if as_json:
        files = [str(file) for file in outcome.files]
        where = outcome.where.as_json(outcome.detection.clips.keys())
        parts = {"files": files, "ensemble": outcome.ensemble.as_json(), "metrics": outcome.metrics, "where": where}
        echo_json(parts)
    else:
        echo(_most_anomalous(outcome))
    echo(f"wrote {', '.join(str(file) for file in outcome.files)}", err=True)
    if outcome.unscored:
        raise SystemExit(EXIT_REJECTED)


def _most_anomalous(outcome: "Outcome") -> Block:
    """The most anomalous clips with their evidence; events where some clips are windows."""
    import numpy as np

    from ensemble.checks.recorded import recorded_warning
    from ensemble.windows.screen import events_text, most_anomalous_text, reported_text

    detection = outcome.detection
    if outcome.findings.recordings.divided:
        return events_text(detection, outcome.findings, SHOWN)
    keys, machines = detection.clips.keys(), detection.clips.column("machine").tolist()
    order = np.argsort(-detection.percentile, kind="stable")[:SHOWN]
    rows = [
        [
            path_tail(keys[i], machines[i]),
            f"{detection.percentile[i]:.4f}",
            "ANOMALY" if detection.decision[i] else "normal",
            path_tail(detection.nearest[i], machines[i]),
        ]
        for i in order
    ]
    lines = [reported_text(detection, "clip"), recorded_warning(detection), most_anomalous_text(len(rows))]
    return block(*filter(None, lines), table(["clip", "percentile", "decision", "nearest normal clip"], rows))


@click.command(cls=Command)
@click.argument("store", type=EXISTING)
@recipe_options
@click.option("-o", "--out", type=OUT_FILE, default="report.html", show_default=True, help="HTML file to write.")
@click.option(
    "--data",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder of recordings, for playback.  [default: that of the last build]",
)
@click.option(
    "--top", type=click.IntRange(1), default=20, show_default=True, help="Largest number of events shown as cards."
)
@click.option(
    "--seconds",
    type=click.FloatRange(0.1, 600),
    default=60.0,
    show_default=True,
    help="Longest part of a recording in a player, in seconds.",
)
@year_option
@click.option("--selection", type=EXISTING, help="selection.json to show beside the metrics.")
def report(store: Path, out: Path, **options: Any) -> None:
    """Explain a detection in one HTML file that needs no network: machines, events with their sound, charts, metrics.

    Runs the ensemble of --ensemble, and shows how it was chosen, where neither members nor a recipe are named.
    """
    from ensemble.report.request import ReportRequest, report_to
    from ensemble.request import RunRequest, Screen

    shown = {name: options.pop(name) for name in ("data", "top", "seconds", "year", "selection")}
    page, request = ReportRequest(store=store, out=out, **shown), RunRequest(**options)
    with Meter("members") as meter:
        report_to(page, request, Screen(meter.say, meter.count("candidates"), meter.count("members")))
    written = out.stat().st_size
    advice = "; a smaller --top or --seconds makes it easier to mail" if written > LARGE_REPORT else ""
    echo(f"wrote {out} ({size(written)}){advice}", err=True)


@click.command(cls=Command)
@click.argument("scores", type=EXISTING)
@click.argument("store", type=EXISTING)
@click.option("--ground-truth", type=EXISTING, help="Official ground-truth CSV(s) for clips without labels.")
@recording_option
@click.option(
    "--recipe", type=EXISTING, help="Recipe of SCORES; clips with confirmed labels that it was chosen by are left out."
)
@no_marks_option
@year_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def evaluate(scores: Path, store: Path, as_json: bool, **options: Any) -> None:
    """Compute the official metrics of the labelled test clips of STORE.

    SCORES: a CSV of clip,score (paths below the data folder, or unique file names), or the folder of a submission.
    The exit code is 3 where a recording of SCORES has no score, or the store rejected it.
    """
    from ensemble.evaluation.evaluate import evaluate_scores

    evaluated = evaluate_scores(scores, store, **options)
    for reason in evaluated.lacking:
        echo(f"note: left out of the metrics: {reason}", err=True)
    if as_json:
        echo_json(evaluated.metrics)
    else:
        echo(evaluated.text)
    if evaluated.unscored:
        raise SystemExit(EXIT_REJECTED)
