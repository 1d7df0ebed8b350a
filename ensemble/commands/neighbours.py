"""`detect neighbours`: the recordings of a store that are most similar to a recording."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ensemble.commands.options import embedder_option
from featstore.clip import SPLITS, path_tail
from featstore.console import EXISTING, Command, echo, echo_json, table

if TYPE_CHECKING:
    from ensemble.scoring.neighbours import Neighbour


@click.command(cls=Command)
@click.argument("store", type=EXISTING)
@click.argument("recording")
@click.option("-e", "--embedding", default="", help="NAME or NAME@VIEW [default: logmel@mean, or the first].")
@click.option("-k", type=click.IntRange(1), default=10, show_default=True, help="Number of recordings.")
@click.option("--machine", default="", help="Only recordings of this machine.")
@click.option("--split", type=click.Choice(SPLITS), default=None, help="Only recordings of this split.")
@embedder_option
@click.option("--json", "as_json", is_flag=True, help="JSON on stdout.")
def neighbours(store: Path, recording: str, as_json: bool, split: str | None, **options: Any) -> None:
    """List the recordings of STORE most similar to RECORDING, a file or a clip of it, with cosine distances.

    Marks (`detect mark`) have no effect: marked clips are listed too, with the split of the data.
    """
    from ensemble.scoring.neighbours import Search, neighbours
    from featstore.store import FeatureStore

    rows = neighbours(FeatureStore.open(store), recording, Search(split=split or "", **options))
    if as_json:
        echo_json([_json(row) for row in rows])
        return
    header = ["recording", "machine", "section", "split", "seconds", "cosine distance"]
    windows = any(row.query for row in rows)
    texts = [[*_texts(row), *([_span(*row.query)] if row.query else [""] * windows)] for row in rows]
    echo(table([*header, *(["like seconds"] if windows else [])], texts))


def _texts(row: "Neighbour") -> list[str]:
    clip = row.clip
    name = path_tail(clip.recording, clip.machine)
    return [name, clip.machine, clip.section, clip.split, _span(row.start_s, row.end_s), f"{row.distance:.6f}"]


def _span(start_s: float, end_s: float) -> str:
    return f"{start_s:g}-{end_s:g}"


def _json(row: "Neighbour") -> dict[str, Any]:
    end = None if row.end_s != row.end_s else row.end_s
    return {
        "clip": row.clip.recording,
        "machine": row.clip.machine,
        "section": row.clip.section,
        "split": row.clip.split,
        "start_s": row.start_s,
        "end_s": end,
        "distance": row.distance,
        "query": None if row.query is None else {"start_s": row.query.start_s, "end_s": row.query.end_s},
    }
