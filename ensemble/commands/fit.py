"""`detect fit`: a fitted model in one file."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from ensemble.commands.options import embedder_option, recipe_options
from featstore.console import EXISTING, OUT_FILE, Command, Meter, echo, echo_json, size, table
from featstore.terminal.shown import counted

if TYPE_CHECKING:
    from ensemble.fitting.update import Change
    from ensemble.scoring.model import Model
    from ensemble.scoring.requests import Update


@click.command(cls=Command)
@click.argument("store", type=EXISTING)
@click.option("-o", "--out", type=OUT_FILE, help="Model file to write [default: plant.model, or that of --update].")
@click.option("--update", type=EXISTING, help="Model to which the new training clips of STORE are added.")
@recipe_options
@embedder_option
@click.option(
    "--weights",
    type=click.Choice(["inside", "outside"]),
    help="Keep weights in the model, or only their SHA-256 [default: inside up to 512 MiB].",
)
@click.option("--json", "as_json", is_flag=True, help="Summary as JSON on stdout.")
@click.pass_context
def fit(context: click.Context, /, store: Path, out: Path | None, update: Path | None, **options: Any) -> None:
    """Fit an ensemble to STORE and write everything that is needed to score new recordings to one file.

    \b
    detect fit STORE -o plant.model              the ensemble of --ensemble
    detect fit --update plant.model STORE        add the new training clips of STORE, with the same members

    --update prints every threshold, and the share of the generated anomalies of STORE above it, before and after.
    """
    from ensemble.request import RunRequest, Screen
    from ensemble.scoring.requests import FitRequest, fit_to, update_to

    as_json, embedders, weights = (options.pop(name) for name in ("as_json", "embedders", "weights"))
    if update:
        _refuse_members(context)
        with Meter("members") as meter:
            screen = Screen(meter.say, meter.count("candidates"), meter.count("members"))
            result = update_to(update, store, out or update, workers=options["workers"], screen=screen)
        _print_update(result, out or update, as_json)
        return
    request = RunRequest(**options)
    out = out or Path("plant.model")
    fit_request = FitRequest(
        store=store, out=out, embedders=embedders, inside=None if weights is None else weights == "inside"
    )
    with Meter("members") as meter:
        screen = Screen(meter.say, meter.count("candidates"), meter.count("members"))
        model, notes = fit_to(fit_request, request, screen)
    for note in notes:
        echo(f"note: {note}", err=True)
    _print(model, out, as_json)


KEPT = {"store", "out", "update", "workers", "as_json"}
"""Options that an update takes; everything else is as the model has it."""


def _refuse_members(context: click.Context) -> None:
    for parameter in context.command.params:
        given = context.get_parameter_source(parameter.name or "") is ParameterSource.COMMANDLINE
        if given and parameter.name not in KEPT:
            raise click.UsageError(
                f"--update keeps the members and decisions of the model; leave {parameter.opts[0]} out"
            )


def _print_update(update: "Update", out: Path, as_json: bool) -> None:
    """Print thresholds and shares of generated anomalies, before and after, on stdout."""
    for note in update.notes:
        echo(f"note: {note}", err=True)
    if as_json:
        rows = [{name: _known(value) for name, value in asdict(change).items()} for change in update.changes]
        echo_json({"model": str(out), "new_clips": update.new, "sections": rows})
    elif update.changes:
        header = ["machine", "section", "domain", "reference clips", "threshold", "anomalies", "found"]
        echo(table(header, [_texts(change) for change in update.changes], text_columns=3))
    for text in _warnings(update.changes):
        echo(f"warning: {text}", err=True)
    done = f"{counted(update.new, 'new training clip')}; wrote {out}"
    echo(done if update.changes else f"no new training clips; {out} is as the model was", err=True)


def _warnings(changes: Sequence["Change"]) -> Iterator[str]:
    """What of an update needs a look before the model is used."""
    for change in changes:
        place = " ".join(filter(None, [change.machine, "section", change.section, change.domain]))
        if change.found[1] < change.found[0] - LOST:
            share = " to ".join(f"{100 * value:.0f} %" for value in change.found)
            yield f"{place}: fewer of the generated anomalies are found, from {share}"
        if isnan(change.threshold[1]):
            yield f"{place}: no longer has a threshold of its own; do the new clips have other domains or sections?"
    if changes and not any(change.anomalies for change in changes):
        yield (
            "whether generated anomalies are still found is unknown: the store has none of recordings that both models "
            "hold; update from the store of the model, with its anomalies, to compare"
        )


LOST = 0.02
"""Loss in the share of generated anomalies found from which an update warns."""


def _texts(change: "Change") -> list[str]:
    clips, threshold = (f"{a} -> {b}" for a, b in (change.clips, tuple(f"{value:.4f}" for value in change.threshold)))
    found = " -> ".join(f"{100 * value:.0f} %" for value in change.found) if change.anomalies else "-"
    return [change.machine, change.section, change.domain, clips, threshold, f"{change.anomalies:,}", found]


def _known(value: Any) -> Any:
    """The value with None for NaN, which JSON does not have."""
    if isinstance(value, tuple):
        return [_known(item) for item in value]
    return None if isinstance(value, float) and isnan(value) else value


def _print(model: "Model", out: Path, as_json: bool) -> None:
    """Print the sections with their thresholds on stdout."""
    rows = [
        {"machine": machine, "section": section, "domain": domain, "training_clips": n, "threshold": value}
        for (machine, section, domain), (n, value) in model.fitted.thresholds().items()
    ]
    if as_json:
        members = [member.name for member in model.fitted.recipe.members]
        summary = {"model": str(out), "bytes": out.stat().st_size, "members": members, "sections": rows}
        echo_json(summary)
    else:
        header = ["machine", "section", "domain", "reference clips", "threshold"]
        texts = [[*list(row.values())[:4], f"{row['threshold']:.4f}"] for row in rows]
        echo(table(header, texts, text_columns=3))
    fitted = model.fitted
    parts = f"{counted(len(fitted.recipe.members), 'member')}, {counted(len(model.sections), 'section')}"
    parts += f", {counted(len(fitted.train), 'clip')}"
    echo(f"wrote {out} ({parts}, {size(out.stat().st_size)}); `detect score {out} FILE` scores with it", err=True)
