"""`featstore train`: settings from text, one call, one line about the outcome."""

import inspect
import math
import typing
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from featstore.console import Meter
from featstore.errors import DataError

if TYPE_CHECKING:
    from embedders.training.loop import TrainProgress
    from embedders.training.settings import Setup, Stage, TrainConfig

PATH = click.Path(path_type=Path)
EXISTING = click.Path(exists=True, path_type=Path)


@click.command()
@click.argument("name")
@click.argument("data", type=EXISTING)
@click.option("-o", "--out", type=PATH, required=True, help="Checkpoint to write (.safetensors).")
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="KEY=VALUE",
    help="Setting; also loss.KEY, pretrain.KEY.",
)
@click.option("--layout", default="auto", show_default=True, help="Dataset layout.")
@click.option("--machine", "machines", multiple=True, help="Only these machines.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu or cuda.")
@click.option("--threads", default=0, help="Threads that compute on a CPU; default as many as cores.")
@click.option("--readers", default=2, show_default=True, type=click.IntRange(1), help="Threads that read recordings.")
def train(name: str, data: Path, out: Path, settings: tuple[str, ...], **options: Any) -> None:
    """Train the embedder NAME on the normal training clips of DATA; run it again to go on after an interruption.

    Use the result with `featstore build DATA STORE -e NAME=CHECKPOINT`.
    """
    import torch

    from embedders.training.train import train
    from featstore.building.memory import keep_freed_memory
    from featstore.layouts.recognise import find_clips

    keep_freed_memory()
    if out.exists():
        raise DataError(f"{out}: exists and is not overwritten; take another name, or delete it first")
    if not out.parent.is_dir():
        raise DataError(f"{out.parent}: no such folder; make it first")
    try:
        setup = parse_setup(name, settings)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    if options["threads"]:
        torch.set_num_threads(options["threads"])
    device = ("cuda" if torch.cuda.is_available() else "cpu") if options["device"] == "auto" else options["device"]
    listing = find_clips(data, options["layout"])
    clips = [clip for clip in listing.clips if not options["machines"] or clip.machine in options["machines"]]
    meter = Meter("steps")

    def show(p: "TrainProgress") -> None:
        held_out = f", held out before {p.held_out:.4g}" if math.isfinite(p.held_out) else ""
        meter.update(p.done, p.total, f", epoch {p.epoch} loss {p.loss:.4g}{held_out}")

    try:
        trained = train(listing.root, clips, setup, out, device=device, threads=options["readers"], report=show)
    except ValueError as error:
        raise DataError(str(error)) from error
    meter.close()
    history = trained.facts["history"]
    kept = trained.facts["kept"]
    click.echo(
        f"{out}: {name}, {sum(t.numel() for t in trained.tensors.values()):,} numbers, {len(history)} epochs; kept "
        f"epoch {kept} with held-out loss {history[kept - 1]['held_out']:.4g} (first {history[0]['held_out']:.4g})"
    )


def parse_setup(name: str, settings: tuple[str, ...]) -> "Setup":
    """Settings KEY=VALUE sorted to network, training, loss and pre-training by their names; ValueError for others."""
    from embedders import _embedder_class
    from embedders.networks.trained import TrainedEmbedder
    from embedders.training.settings import Setup, TrainConfig

    kind = _embedder_class(name)
    if not issubclass(kind, TrainedEmbedder):
        raise ValueError(f"{name} is not trained: build with it at once, or train another embedder")
    items = [_split(item) for item in settings]
    before = [(key.removeprefix("pretrain."), text) for key, text in items if key.startswith("pretrain.")]
    plain = [(key, text) for key, text in items if not key.startswith(("pretrain.", "loss."))]
    network, other = _typed(plain, [_kinds(kind.config_type), _kinds(TrainConfig)])
    kind.config_type(**network)  # refuses what means nothing, at once
    config = TrainConfig(**other)
    loss = _loss_values(config.loss, items)
    return Setup(kind, network, config, loss, _pretraining(config, before) if before else None)


def _pretraining(config: "TrainConfig", items: list[tuple[str, str]]) -> "Stage":
    """Settings of a pre-training, without their prefix, beside those it shares with the training."""
    from embedders.training.settings import PRETRAIN, PRETRAIN_DEFAULTS, Stage, TrainConfig

    kinds = _kinds(TrainConfig)
    plain = [(key, text) for key, text in items if not key.startswith("loss.")]
    (own,) = _typed(plain, [{key: kinds[key] for key in PRETRAIN}])
    made = replace(config, **PRETRAIN_DEFAULTS | own)
    return Stage(made, _loss_values(made.loss, items))


def _split(item: str) -> tuple[str, str]:
    key, mark, text = item.partition("=")
    if not (mark and text):
        raise ValueError(f"--set {item}: expected KEY=VALUE")
    return key, text


def _typed(items: list[tuple[str, str]], tables: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Values of settings for each of some tables of names and types; the first that knows a name gets it."""
    from embedders import _unknown, _value

    found: list[dict[str, Any]] = [{} for _ in tables]
    for key, text in items:
        place = next((i for i, kinds in enumerate(tables) if key in kinds), None)
        if place is None:
            raise ValueError(_unknown("setting", key, [key for kinds in tables for key in kinds]))
        try:
            found[place][key] = _value(text, tables[place][key])
        except (ValueError, KeyError):
            raise ValueError(f"--set {key}={text}: expected {tables[place][key]}") from None
    return found


def _kinds(table: type) -> dict[str, Any]:
    hints = typing.get_type_hints(table)
    return {field.name: hints[field.name] for field in fields(table)}


def _loss_values(name: str, items: list[tuple[str, str]]) -> dict[str, Any]:
    """Parameters of a loss among settings, as loss.KEY, typed by their defaults."""
    from embedders import _unknown, _value
    from embedders.losses.table import loss_parameters

    known = loss_parameters(name)
    values = {}
    for key, text in items:
        if not key.startswith("loss."):
            continue
        key = key.removeprefix("loss.")
        if key not in known:
            raise ValueError(_unknown(f"parameter of loss {name}", key, known))
        default = known[key]
        kind = int if default is inspect.Parameter.empty else type(default)  # what has no default is a count
        try:
            values[key] = _value(text, kind if kind in (bool, int, float, str) else float)
        except (ValueError, KeyError):
            raise ValueError(f"--set loss.{key}={text}: expected {kind.__name__}") from None
    return values
