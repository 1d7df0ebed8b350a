"""An embedding with its clips as a folder of the Hugging Face library `datasets`."""

import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from featstore.disk.files import TEMPORARY_SUFFIX, sync_directory
from featstore.errors import DataError
from featstore.exchange.arrow import schema_of, tables
from featstore.exchange.kinds.own import NOTE_FILE, note_of
from featstore.reader import FeatureStore

BLOCK_ROWS = 8192


def write_dataset(store: FeatureStore, name: str, out: Path) -> None:
    """Write all rows to the new folder `out`, which `datasets.load_from_disk(out)` reads.

    The columns are those of a Parquet export. `embedding` is a list of fixed size, or a list of such lists where the
    embedding has views. Rows are streamed in blocks to a temporary file beside `out`, which then becomes the data set,
    so the disk needs twice the size. DataError where `datasets` is not installed or `out` is not empty.
    """
    datasets = _library()
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise DataError(f"{out}: expected a new folder, this exists; choose another, or remove it")
    folder = out.with_name(f"{out.name}.{secrets.token_hex(4)}{TEMPORARY_SUFFIX}")
    folder.mkdir()
    try:
        _stream(store, name, folder / "rows.arrow")
        with _silent(datasets):
            rows = datasets.Dataset.from_file(str(folder / "rows.arrow"))
            rows.info.description = _description(store, name)
            rows.save_to_disk(folder / "dataset")
        (folder / "dataset" / NOTE_FILE).write_text(note_of(store, name), encoding="utf-8")
        del rows  # it reads the temporary file
        (folder / "dataset").rename(out)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    sync_directory(out.parent)


def _stream(store: FeatureStore, name: str, path: Path) -> None:
    import pyarrow as pa

    schema = schema_of(store.info(name).shape)
    with path.open("xb") as file, pa.ipc.new_stream(file, schema) as writer:
        for table in tables(store, name, schema, BLOCK_ROWS):
            writer.write_table(table)


def _description(store: FeatureStore, name: str) -> str:
    info = store.info(name)
    views = f", views {', '.join(info.views)}" if info.views else ""
    return f"Embedding {name} of a feature store: shape {info.shape}{views}, fingerprint {info.fingerprint}"


@contextmanager
def _silent(datasets: Any) -> Iterator[None]:
    """Switch off the progress bars of the library."""
    were_off = datasets.are_progress_bars_disabled()
    datasets.disable_progress_bars()
    try:
        yield
    finally:
        if not were_off:
            datasets.enable_progress_bars()


def _library() -> Any:
    try:
        import datasets
    except ImportError as error:
        raise DataError("--to hf needs datasets; pip install 'featstore[hf]', or export parquet") from error
    return datasets
