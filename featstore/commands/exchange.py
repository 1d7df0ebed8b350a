"""`featstore export` and `import`: embeddings out of a store, and embeddings made elsewhere into one."""

from pathlib import Path
from typing import Any

import click

from featstore.console import EXISTING, PATH, Command, echo, note
from featstore.terminal.shown import counted


@click.command(cls=Command)
@click.argument("store", type=EXISTING)
@click.argument("out", type=PATH)
@click.option("-e", "--embedding", required=True, help="Name of the embedding in the store.")
@click.option("--to", "kind", type=click.Choice(["npz", "parquet", "csv", "hf"]), help="Default: by the suffix of OUT.")
def export(store: Path, out: Path, embedding: str, kind: str | None) -> None:
    """Write one embedding with its clips to OUT: a file (npz, parquet, csv), or a new folder of Hugging Face (hf).

    \b
    npz      numpy.load(OUT); no pickle
    parquet  pandas, Arrow, Lance, DuckDB; the embedding is a list of fixed size
    csv      any program
    hf       datasets.load_from_disk(OUT); needs the extra hf
    """
    from featstore.exchange.embeddings import export
    from featstore.store import FeatureStore

    rows = export(FeatureStore.open(store), embedding, out, to=kind or out.suffix.lstrip("."))
    echo(f"{out}: {counted(rows, 'row')} of {embedding}")


@click.command(cls=Command, name="import")
@click.argument("store", type=PATH)
@click.argument("arrays", type=EXISTING, nargs=-1, required=True)
@click.option("--as", "name", required=True, help="Name of the embedding in the store.")
@click.option(
    "--manifest",
    type=EXISTING,
    help="CSV or Parquet that describes the rows: one line per row, or where ARRAYS has paths, one per recording.",
)
@click.option(
    "--key", help="Name of the array, column or data set; of numbered columns e0, e1, ... the name without number."
)
@click.option("--root", type=PATH, help="Folder that paths are relative to; cut off absolute ones. [folder of ARRAYS]")
def import_(store: Path, arrays: tuple[Path, ...], name: str, **options: Any) -> None:
    """Add embeddings made elsewhere to STORE.

    ARRAYS: files of numpy, Parquet, CSV, HDF5, safetensors or PyTorch, exports of featstore, Hoplite databases, or
    folders of ASDKit, BirdNET or Hugging Face. Rows are described by columns or arrays in the file, or by --manifest.
    """
    from featstore.exchange.embeddings import import_files

    rows = import_files(store, arrays, name, say=note, **options)
    echo(f"{store}: {counted(rows, 'row')} imported as {name}")
