"""The `featstore` command: parse, call, print. Heavy libraries load inside the command that needs them."""

import json
from pathlib import Path
from typing import Any

import click

from embedders.commands.models import models
from embedders.commands.train import train
from featstore.commands.build import build
from featstore.commands.download import download
from featstore.commands.shares import commit, plan
from featstore.console import Commands, Meter
from featstore.errors import StoreError

CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}
PATH = click.Path(path_type=Path)
EXISTING = click.Path(exists=True, path_type=Path)


class Featstore(Commands):
    """The commands that write a store resume."""

    after_interrupt = "; what was finished is kept, the same command goes on from there"


@click.group(cls=Featstore, context_settings=CONTEXT)
@click.version_option(package_name="featstore")
def main() -> None:
    """Turn recordings into embeddings once, and keep them in a feature store.

    \b
    featstore simulate plant                       a simulated plant to try things on
    featstore build plant store -e logmel -e twfr  embed every recording, resume, grow
    featstore info store                           what is in it
    detect store --ensemble                        score it

    Exit codes: 0 all well, 1 error, 2 usage, 3 finished but some recordings were rejected,
    4 store locked or damaged, 5 out of disk or memory, 130 interrupted.
    """


@main.command()
@click.argument("out", type=PATH)
@click.option("--clips", default=1200, show_default=True, help="Recordings in all, train and test, over all machines.")
@click.option("--machines", help="Comma-separated; default all six.")
@click.option("--seed", default=0, show_default=True)
@click.option("--seconds", default=10.0, show_default=True, help="Length of a recording.")
@click.option("--sample-rate", default=16000, show_default=True, help="Hz.")
@click.option("--workers", type=click.IntRange(0), help="Processes; default one per core.")
def simulate(out: Path, machines: str | None, workers: int | None, **options: Any) -> None:
    """Write a simulated plant (six machines, graded faults, two domains) to OUT in the DCASE 2023 layout."""
    from featstore.plant.simulate import Plant, simulate

    chosen = {"machines": tuple(machines.split(","))} if machines else {}
    plant = Plant(
        clips=options["clips"],
        seed=options["seed"],
        seconds=options["seconds"],
        sample_rate_hz=options["sample_rate"],
        **chosen,
    )
    meter = Meter("simulated clips")
    made = simulate(out, plant, workers=workers, progress=meter.update)
    meter.close()
    click.echo(f"{out}: simulated plant of {made.clips:,} recordings ({made.rendered:,} made now)")


@main.command()
@click.argument("data", type=EXISTING)
@click.option("--layout", default="auto", show_default=True)
@click.option("--ground-truth", type=EXISTING, help="Official ground-truth CSV(s) for evaluation clips.")
def scan(data: Path, layout: str, ground_truth: Path | None) -> None:
    """Say what DATA is taken for: layout, machines, sections, splits, labels; reads no sound, writes nothing."""
    from featstore.layouts.recognise import find_clips, summary

    listing = find_clips(data, layout, ground_truth=ground_truth)
    click.echo(f"{data}: layout {listing.layout}, {len(listing.clips):,} clips\n{summary(listing.clips)}")
    for note in listing.notes:
        click.echo(f"note: {note}", err=True)


@main.command()
@click.argument("store", type=EXISTING)
@click.option("--rejected", is_flag=True, help="List every rejected recording with its reason.")
@click.option("--json", "as_json", is_flag=True)
def info(store: Path, rejected: bool, as_json: bool) -> None:
    """What is in STORE, in one screen."""
    from featstore.store import FeatureStore
    from featstore.upkeep.describe import describe, rejected_text, screen

    opened = FeatureStore.open(store)
    if rejected:
        click.echo(rejected_text(opened))
    else:
        click.echo(json.dumps(describe(opened)) if as_json else screen(opened))


@main.command()
@click.argument("store", type=EXISTING)
@click.option("--json", "as_json", is_flag=True)
def verify(store: Path, as_json: bool) -> None:
    """Check every checksum, that every row is finite and every key unique; exit code 4 names what is damaged."""
    from featstore.upkeep.verify import verify

    problems = verify(store)
    if as_json:
        click.echo(json.dumps([{"file": problem.file, "what": problem.what} for problem in problems]))
    for problem in () if as_json else problems:
        click.echo(f"{problem.file}: {problem.what}")
    if problems:
        raise SystemExit(StoreError.exit_code)
    click.echo(f"{store}: intact", err=as_json)


@main.command()
@click.argument("store", type=EXISTING)
def repair(store: Path) -> None:
    """Take damaged shards out of STORE (they move to STORE/damaged); the next build makes their rows again."""
    from featstore.upkeep.repair import repair

    problems = repair(store)
    for problem in problems:
        click.echo(f"{problem.file}: {problem.what}")
    click.echo(
        f"{store}: {'build again to make the missing rows' if problems else 'intact, nothing to repair'}", err=True
    )


@main.command()
@click.argument("store", type=EXISTING)
@click.option("-e", "--embedding", required=True, help="Name of the embedding in the store.")
def drop(store: Path, embedding: str) -> None:
    """Remove one embedding from STORE with all its rows and rejections, and free its space."""
    from featstore.store import StoreWriter

    with StoreWriter(store) as writer:
        rows = writer.store.rows(embedding)
        writer.drop(embedding)
    click.echo(f"{store}: dropped {embedding} with {rows:,} rows")


@main.command()
@click.argument("store", type=EXISTING)
def compact(store: Path) -> None:
    """Merge small shards and drop superseded rows; published numbers stay the same."""
    from featstore.upkeep.compact import compact

    click.echo(f"{store}: {compact(store)}")


@main.command()
@click.argument("store", type=EXISTING)
@click.argument("out", type=PATH)
@click.option("-e", "--embedding", required=True, help="Name of the embedding in the store.")
@click.option("--to", "kind", type=click.Choice(["npz", "parquet", "csv"]), help="Default: by the suffix of OUT.")
def export(store: Path, out: Path, embedding: str, kind: str | None) -> None:
    """Write one embedding with its clips to OUT (npz, parquet or csv)."""
    from featstore.exchange.embeddings import export
    from featstore.store import FeatureStore

    rows = export(FeatureStore.open(store), embedding, out, to=kind or out.suffix.lstrip("."))
    click.echo(f"{out}: {rows:,} rows of {embedding}")


@main.command(name="import")
@click.argument("store", type=PATH)
@click.argument("arrays", type=EXISTING, nargs=-1, required=True)
@click.option("--as", "name", required=True, help="Name of the embedding in the store.")
@click.option("--manifest", type=EXISTING, help="CSV or Parquet with one row per row of the array.")
@click.option("--key", help="Name of the array inside an npz.")
def import_(store: Path, arrays: tuple[Path, ...], name: str, manifest: Path | None, key: str | None) -> None:
    """Take embeddings made elsewhere into STORE.

    ARRAYS: one npy or npz with --manifest, or npz files that describe their rows (exports, ASDKit extracts) or folders
    of them.
    """
    from featstore.exchange.embeddings import import_files

    rows = import_files(store, arrays, name, manifest=manifest, key=key)
    click.echo(f"{store}: {name} holds {rows:,} rows")


main.add_command(build)
main.add_command(plan)
main.add_command(commit)
main.add_command(models)
main.add_command(train)
main.add_command(download)

if __name__ == "__main__":
    main()
