"""`featstore info`, `verify`, `repair`, `compact` and `drop`: care of a store."""

from pathlib import Path

import click

from featstore.console import EXISTING, Command, echo, echo_json
from featstore.errors import StoreError
from featstore.terminal.shown import counted


@click.command(cls=Command)
@click.argument("store", type=EXISTING)
@click.option("--rejected", is_flag=True, help="List every rejected recording with its reason.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def info(store: Path, rejected: bool, as_json: bool) -> None:
    """Print what is in STORE, in one screen."""
    from featstore.store import FeatureStore
    from featstore.upkeep.describe import describe, rejected_text, screen

    opened = FeatureStore.open(store)
    if rejected:
        echo(rejected_text(opened))
    elif as_json:
        echo_json(describe(opened))
    else:
        echo(screen(opened))


@click.command(cls=Command)
@click.argument("store", type=EXISTING)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def verify(store: Path, as_json: bool) -> None:
    """Check every checksum, that every row is finite and every key unique; exit code 4 if anything is damaged."""
    from featstore.upkeep.verify import verify

    problems = verify(store)
    if as_json:
        echo_json([{"file": problem.file, "what": problem.what} for problem in problems])
    for problem in () if as_json else problems:
        echo(f"{problem.file}: {problem.what}")
    if problems:
        raise SystemExit(StoreError.exit_code)
    echo(f"{store}: intact", err=as_json)


@click.command(cls=Command)
@click.argument("store", type=EXISTING)
def repair(store: Path) -> None:
    """Move damaged shards of STORE to STORE/damaged; the next build computes their rows again."""
    from featstore.upkeep.repair import repair

    problems = repair(store)
    for problem in problems:
        echo(f"{problem.file}: {problem.what}")
    echo(f"{store}: {'build again to make the missing rows' if problems else 'intact, nothing to repair'}", err=True)


@click.command(cls=Command)
@click.argument("store", type=EXISTING)
def compact(store: Path) -> None:
    """Merge small shards and remove replaced rows; results stay the same."""
    from featstore.upkeep.compact import compact

    echo(f"{store}: {compact(store)}")


@click.command(cls=Command)
@click.argument("store", type=EXISTING)
@click.option("-e", "--embedding", required=True, help="Name of the embedding in the store.")
def drop(store: Path, embedding: str) -> None:
    """Remove one embedding from STORE with all its rows and rejections, and free its space."""
    from featstore.store import StoreWriter

    with StoreWriter(store) as writer:
        rows = writer.store.rows(embedding)
        writer.drop(embedding)
    echo(f"{store}: dropped {embedding} with {counted(rows, 'row')}")
