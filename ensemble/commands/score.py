"""`detect score`: recordings scored by a fitted model."""

import sys
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from featstore import registry
from featstore.audio.outcomes import Outcomes, add_outcome, outcome_notes
from featstore.clip import path_tail
from featstore.console import (
    EXISTING,
    EXIT_ANOMALY,
    EXIT_REJECTED,
    PATH,
    Command,
    Meter,
    echo,
    echo_data,
    table,
    workers_option,
)
from featstore.terminal.shown import counted

if TYPE_CHECKING:
    from ensemble.scoring.score import Outcome
    from ensemble.scoring.verdict import Verdict

SHOWN = 10
LONG = 3
"""Lengths of the model's clips from which a recording that is scored as one clip is worth a note."""


@click.command(cls=Command)
@click.argument("model", type=EXISTING)
@click.argument("paths", nargs=-1, required=True, type=click.Path(exists=True, allow_dash=True, path_type=Path))
@click.option("--machine", default="", help="Machine of the recordings [default: by their paths].")
@click.option("--section", default="", help="Section of the recordings [default: by their paths].")
@click.option("--layout", default="auto", show_default=True, help=f"auto, {', '.join(registry.names('layout'))}.")
@click.option("--json", "form", flag_value="json", help="One JSON object per clip on stdout.")
@click.option("--csv", "form", flag_value="csv", help="CSV on stdout.")
@click.option("--parquet", type=PATH, help="Parquet file to write.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu or cuda, for embedders that use one.")
@workers_option
@click.option("--fail-on-anomaly", is_flag=True, help=f"Exit with {EXIT_ANOMALY} if a clip is reported.")
def score(
    model: Path, form: str | None, parquet: Path | None, device: str, fail_on_anomaly: bool, **options: Any
) -> None:
    """Score recordings, folders of them, or the standard input (-) with a MODEL of `detect fit`.

    \b
    detect score plant.model new.wav --machine fan --section 00
    detect score plant.model recordings/ --csv > scores.csv
    arecord -d 10 -f S16_LE -r 16000 | detect score plant.model - --json
    """
    from ensemble.scoring.model import Model
    from ensemble.scoring.output import csv_lines, event_line, json_line, write_parquet
    from ensemble.scoring.requests import ScoreRequest, score_to

    request = ScoreRequest(**options)
    loaded = Model.load(model, device=device)
    tally = Tally()
    with Meter("clips") as meter:
        outcomes = tally.counted(
            score_to(loaded, request, stdin=sys.stdin.buffer, progress=meter.count("clips"), say=meter.say)
        )
        outcomes = write_parquet(parquet, outcomes) if parquet else outcomes
        if form == "csv":
            for line in csv_lines(outcomes):
                echo_data(line)
        else:
            for outcome in outcomes:
                if form == "json":
                    echo(json_line(outcome))
            for event in tally.events.ranked() if form == "json" else ():
                echo(event_line(event))
    tally.show(loaded.seconds, machine=form is not None)
    for warning in loaded.drift(tally.verdicts):
        echo(f"warning: {warning}", err=True)
    if fail_on_anomaly and tally.reported:
        raise SystemExit(EXIT_ANOMALY)
    raise SystemExit(EXIT_REJECTED if tally.rejected else 0)


class Tally:
    """Counts of what was scored, and the most anomalous clips."""

    def __init__(self) -> None:
        from ensemble.scoring.events import Events

        self.events = Events()
        self.longest = 0.0
        self.clips = self.reported = self.trained = 0
        self.rejected: list[tuple[str, str]] = []
        self.unusual: Outcomes = {}
        self.top: list[Outcome] = []
        self.verdicts: list[Verdict] = []

    def counted(self, outcomes: "Iterable[Outcome]") -> "Iterator[Outcome]":
        """Every outcome, counted as it passes; training clips of the model are counted only."""
        from ensemble.scoring.model import TRAINED

        for outcome in outcomes:
            if outcome.reason == TRAINED:
                self.trained += 1
                continue
            if outcome.verdict is None:
                self.rejected.append((outcome.clip.recording, outcome.reason))
            else:
                self.clips += 1
                add_outcome(self.unusual, outcome.unusual, outcome.clip.path, outcome.clip.recording)
                self.reported += outcome.verdict.anomaly
                self.verdicts.append(replace(outcome.verdict, members={}, where=()))
                self.top = sorted([*self.top, outcome], key=_order)[:SHOWN]
                self.events.add(outcome)
                if outcome.clip.window is None:
                    self.longest = max(self.longest, outcome.verdict.end_s)
            yield outcome

    def show(self, seconds: float, *, machine: bool) -> None:
        """The most anomalous clips or events on stdout, unless a program reads that; the rest on stderr.

        seconds: length of the clips of the model.
        """
        from ensemble.windows.screen import events_table

        events = self.events.ranked()
        if not machine and events:
            echo(events_table(events[:SHOWN], [event.sentence for event in events[:SHOWN]]))
        elif not machine and self.top:
            echo(table(["clip", "seconds", "percentile", "decision", "where"], list(map(_row, self.top))))
        of_windows = f" in {counted(len(events), 'event')}" if self.events.windows else ""
        echo(f"{self.reported:,} of {counted(self.clips, 'clip')} reported{of_windows}", err=True)
        if self.longest > LONG * seconds:
            echo(
                f"note: a recording of {self.longest:,.0f} s was scored as one clip, the clips of the model are "
                f"{seconds:g} s long; `featstore build --window` makes windows of long recordings",
                err=True,
            )
        if self.trained:
            verb = "was" if self.trained == 1 else "were"
            echo(f"note: {counted(self.trained, 'training clip')} of the model {verb} not scored", err=True)
        for text in outcome_notes({outcome: list(names) for outcome, names in self.unusual.items()}):
            echo(f"note: {text}", err=True)
        for path, reason in self.rejected[:SHOWN]:
            echo(f"rejected: {path}: {reason}", err=True)
        if len(self.rejected) > SHOWN:
            echo(f"rejected: {len(self.rejected) - SHOWN:,} more (--json lists them all)", err=True)


def _order(outcome: "Outcome") -> float:
    return -outcome.verdict.percentile if outcome.verdict else 0.0


def _row(outcome: "Outcome") -> list[str]:
    verdict = outcome.verdict
    assert verdict is not None
    return [
        path_tail(outcome.clip.recording, verdict.machine),
        f"{verdict.start_s:g}-{verdict.end_s:g}",
        f"{verdict.percentile:.4f}",
        "ANOMALY" if verdict.anomaly else "normal",
        verdict.sentence,
    ]
