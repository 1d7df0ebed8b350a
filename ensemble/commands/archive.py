"""`detect archive`: options to a job, progress, and the strangest clips."""

import csv
import io
import json
import os
import re
import signal
import sys
import threading
from dataclasses import asdict
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any

import click

from ensemble.commands.members import EXISTING
from featstore.building.memory import keep_freed_memory
from featstore.clip import path_tail
from featstore.console import EXIT_REJECTED, Meter, check_engine, ray_options, size, table
from featstore.disk.files import explained, read_regular, write_new
from featstore.errors import DataError, RequestError

if TYPE_CHECKING:
    from collections.abc import Callable

    from ensemble.archive.parts import Scored, Top
    from ensemble.archive.rows import Unit
    from ensemble.archive.run import ArchiveRun

SHOWN = 10
SUMMARY, TOP = "archive.json", "top.csv"
SETTINGS = ("embedding", "k", "per", "bank", "index", "probes")
STORES = ("reference", "archive")
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


@click.command()
@click.argument("reference", type=EXISTING)
@click.argument("archive", type=EXISTING)
@click.option("-e", "--embedding", help="NAME or NAME@VIEW; needed where a store holds several.")
@click.option("-k", default=1, show_default=True, type=click.IntRange(1, 1000), help="Neighbours whose mean counts.")
@click.option(
    "--per", default="machine,section", show_default=True, callback=_columns, help="What shares a bank; none = all."
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
@click.option("--probes", type=click.IntRange(1), help="How hard an index tries: lists read, or rows in sight (hnsw).")
@click.option("--top", default=1000, show_default=True, type=click.IntRange(0), help="Clips in top.csv.")
@click.option(
    "--memory", type=Memory(), default="2GB", show_default=True, help="For banks and blocks; of each Ray worker."
)
@click.option("--threads", type=click.IntRange(1), help="Default: the cores; of each Ray worker, 1.")
@ray_options
@click.option("-o", "--out", type=click.Path(path_type=Path), default="archive-scores", show_default=True)
@click.option("--dry-run", is_flag=True, help="Say what would be read and searched.")
@click.option("--json", "as_json", is_flag=True, help="The summary as JSON on stdout.")
def archive(reference: Path, archive: Path, out: Path, **options: Any) -> None:
    """Distance of every clip of ARCHIVE from the nearest normal clips of REFERENCE, of its machine and section.

    Exact without --index, and the same to the last digit whatever --memory and --threads. Results stream to Parquet
    files in OUT, one per 65,536 clips (fewer of many dimensions): run the same command again to go on after an
    interruption, or after the archive has grown. The two stores may be one: no clip is compared with itself (`--bank
    all` makes a self-join).
    """
    from ensemble.archive.parts import Top, one_writer, remove_stale
    from ensemble.archive.run import ArchiveJob, ArchiveRun, Resources

    check_engine(options)
    if options["probes"] and not options["index"]:
        raise click.UsageError("--probes is a setting of --index")
    if options["index"] and options["engine"] == "ray":
        raise click.UsageError("--index is one process's to train and to measure; it goes without --engine ray")
    chosen = {name: options[name] for name in SETTINGS}
    job = ArchiveJob(str(reference.resolve()), str(archive.resolve()), **{**chosen, "index": chosen["index"] or ""})
    run = ArchiveRun(job, Resources(options["memory"], options["threads"] or _cores(options["engine"])))
    if options["dry_run"]:
        click.echo(_plan(run))
        return
    earlier = _claim(out, run)
    keep_freed_memory()  # every unit asks for what the one before has freed
    started, top, meter = monotonic(), Top(options["top"]), Meter("clips")
    total = sum(unit.rows for unit in run.units)

    def done(unit: "Unit", scored: "Scored | None" = None) -> None:
        top.take(out / unit.file, scored)
        stop.check()
        meter.update(top.clips, max(total, top.clips))

    with one_writer(out), Interruption() as stop:
        if options["engine"] == "ray":
            _score_on_cluster(options["address"], run, out, done)
        else:
            run.score(run.units, out, done)
        meter.close()
        remove_stale(out, run.units)
    estimates = {**earlier, **(run.indexes.estimates() if run.indexes else {})}
    for note in run.notes:
        click.echo(f"note: {note}", err=True)
    _write_top(out / TOP, top, job.k)
    summary = {
        **asdict(run.job),
        "finished": True,
        "clips": top.clips,
        "unscored": top.unscored,
        "files": [unit.file for unit in run.units],
        "estimates": estimates,
        "seconds": round(monotonic() - started, 3),
    }
    _write_json(out / SUMMARY, summary)
    click.echo(json.dumps(summary) if options["as_json"] else _shown(top, job.bank))
    click.echo(f"wrote {len(run.units)} files, top.csv and archive.json to {out}", err=True)
    if top.unscored:
        click.echo(_unscored(top), err=True)
        sys.exit(EXIT_REJECTED)


def _unscored(top: "Top") -> str:
    where = ", ".join(f"{name} ({count:,})" for name, count in sorted(top.unscored.items())[:SHOWN])
    return f"{sum(top.unscored.values()):,} clips have no bank of more than k rows: {where}"


class Interruption:
    """Ctrl-C ends a run after the unit at work, as an exception amid a library's callbacks is lost; twice, at once."""

    def __enter__(self) -> "Interruption":
        """Listen, where signals can be listened to."""
        self.asked = False
        self._before: Any = None
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGINT, self._ask)
        return self

    def __exit__(self, *error: object) -> None:
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)

    def check(self) -> None:
        """KeyboardInterrupt when it was asked for."""
        if self.asked:
            raise KeyboardInterrupt

    def _ask(self, number: int, frame: object) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True
        click.echo("stopping after this unit; once more stops at once", err=True)


def _cores(engine: str) -> int:
    """Threads of one process: on Ray there is one of them for every core."""
    return 1 if engine == "ray" else len(os.sched_getaffinity(0))


def _score_on_cluster(address: str | None, run: "ArchiveRun", out: Path, done: "Callable[[Unit], None]") -> None:
    from ensemble.archive.on_ray import score_on_cluster
    from featstore.distributed.ray_cluster import cluster

    with cluster(address):
        score_on_cluster(run, out, done)


def _claim(out: Path, run: "ArchiveRun") -> dict[str, Any]:
    """Make OUT, or refuse one that holds results of another job; what its indexes were measured to be worth."""
    if (out / "manifest").exists() or (out.exists() and not out.is_dir()):
        raise RequestError(f"{out} is {'a store' if out.is_dir() else 'a file'}; choose a folder of its own with -o")
    out.mkdir(parents=True, exist_ok=True)
    record, job = out / SUMMARY, json.loads(json.dumps(asdict(run.job)))
    if not record.exists():
        if (out / TOP).exists():
            raise RequestError(f"{out / TOP} is not of an archive run and would be lost; choose another folder with -o")
        _write_json(record, {**job, "finished": False})
        return {}
    begun = any((out / unit.file).exists() for unit in run.units)  # then it is this run, wherever the stores are now
    try:
        earlier = json.loads(read_regular(record, 1 << 26))
        differing = [name for name in job if earlier[name] != job[name] and not (begun and name in STORES)]
        estimates = dict(earlier.get("estimates", {}))
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{record} is not the record of an archive run; choose another folder with -o") from error
    if differing and not any(out.glob("part-*.parquet")):
        _write_json(record, {**job, "finished": False})  # a run that ended before it had results claims nothing
        return {}
    if differing:
        name = differing[0]
        raise RequestError(
            f"{out} holds results made with {name}={earlier[name]}, now it is {job[name]}; choose another with -o"
        )
    return estimates


def _write_json(path: Path, content: dict[str, Any]) -> None:
    with explained(str(path), 1 << 16, path.parent):
        write_new(path, (json.dumps(content, indent=1) + "\n").encode())


def _write_top(path: Path, top: "Top", k: int) -> None:
    names = ["clip", "machine", "section", "score", "percentile"]
    names += [f"{name}_{i + 1}" for i in range(k) for name in ("neighbour", "distance")]
    text = io.StringIO()
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(top.rows)
    with explained(str(path), len(text.getvalue()), path.parent):
        write_new(path, text.getvalue().encode())


def _plan(run: "ArchiveRun") -> str:
    """What a run would read, in words."""
    from detectors.search.quantised import bytes_per_row

    reference, archive = run.reference, run.archive
    rows = sum(unit.rows for unit in run.units)
    stored = sum(entry.bytes for unit in run.units for entry in unit.entries)
    bank = reference.store.rows(reference.embedding)
    return (
        f"{rows:,} rows of {archive.d} dimensions ({size(stored)}) in {len(run.units)} units against at most {bank:,} "
        f"rows of the reference ({size(bank * bytes_per_row(archive.d))} in memory)"
    )


def _shown(top: "Top", bank: str) -> str:
    rows = [
        [
            path_tail(row["clip"]),
            f"{row['percentile']:.5f}",
            f"{row['score']:.4g}",
            path_tail(row["neighbour_1"]),
        ]
        for row in top.rows[:SHOWN]
    ]
    nearest = "nearest normal clip" if bank == "training" else "nearest clip"
    head = f"{top.clips:,} clips; the {len(rows)} strangest of {len(top.rows):,} in top.csv:"
    return f"{head}\n{table(['clip', 'percentile', 'distance', nearest], rows)}"
