"""Verdicts as JSON lines, CSV or Parquet."""

import csv
import io
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ensemble.scoring.score import Outcome
from ensemble.windows.events import Event
from featstore.disk.files import replacing
from featstore.errors import DataError
from featstore.exchange.frames import unicode_text
from featstore.terminal.shown import json_text

COLUMNS = (
    "clip",
    "machine",
    "section",
    "start_s",
    "end_s",
    "score",
    "percentile",
    "p_value",
    "threshold",
    "decision",
    "target_probability",
    "nearest_normal",
    "nearest_distance",
    "where",
    "bands",
)
"""Columns of a table, before those of the members."""


def record(outcome: Outcome) -> dict[str, Any]:
    """A scored clip as JSON keeps it; of a rejected one the reason."""
    if outcome.verdict is None:
        return {"type": "rejected", "clip": outcome.clip.recording, "rejected": outcome.reason}
    return {"type": "result", "clip": outcome.clip.recording, **outcome.verdict.as_json()}


def json_line(outcome: Outcome) -> str:
    """One line of JSON."""
    return json_text(record(outcome), allow_nan=False)


def event_line(event: Event) -> str:
    """An event as one line of JSON."""
    return json_text({"type": "event", **vars(event)}, allow_nan=False)


def row(outcome: Outcome) -> dict[str, Any]:
    """A scored clip by the names of COLUMNS, followed by the members' percentiles."""
    verdict = outcome.verdict
    if verdict is None:
        raise ValueError(f"{outcome.clip.key} was not scored")
    return {
        "clip": outcome.clip.recording,
        "machine": verdict.machine,
        "section": verdict.section,
        "start_s": verdict.start_s,
        "end_s": verdict.end_s,
        "score": verdict.score,
        "percentile": verdict.percentile,
        "p_value": verdict.p_value,
        "threshold": verdict.threshold,
        "decision": int(verdict.anomaly),
        "target_probability": verdict.target_probability,
        "nearest_normal": verdict.nearest,
        "nearest_distance": verdict.nearest_distance,
        "where": verdict.sentence,
        "bands": verdict.bands,
        **verdict.members,
    }


def csv_lines(outcomes: Iterable[Outcome]) -> Iterator[str]:
    """The scored clips as CSV, header first, line by line."""
    header = False
    for outcome in outcomes:
        if outcome.verdict is None:
            continue
        values = row(outcome)
        if not header:
            yield _csv_line(values)
            header = True
        yield _csv_line("" if value is None else value for value in values.values())


def _csv_line(values: Iterable[Any]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(values)
    return text.getvalue().rstrip("\n")


def write_parquet(path: Path, outcomes: Iterable[Outcome], group: int = 4096) -> Iterator[Outcome]:
    """Write the scored clips to a Parquet file, whole or not at all, and pass every outcome on.

    DataError where pyarrow is not installed.
    """
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise DataError(f'{path}: Parquet needs pyarrow; pip install "featstore[parquet]", or use --csv') from error
    rows: list[dict[str, Any]] = []
    writer = None
    with replacing(path) as temporary:
        for outcome in outcomes:
            yield outcome
            rows += [unicode_row(row(outcome))] if outcome.verdict else []
            if len(rows) == group:
                writer = writer or pq.ParquetWriter(temporary, schema_of(pa, rows[0]))
                writer.write_table(pa.Table.from_pylist(rows, schema=writer.schema))
                rows = []
        schema = schema_of(pa, rows[0] if rows else dict.fromkeys(COLUMNS))
        writer = writer or pq.ParquetWriter(temporary, schema)
        if rows:
            writer.write_table(pa.Table.from_pylist(rows, schema=writer.schema))
        writer.close()


def unicode_row(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values with bytes of a path that are not UTF-8 as escapes, because Parquet holds Unicode only."""
    return {name: unicode_text(value) if isinstance(value, str) else value for name, value in values.items()}


TEXTS = (
    "clip",
    "machine",
    "section",
    "domain",
    "nearest_normal",
    "where",
    "bands",
    "copy_of",
    "recording",
    "not_scored",
)
"""Columns of text; the others are numbers."""


def schema_of(pa: Any, values: Iterable[str]) -> Any:
    """The Parquet schema of columns, by pyarrow `pa`."""
    kinds = dict.fromkeys(TEXTS, pa.string())
    kinds["decision"] = pa.int8()
    return pa.schema([(name, kinds.get(name, pa.float64())) for name in values])
