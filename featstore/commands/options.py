"""Options and progress that `featstore build` and `featstore plan` share."""

import os
from collections.abc import Callable
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from featstore import registry
from featstore.building.default import DEFAULT
from featstore.console import EXISTING, Meter, together

if TYPE_CHECKING:
    from featstore.building.units import Progress


def _go_offline(context: click.Context, option: click.Parameter, chosen: bool) -> None:
    if chosen:
        os.environ["HF_HUB_OFFLINE"] = "1"  # worker processes and the hub's own library read it too


listing_options = together(
    click.option("--layout", default="auto", show_default=True, help=f"auto, {', '.join(registry.names('layout'))}."),
    click.option("--ground-truth", type=EXISTING, help="Official ground-truth CSV(s) for evaluation clips."),
    click.option("--machine", "machines", multiple=True, help="Only this machine; may be given several times."),
)
"""Which recordings are meant."""

part_options = together(
    click.option(
        "--channel",
        default="0",
        show_default=True,
        help="0, 1, ..., mean, 0+1 (their mean), or 0-1: channel 0 minus what channel 1 predicts of it; 0,1,0-1: each "
        "of them, as views.",
    ),
    click.option(
        "--window",
        type=float,
        metavar="S",
        help="Cut recordings longer than S seconds into windows of S seconds, from its start; one more "
        "covers the rest and ends where the recording ends.",
    ),
    click.option("--hop", type=float, metavar="S", help="Seconds between starts of windows [default: half a window]."),
    click.option("--length", help="Length of a clip: native, crop:S, pad:S or tile:S, in seconds [default: native]."),
    click.option(
        "--max-seconds", default=600.0, show_default=True, help="Longer native recordings and windows are rejected."
    ),
)
"""Which channel and which part of a recording is used."""

planned_options = together(
    click.option(
        "-e",
        "--embedder",
        "specs",
        multiple=True,
        help="NAME[:key=value,...], NAME=CHECKPOINT or MODULE:CLASS, may be given several times; NAME is "
        f"{', '.join(registry.names('embedder'))} [default: those of the store, or {' and '.join(DEFAULT)}].",
    ),
    click.option("--as", "rename", help="Name of the embedding in the store (with a single -e)."),
    listing_options,
    click.option(
        "--anomalies",
        metavar="auto|none|N[:KIND,...][@DB,...][~DB]",
        help="Generate anomalies from training clips, for `detect select`: auto (as many as a time budget allows), "
        "none, or at least N for each training clip, of the KINDs at the strengths @DB, with ~DB at the other "
        "microphones [default: auto without -e, none with -e].",
    ),
    click.option(
        "--recorded-anomalies", type=EXISTING, help="Folder of recorded anomalies to mix in, with captions.csv."
    ),
    click.option(
        "--described-faults",
        type=EXISTING,
        help="CSV of machine,fault: faults in words, which are generated as anomalies.",
    ),
    click.option(
        "--fault-reader", type=EXISTING, help="Folder of a local text model that reads the words [built-in rules]."
    ),
    click.option(
        "--translated-faults",
        type=EXISTING,
        help="Checkpoint of `featstore train stargan`, which transfers confirmed faults to other clips.",
    ),
    part_options,
    click.option("--unit-clips", default=512, show_default=True, type=click.IntRange(1), help="Clips per shard."),
    click.option("--device", default="auto", show_default=True, help="auto, cpu or cuda."),
    click.option(
        "--dtype",
        type=click.Choice(["float32", "float16"]),
        default="float32",
        show_default=True,
        help="Number type of the stored embeddings.",
    ),
    click.option(
        "--offline",
        is_flag=True,
        expose_value=False,
        callback=_go_offline,
        help="Never contact the Hugging Face hub (HF_HUB_OFFLINE=1).",
    ),
    click.option("--rehash", is_flag=True, help="Detect changed recordings by content instead of size and time."),
    click.option("--retry-rejected", is_flag=True, help="Read recordings again that were rejected before."),
    click.option("--prune", is_flag=True, help="Remove rows whose recording is no longer in DATA."),
)
"""What `build` and `plan` embed, and as what; the fields of featstore.building.request.BuildRequest."""


def flags(context: click.Context) -> dict[str, str]:
    """The options given on this command line: their names and flags."""
    return {
        parameter.name: parameter.opts[0]
        for parameter in context.command.params
        if parameter.name and context.get_parameter_source(parameter.name) is ParameterSource.COMMANDLINE
    }


def progress_of(meter: Meter) -> "Callable[[Progress], None]":
    """What shows the progress of a build."""

    def update(progress: "Progress") -> None:
        extra = f", {progress.rejected} rejected" if progress.rejected else ""
        meter.update(progress.done, progress.total, extra, audio_s=progress.audio_s)

    return update
