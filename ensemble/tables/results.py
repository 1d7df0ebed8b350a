"""scores.csv as a Parquet file, and every table of results as a DataFrame, with text as text."""

import csv
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ensemble.scoring.output import TEXTS, schema_of, unicode_row
from featstore.disk.files import replacing
from featstore.errors import DataError, reason_of
from featstore.exchange.frames import installed

if TYPE_CHECKING:
    import pandas


def read_table(path: str | Path) -> "pandas.DataFrame":
    """A table of `detect` (scores.csv, events.csv, recordings.csv, or a Parquet file) as a DataFrame.

    Text stays text: section "00" keeps its zeros, and no name is taken for a missing value. Missing numbers are NaN.
    DataError for a file that is no table, and where pandas is not installed.
    """
    pandas, is_parquet = installed("pandas", "a DataFrame"), Path(path).suffix == ".parquet"
    if is_parquet:
        installed("pyarrow", f"{path}: Parquet")
    try:
        return pandas.read_parquet(path) if is_parquet else _read_csv(pandas, path)
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: expected a table of detect, CSV or Parquet ({reason_of(error)})") from error


def _read_csv(pandas: Any, path: str | Path) -> Any:
    options = {"encoding_errors": "backslashreplace", "keep_default_na": False}
    names = pandas.read_csv(path, nrows=0, **options).columns
    texts, missing = [name for name in names if name in TEXTS], {name: [""] for name in names if name not in TEXTS}
    return pandas.read_csv(path, dtype=dict.fromkeys(texts, "str"), na_values=missing, **options)


def write_scores_parquet(scores: Path) -> Path:
    """Write the rows of a scores.csv to a Parquet file beside it, where section 00 is a text; returns its path.

    DataError where pyarrow is not installed.
    """
    path = scores.with_suffix(".parquet")
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise DataError(f'{path}: Parquet needs pyarrow; pip install "featstore[parquet]"') from error
    with scores.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
        reader = csv.DictReader(file)
        schema = schema_of(pa, reader.fieldnames or ())
        rows = [
            {name: text if name in TEXTS else float(text) if text else None for name, text in row.items()}
            for row in reader
        ]
    with replacing(path) as temporary:
        pq.write_table(pa.Table.from_pylist([unicode_row(row) for row in rows], schema=schema), temporary)
    return path
