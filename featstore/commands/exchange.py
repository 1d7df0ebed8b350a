"""`featstore export` and `import`: embeddings out of a store, and embeddings made elsewhere into one."""

from pathlib import Path

import click

from featstore.console import EXISTING, PATH, Command, echo
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
@click.option("--manifest", type=EXISTING, help="CSV or Parquet with one row per row of the array.")
@click.option("--key", help="Name of the array inside an npz.")
def import_(store: Path, arrays: tuple[Path, ...], name: str, manifest: Path | None, key: str | None) -> None:
    """Add embeddings made elsewhere to STORE.

    ARRAYS: one npy or npz with --manifest, or npz files that describe their rows (exports, ASDKit extracts) or folders
    of them.
    """
    from featstore.exchange.embeddings import import_files

    rows = import_files(store, arrays, name, manifest=manifest, key=key)
    echo(f"{store}: {name} holds {counted(rows, 'row')}")
