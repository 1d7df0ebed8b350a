"""`detect compare`: several systems on one store, with intervals, tests and a picture."""

from typing import Any

import click

from ensemble.commands.options import no_marks_option, own_code_option, recording_option, year_option
from featstore.console import EXISTING, OUT_FOLDER, Command, Meter, echo, echo_json, workers_option


@click.command(cls=Command)
@click.argument("store", type=EXISTING)
@click.option(
    "--recipe",
    "recipes",
    multiple=True,
    metavar="[NAME=]FILE",
    help="A recipe.toml, or the name of a published system (`detect recipes`) whose embedding STORE has.",
)
@click.option("-d", "--detector", "detectors", multiple=True, help="Each one on each -e is a system.")
@click.option("-e", "--embedding", "embeddings", multiple=True, help="NAME, NAME@VIEW or NAME@MIX; default all.")
@click.option("--grid", type=EXISTING, help="Every candidate of a TOML file, as of `detect select`, is a system.")
@click.option("--default", is_flag=True, help="The fixed default ensemble.")
@click.option("--ensemble", is_flag=True, help="The ensemble chosen by the generated anomalies of STORE.")
@click.option(
    "--scores",
    "external",
    multiple=True,
    metavar="[NAME=]FILE",
    help="CSV of clip,score, or folder of a submission: a system of another program.",
)
@click.option("--baseline", default="", metavar="NAME", help="Compare with this system [the first one].")
@click.option("--seeds", type=click.IntRange(1, 100), default=1, show_default=True, help="Runs with further seeds.")
@click.option(
    "--replicates", type=click.IntRange(100, 100_000), default=5000, show_default=True, help="Of the bootstrap."
)
@click.option("--machine", "machines", multiple=True, help="Only these machines.")
@year_option
@click.option("--ground-truth", type=EXISTING, help="Official ground-truth CSV(s) for clips without labels.")
@recording_option
@no_marks_option
@own_code_option
@workers_option
@click.option("-o", "--out", type=OUT_FOLDER, default="comparison", show_default=True, help="Folder of the results.")
@click.option("--json", "as_json", is_flag=True, help="The comparison as JSON on stdout.")
def compare(as_json: bool, **options: Any) -> None:
    """Compare systems by the labelled test clips of STORE; write compare.csv, compare.json and compare.svg to OUT.

    The differences of their official scores to the baseline are tested by a paired bootstrap, with Holm's correction.
    A choice by this table is a choice on the test set.
    """
    from ensemble.compare.files import comparison_json
    from ensemble.compare.request import CompareRequest
    from ensemble.compare.run import compare_to
    from ensemble.compare.text import comparison_text
    from ensemble.output import removed_if_empty
    from ensemble.request import Screen

    request = CompareRequest(**options)
    with Meter("members") as meter, removed_if_empty(request.out):
        screen = Screen(meter.say, meter.count("candidates"), meter.count("members"))
        comparison, files = compare_to(request, screen)
    if as_json:
        echo_json(comparison_json(comparison))
    else:
        echo(comparison_text(comparison))
    for note in comparison.notes:
        echo(f"note: {note}", err=True)
    echo(f"wrote {', '.join(map(str, files))}", err=True)
