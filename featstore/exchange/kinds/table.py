"""The table of kinds of files with embeddings: suffixes, what a file must hold, and its reader."""

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

from featstore.errors import DataError
from featstore.exchange.kinds.content import Content, Source


class Kind(NamedTuple):
    """A kind of file. holds: what it must hold. reader: `module:function` of this folder."""

    suffixes: tuple[str, ...]
    holds: str
    reader: str


KINDS = (
    Kind((".npy",), "one array (n, d) or (n, views, d); with --manifest", "numpy_files:read_npy"),
    Kind((".npz",), "such an array, and arrays that describe its rows", "numpy_files:read_npz"),
    Kind(
        (".parquet", ".pq"),
        "a column of vectors or numbered columns, and a column of paths",
        "arrow_files:read_parquet",
    ),
    Kind((".csv", ".tsv"), "numbered columns or a column of vectors, and a column of paths", "csv_table:read_csv"),
    Kind((".h5", ".hdf5", ".he5"), "one data set (n, d) or (n, views, d), others that describe it", "hdf5:read_hdf5"),
    Kind((".safetensors",), "one tensor (n, d) or (n, views, d); with --manifest", "tensors:read_safetensors"),
    Kind((".pt", ".pth"), "one tensor (n, d) or (n, views, d), or a dict of tensors and lists", "tensors:read_torch"),
    Kind((".txt",), "embeddings of BirdNET-Analyzer (*.birdnet.embeddings.txt)", "birdnet:read_birdnet"),
    Kind((".sqlite", ".sqlite3", ".db"), "a Hoplite database with its embeddings in it", "hoplite:read_hoplite"),
)
"""Every kind of file that is read."""

PICKLE = "a pickle, which can run code and is never loaded here; the program that wrote it can save an array"
REFUSED = {
    **dict.fromkeys((".pkl", ".pickle", ".joblib", ".dill"), PICKLE),
    ".mat": "a MATLAB file; scipy.io.loadmat reads it",
    ".rds": "a file of R; arrow::write_parquet saves a table",
    **dict.fromkeys((".xlsx", ".xls"), "a workbook; save its sheet as CSV"),
    **dict.fromkeys((".json", ".jsonl"), "JSON; pandas.read_json(...).to_parquet(...) makes a table"),
    **dict.fromkeys((".feather", ".arrow", ".lance"), "another table of Arrow; save it with to_parquet"),
    **dict.fromkeys((".zip", ".gz", ".tar", ".7z"), "an archive; unpack it"),
    **dict.fromkeys((".bin", ".ckpt", ".onnx", ".keras"), "a file of a model, not of embeddings"),
    ".index": "an index of usearch, which only its library reads; write its vectors with np.save",
    ".tfrecord": "records of TensorFlow; write their vectors with np.save",
}
"""Kinds of files that are not read: what each is, and what reads it."""

FOLDERS = {
    "*_extract.npz": "extracts of ASDKit",
    "*.birdnet.embeddings.txt": "embeddings of BirdNET-Analyzer",
}
"""Files that a folder means -> what they are."""

HOPLITE = "hoplite.sqlite"
DATASET = Kind(("state.json",), "the state of a data set that `datasets` saved", "arrow_files:read_dataset")
"""A folder of Hugging Face, which this file in it stands for."""

SPLITS = "dataset_dict.json"
"""File of a folder with one such folder per split."""

ACCEPTED = ", ".join(suffix for kind in KINDS for suffix in kind.suffixes)


def read_content(source: Source) -> Content:
    """The content of a file by the reader of its kind; DataError for other kinds, with the accepted ones."""
    path = source.path
    suffix = path.suffix.lower()
    kind = DATASET if path.name in DATASET.suffixes else None
    kind = kind or next((kind for kind in KINDS if suffix in kind.suffixes), None)
    if kind is None:
        what = REFUSED.get(suffix) or ("a folder" if path.is_dir() else "of no known kind")
        raise DataError(
            f"{path}: this is {what}; accepted: {ACCEPTED}, and folders of {' or '.join(FOLDERS.values())} or of "
            "Hugging Face (save_to_disk). Of any "
            "array: np.save(path, array), one row per clip, and import that with --manifest"
        )
    if not path.is_file():  # to open a pipe would wait for ever
        raise DataError(f"{path}: not a regular file; expected {kind.holds}")
    module, _, name = kind.reader.partition(":")
    reader: Callable[[Source], Content] = getattr(import_module(f"{__package__}.{module}"), name)
    return reader(source)


def files_in(paths: tuple[Path, ...]) -> list[tuple[Path, Path]]:
    """Every file that `paths` mean, each with the folder that its paths are relative to.

    A folder means its Hoplite database, its data set of Hugging Face, or all files of one of FOLDERS below it;
    DataError where it has none or both.
    """
    return [pair for path in paths for pair in (_below(path) if path.is_dir() else [(path, path.parent)])]


def _below(folder: Path) -> list[tuple[Path, Path]]:
    if (folder / HOPLITE).exists():
        return [(folder / HOPLITE, folder)]
    state = DATASET.suffixes[0]
    states = sorted(folder.glob(f"*/{state}")) if (folder / SPLITS).is_file() else [folder / state]
    if states and states[0].is_file():
        return [(path, folder) for path in states]
    found = {pattern: sorted(folder.rglob(pattern)) for pattern in FOLDERS}
    present = [pattern for pattern, files in found.items() if files]
    if len(present) != 1:
        kinds = " and ".join(f"{pattern} ({what})" for pattern, what in FOLDERS.items())
        raise DataError(
            f"both {kinds} below {folder}; import them one by one"
            if present
            else f"no {' or '.join(FOLDERS)} below {folder}, and no {HOPLITE}; name the files to import"
        )
    return [(file, folder) for file in found[present[0]]]
