"""`featstore train`: one typed request, one call, one line about the outcome."""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from featstore.console import EXISTING, PATH, Command, Meter, echo

if TYPE_CHECKING:
    from embedders.training.loop import TrainProgress


@click.command(cls=Command)
@click.argument("name")
@click.argument("data", type=EXISTING)
@click.option("-o", "--out", type=PATH, required=True, help="Checkpoint to write (.safetensors).")
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="KEY=VALUE",
    help="Setting of the embedder; loss.KEY: of its loss; pretrain.KEY: of its pretraining.",
)
@click.option("--layout", default="auto", show_default=True, help="Dataset layout, as for featstore build.")
@click.option("--machine", "machines", multiple=True, help="Only this machine; may be given several times.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu or cuda.")
@click.option("--threads", default=0, help="Threads that compute on a CPU.  [default: one per core]")
@click.option("--readers", default=2, show_default=True, type=click.IntRange(1), help="Threads that read recordings.")
def train(name: str, out: Path, **options: Any) -> None:
    """Train the embedder NAME on the normal training clips of DATA; run it again to resume after an interruption.

    Use the result with `featstore build DATA STORE -e NAME=CHECKPOINT`.
    """
    from embedders.training.request import TrainRequest, train_requested

    with Meter("steps") as meter:

        def show(p: "TrainProgress") -> None:
            held_out = f", held out before {p.held_out:.4g}" if math.isfinite(p.held_out) else ""
            meter.update(p.done, p.total, f", epoch {p.epoch} loss {p.loss:.4g}{held_out}")

        trained = train_requested(TrainRequest(name=name, out=out, **options), report=show)
    history = trained.facts["history"]
    kept = trained.facts["kept"]
    echo(
        f"{out}: {name}, {sum(t.numel() for t in trained.tensors.values()):,} parameters, {len(history)} epochs; kept "
        f"epoch {kept} with held-out loss {history[kept - 1]['held_out']:.4g} (first {history[0]['held_out']:.4g})"
    )
