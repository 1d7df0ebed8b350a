"""The folder of an archive run: its record, whether it belongs to this run, and the table of the top clips."""

import csv
import io
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ensemble.archive.parts import Top
from ensemble.archive.run import ArchiveRun
from featstore.disk.files import explained, read_regular, write_new
from featstore.errors import DataError, RequestError

SUMMARY, TOP = "archive.json", "top.csv"
STORES = ("reference", "archive")


def claim(out: Path, run: ArchiveRun) -> dict[str, Any]:
    """Make `out`, or refuse one that holds results of another job; the measured estimates of its indexes."""
    if (out / "manifest").exists() or (out.exists() and not out.is_dir()):
        raise RequestError(f"{out} is {'a store' if out.is_dir() else 'a file'}; choose a folder of its own with -o")
    out.mkdir(parents=True, exist_ok=True)
    record, job = out / SUMMARY, json.loads(json.dumps(asdict(run.job)))
    if not record.exists():
        if (out / TOP).exists():
            raise RequestError(f"{out / TOP} is not of an archive run and would be lost; choose another folder with -o")
        write_record(out, {**job, "finished": False})
        return {}
    begun = any((out / unit.file).exists() for unit in run.units)  # then it is this run, wherever the stores are now
    try:
        earlier = json.loads(read_regular(record, 1 << 26))
        differing = [name for name in job if earlier[name] != job[name] and not (begun and name in STORES)]
        estimates = dict(earlier.get("estimates", {}))
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{record} is not the record of an archive run; choose another folder with -o") from error
    if differing and not any(out.glob("part-*.parquet")):
        write_record(out, {**job, "finished": False})  # a run that ended before it had results claims nothing
        return {}
    if differing:
        name = differing[0]
        raise RequestError(
            f"{out} holds results made with {name}={earlier[name]}, now it is {job[name]}; choose another with -o"
        )
    return estimates


def write_record(out: Path, content: dict[str, Any]) -> None:
    """Write archive.json whole."""
    with explained(str(out / SUMMARY), 1 << 16, out):
        write_new(out / SUMMARY, (json.dumps(content, indent=1) + "\n").encode())


def write_top(out: Path, top: Top, k: int) -> None:
    """Write top.csv whole: the most anomalous clips with their k neighbours."""
    names = ["clip", "machine", "section", "score", "percentile"]
    names += [f"{name}_{i + 1}" for i in range(k) for name in ("neighbour", "distance")]
    text = io.StringIO()
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(top.rows)
    with explained(str(out / TOP), len(text.getvalue()), out):
        write_new(out / TOP, text.getvalue().encode())
