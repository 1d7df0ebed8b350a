"""`detect select`: an ensemble chosen by generated anomalies."""

from typing import Any

import click

from ensemble.commands.options import EXTERNAL, group_option, no_marks_option, own_code_option
from featstore.console import EXISTING, OUT_FILE, PATH, Command, Meter, echo, echo_json, note, workers_option


@click.command(cls=Command)
@click.argument("store", type=EXISTING)
@click.option("-o", "--out", type=OUT_FILE, default="recipe.toml", show_default=True, help="Recipe to write.")
@click.option("--grid", type=EXISTING, help="TOML file of candidates.  [default: some dozen detectors on every view]")
@click.option("-e", "--embedding", "embeddings", multiple=True, help="NAME, NAME@VIEW or NAME@MIX.  [default: all]")
@click.option("--cache", type=PATH, help="Folder for the scores of candidates [default: selection-cache beside OUT].")
@click.option(
    "--rule",
    default="agreement",
    show_default=True,
    help="How anomaly types and strengths are weighted: agreement, average or best.",
)
@click.option(
    "--scores",
    "external",
    type=EXISTING,
    multiple=True,
    help=f"{EXTERNAL} may be chosen, if it scores training clips and generated anomalies too.",
)
@click.option(
    "--faults",
    type=EXISTING,
    help="CSV of clip,label (fault or normal) that a person confirmed; used with the generated anomalies.",
)
@click.option("--perturb", is_flag=True, help="Choose by perturbed embeddings, which need no audio.")
@click.option("--ranker", is_flag=True, help="Evaluate a learned fusion (LightGBM) beside the others; never chosen.")
@click.option(
    "--replicates", type=click.IntRange(20), default=300, show_default=True, help="Number of bootstrap resamples."
)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Seed of the random numbers.")
@click.option(
    "--race/--no-race",
    default=True,
    show_default=True,
    help="Where scoring takes long, first score a fifth of the clips and drop candidates that are clearly behind.",
)
@no_marks_option
@own_code_option
@group_option
@click.option(
    "--domains",
    type=click.Choice(["predicted", "pooled"]),
    default="predicted",
    show_default=True,
    help="Score candidates with or without the correction for the predicted domain.",
)
@click.option("--strategy", default="", help="Use this strategy, such as 'best single', even if another one is better.")
@click.option("--machine", "machines", multiple=True, help="Choose for these machines only.")
@workers_option
@click.option("--json", "as_json", is_flag=True, help="The report as JSON on stdout.")
def select(as_json: bool, **options: Any) -> None:
    """Choose members and fusion by the generated anomalies of STORE; write OUT and selection.json beside it.

    Where STORE has no generated anomalies, --perturb makes anomalies from the embeddings themselves.
    """
    from ensemble.request import SelectRequest
    from ensemble.results import select_to
    from ensemble.selection.summary import selection_json, selection_text

    request = SelectRequest(**options)
    with Meter("candidates") as meter:
        selection, files = select_to(request, say=note, progress=meter.update)
    if as_json:
        echo_json(selection_json(selection))
    else:
        echo(selection_text(selection))
    names = ", ".join(map(str, files))
    echo(f"wrote {names}; run it: detect {request.store} --recipe {request.out}", err=True)
