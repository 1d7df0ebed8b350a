"""`detect archive`: k-NN scores of an archive of any size."""

import re
import sys
from typing import TYPE_CHECKING, Any

import click

from featstore.clip import path_tail
from featstore.console import (
    EXISTING,
    EXIT_REJECTED,
    OUT_FOLDER,
    Command,
    Meter,
    echo,
    echo_json,
    engine_options,
    note,
    table,
)
from featstore.terminal.shown import Block, block, counted

if TYPE_CHECKING:
    from ensemble.archive.parts import Top

SHOWN = 10
PARTS = ("machine", "section", "domain")


class Memory(click.ParamType):  # type: ignore[type-arg]
    """A number of bytes with a unit: 500MB, 2GB."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Bytes."""
        if isinstance(value, int):
            return value
        match = re.fullmatch(r"\s*(\d+\.?\d*)\s*([kMGT]?)B?\s*", value, re.ASCII)
        if match is None:
            self.fail(f"{value!r} is no size; write 500MB or 2GB", param, ctx)
        return int(float(match[1]) * 1000 ** " kMGT".index(match[2] or " "))


def _columns(ctx: click.Context, param: click.Parameter, value: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in value.split(",") if name.strip() and name.strip() != "none")
    unknown = [name for name in names if name not in PARTS]
    if unknown:
        raise click.BadParameter(f"{unknown[0]!r} is none of {', '.join(PARTS)}, or none for one bank")
    return names


@click.command(cls=Command)
@click.argument("reference", type=EXISTING)
@click.argument("archive", type=EXISTING)
@click.option("-e", "--embedding", help="NAME or NAME@VIEW; needed where a store holds several.")
@click.option(
    "-k",
    default=1,
    show_default=True,
    type=click.IntRange(1, 1000),
    help="Number of neighbours whose mean distance is taken.",
)
@click.option(
    "--per",
    default="machine,section",
    show_default=True,
    callback=_columns,
    help="What a clip and its normal clips share; none: nothing.",
)
@click.option(
    "--bank",
    default="training",
    show_default=True,
    type=click.Choice(["training", "all"]),
    help="Rows of REFERENCE to compare with: normal training clips, or every recording.",
)
@click.option(
    "--index", type=click.Choice(["ivf", "ivfpq", "hnsw"]), help="Approximate search by faiss, with measured recall."
)
@click.option(
    "--probes", type=click.IntRange(1), help="Effort of the approximate search: lists read, or rows considered (hnsw)."
)
@click.option("--top", default=1000, show_default=True, type=click.IntRange(0), help="Clips in top.csv.")
@click.option(
    "--memory",
    type=Memory(),
    default="2GB",
    show_default=True,
    help="Memory for rows of both stores, for each Ray worker.",
)
@click.option("--threads", type=click.IntRange(1), help="Threads.  [default: one per core; 1 for each Ray worker]")
@engine_options
@click.option(
    "-o", "--out", type=OUT_FOLDER, default="archive-scores", show_default=True, help="Folder of the results."
)
@click.option("--dry-run", is_flag=True, help="Print what would be read and searched; write nothing.")
@click.option("--json", "as_json", is_flag=True, help="The summary as JSON on stdout.")
def archive(dry_run: bool, as_json: bool, **options: Any) -> None:
    """Compute the distance of every clip of ARCHIVE from the nearest normal clips of its section in REFERENCE.

    The search is exact without --index; --memory and --threads do not change the results. These are written to Parquet
    files in OUT, one per 65,536 clips (fewer of many dimensions). Run the same command again to resume after an
    interruption, or after the archive has grown. Both stores may be the same one: no clip is compared with itself
    (`--bank all` compares all clips). Marks (`detect mark`) have no effect: normal clips are those of the data.
    """
    from ensemble.archive.request import ArchiveRequest, plan_text, search_archive

    request = ArchiveRequest(**options)
    if dry_run:
        echo(plan_text(request.opened()))
        return
    with Meter("clips") as meter:
        outcome = search_archive(request, say=note, progress=meter.update)
    if as_json:
        echo_json(outcome.summary)
    else:
        echo(_most_anomalous(outcome.top, request.bank))
    echo(f"wrote {counted(outcome.files, 'file')}, top.csv and archive.json to {request.out}", err=True)
    if outcome.top.unscored:
        echo(_unscored(outcome.top), err=True)
        sys.exit(EXIT_REJECTED)


def _unscored(top: "Top") -> str:
    where = ", ".join(f"{name} ({count:,})" for name, count in sorted(top.unscored.items())[:SHOWN])
    return f"{counted(sum(top.unscored.values()), 'clip')} without a bank of more than k rows: {where}"


def _most_anomalous(top: "Top", bank: str) -> Block:
    rows = [
        [
            path_tail(row["clip"], row["machine"]),
            f"{row['percentile']:.5f}",
            f"{row['score']:.4g}",
            path_tail(row["neighbour_1"], row["machine"]),
        ]
        for row in top.rows[:SHOWN]
    ]
    nearest = "nearest normal clip" if bank == "training" else "nearest clip"
    head = f"{counted(top.clips, 'clip')}; the {len(rows)} most anomalous of {len(top.rows):,} in top.csv:"
    return block(head, table(["clip", "percentile", "distance", nearest], rows))
