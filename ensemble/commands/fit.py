"""`detect fit`: a fitted model in one file."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ensemble.commands.options import recipe_options
from featstore.console import EXISTING, PATH, Command, Meter, size, table

if TYPE_CHECKING:
    from ensemble.scoring.model import Model


@click.command(cls=Command)
@click.argument("store", type=EXISTING)
@click.option("-o", "--out", type=PATH, default="plant.model", show_default=True, help="Model file to write.")
@recipe_options
@click.option(
    "--embedder",
    "embedders",
    multiple=True,
    metavar="NAME=CHECKPOINT",
    help="The -e of `featstore build` that made an embedding with weights.",
)
@click.option(
    "--weights",
    type=click.Choice(["inside", "outside"]),
    help="Keep weights in the model, or only their SHA-256 [default: inside up to 512 MiB].",
)
@click.option("--json", "as_json", is_flag=True, help="Summary as JSON on stdout.")
def fit(store: Path, out: Path, embedders: tuple[str, ...], weights: str | None, as_json: bool, **options: Any) -> None:
    """Fit an ensemble to STORE and write everything that scores a new recording to one file.

    Fits the ensemble of --ensemble where neither members nor a recipe are named.
    """
    from dataclasses import replace

    from ensemble.request import RunRequest, Screen
    from ensemble.scoring.requests import FitRequest, fit_to

    request = RunRequest(**options)
    if not request.names_members:
        request = replace(request, ensemble=True)
    inside = None if weights is None else weights == "inside"
    asked = FitRequest(store=store, out=out, embedders=embedders, inside=inside)
    with Meter("members") as meter:
        screen = Screen(meter.say, meter.count("candidates"), meter.count("members"))
        model, notes = fit_to(asked, request, screen)
    for note in notes:
        click.echo(f"note: {note}", err=True)
    _print(model, out, as_json)


def _print(model: "Model", out: Path, as_json: bool) -> None:
    """The sections with their thresholds on stdout."""
    rows = [
        {"machine": machine, "section": section, "domain": domain, "training_clips": n, "threshold": value}
        for (machine, section, domain), (n, value) in model.fitted.thresholds().items()
    ]
    if as_json:
        members = [member.name for member in model.fitted.recipe.members]
        summary = {"model": str(out), "bytes": out.stat().st_size, "members": members, "sections": rows}
        click.echo(json.dumps(summary))
    else:
        header = ["machine", "section", "domain", "reference clips", "threshold"]
        texts = [[*list(row.values())[:4], f"{row['threshold']:.4f}"] for row in rows]
        click.echo(table(header, texts, text_columns=3))
    fitted = model.fitted
    parts = f"{len(fitted.recipe.members)} members, {len(model.sections)} sections, {len(fitted.train):,} clips"
    click.echo(f"wrote {out} ({parts}, {size(out.stat().st_size)}); `detect score {out} FILE` scores with it", err=True)
