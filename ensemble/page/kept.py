"""RESULTS/page.safetensors: the results of a run as a page shows them, complete in one file.

The arrays of `Scored` are its arrays, the texts of a column are rows of bytes, and everything else is one JSON text.
See `featstore.disk.arrays` for the file. Nothing in it is trusted: shapes, types, ranges and names are checked.
"""

import json
import math
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, fields
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from ensemble.decision.drift import Drift
from ensemble.decision.false_alarms import FalseAlarms
from ensemble.page.scored import Limit, Scored
from ensemble.windows.times import NAME, local_again
from featstore.clip import recording_of
from featstore.disk.arrays import Kind, bytes_text, read_arrays, table_arrays, table_of, text_bytes, write_arrays
from featstore.disk.sealed import typed
from featstore.errors import DataError
from featstore.store import FeatureStore
from featstore.table import ClipTable, decode, encode

FILE = "page.safetensors"
KIND = Kind(
    format="featstore-results",
    version=1,
    noun="results",
    content="the results of a run",
    maker="`detect STORE --ensemble -o RESULTS`",
    cure="make it again with `detect STORE --recipe RESULTS/recipe.toml -o RESULTS`",
)
LATEST_S = 253_000_000_000.0
"""Latest time of a recording, in the year 9987: later ones have no date."""

LARGEST = 1e150
"""Largest score that is not bounded: its square and differences are finite."""

SHAPES: Mapping[str, tuple[str, ...]] = {
    "score": ("clips",),
    "percentile": ("clips",),
    "p_value": ("clips",),
    "threshold": ("clips",),
    "member_percentiles": ("members", "clips"),
    "nearest_distance": ("clips",),
    "seconds": ("clips", "2"),
    "times": ("clips",),
    "reference": ("train",),
}
"""Arrays of float64 that every file has."""

TEXTS = ("title", "recipe", "time_source", "store")
FLAGS = ("bounded", "self_ranked", "pool_sections")
LINES = ("members", "warnings", "notes")
ROWS: Mapping[str, tuple[str, ...]] = {
    "drifts": (*(field.name for field in fields(Drift)), "warning"),
    "rates": (*(field.name for field in fields(FalseAlarms)), "rate"),
}
"""Rows of JSON in the file, with their keys."""

NAMES = {"machine", "section", "domain", "direction", "warning"}
"""Values of rows that are texts; the others are numbers."""

OPTIONAL = {"nominal", "requested", "value"}
"""Numbers of rows that may be None: a rate that was not asked for, a threshold that there is not."""


def rows_digest(store: FeatureStore, embedding: str) -> str:
    """Checksum of the rows of an embedding: it changes when a build adds, replaces or removes some."""
    entries = [(entry.sha256, entry.dropped) for entry in store.entries(embedding)]
    return sha256(json.dumps([store.info(embedding).fingerprint, entries]).encode()).hexdigest()


def write_results(path: Path, scored: Scored) -> Path:
    """Write or replace the file, whole or not at all; of results with thresholds by hand, the original ones."""
    scored = scored.original or scored
    arrays = {name: np.asarray(getattr(scored, name), dtype=np.float64) for name in SHAPES}
    arrays |= table_arrays(scored.clips, "clips/") | table_arrays(scored.train, "train/")
    arrays["nearest"] = text_bytes(encode(scored.nearest))
    if scored.target is not None:
        arrays["target"] = np.asarray(scored.target, dtype=np.float64)
    if scored.limit_of is not None:
        arrays["limit_of"] = np.asarray(scored.limit_of, dtype=np.int32)
    if scored.copied is not None:
        arrays["copied"] = np.asarray(scored.copied, dtype=np.uint8)
    if scored.banks:
        arrays["banks"] = np.concatenate(scored.banks, dtype=np.float64)
    content = {name: getattr(scored, name) for name in (*TEXTS, *FLAGS, *LINES, "nominal", "metrics")}
    content |= {name: [dict(row) for row in getattr(scored, name)] for name in ROWS}
    content["limits"] = [asdict(limit) for limit in scored.limits]
    content["banks"] = [len(bank) for bank in scored.banks]
    content["where"] = {str(row): text for row, text in scored.where.items()}
    arrays["json"] = np.frombuffer(json.dumps(content).encode("ascii"), dtype=np.uint8)  # NaN is allowed in it
    write_arrays(path, KIND, {}, arrays)
    return path


def read_results(path: Path) -> Scored:
    """The results in a file; DataError names it, what is wrong with it, and the command that makes it again."""
    _, arrays = read_arrays(path, KIND)
    try:
        content = json.loads(_array(arrays, "json", None, np.uint8).tobytes())
        if not isinstance(content, dict):
            raise ValueError("its description is no JSON object")
        return _scored(content, arrays)
    except KeyError as error:
        raise DataError(f"{path} holds no valid results: {error.args[0]!r:.80} is missing; {KIND.cure}") from error
    except (ValueError, TypeError, RecursionError) as error:
        raise DataError(f"{path} holds no valid results: {error}; {KIND.cure}") from error


def _scored(content: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> Scored:
    clips, train = (_table(arrays, prefix) for prefix in ("clips/", "train/"))
    values: dict[str, Any] = {name: _text(content, name) for name in TEXTS}
    tomllib.loads(values["recipe"])
    values |= {name: typed(content, name, bool) for name in FLAGS}
    values |= {name: tuple(_lines(content, name)) for name in LINES}
    values |= {name: tuple(_finite(row, keys) for row in _dicts(content, name)) for name, keys in ROWS.items()}
    sizes = {"clips": len(clips), "train": len(train), "members": len(values["members"]), "2": 2}
    shapes = {name: tuple(sizes[size] for size in shape) for name, shape in SHAPES.items()}
    values |= {name: _array(arrays, name, shape, np.float64) for name, shape in shapes.items()}
    _check_numbers(values)
    if values["time_source"] == NAME:
        paths = [recording_of(path) for path in decode(clips.columns["path"])]
        values["times"] = local_again(values["times"], paths)
    limits = tuple(_limit(row) for row in _dicts(content, "limits"))
    given = np.array([limit.value for limit in limits if limit.value is not None], dtype=np.float64)
    banks = _banks(typed(content, "banks", list), arrays, len(limits))
    target = _target(arrays, len(clips))
    _check_scores({name: values[name] for name in ("score", "reference")}, bounded=values["bounded"])
    corrected = target is not None  # banks of predicted domains, and thresholds that follow, may be outside 0 and 1
    thresholds = {"threshold": values["threshold"], "limits": given, "banks": np.concatenate([given[:0], *banks])}
    _check_scores(thresholds, bounded=values["bounded"] and not corrected)
    return Scored(
        **values,
        clips=clips,
        train=train,
        nearest=decode(bytes_text("nearest", arrays["nearest"], len(clips))),
        limits=limits,
        nominal=None if content["nominal"] is None else _share(content, "nominal"),
        target=target,
        where=_where(typed(content, "where", dict), len(clips)),
        metrics=_metrics(typed(content, "metrics", dict)),
        limit_of=_limit_of(arrays, len(clips), len(limits)),
        copied=_copied(arrays, len(clips)),
        banks=banks,
    )


def _table(arrays: Mapping[str, np.ndarray], prefix: str) -> ClipTable:
    table = table_of(arrays, prefix)
    for text in set(table.columns["attributes"].tolist()):
        attributes = json.loads(text.decode("utf-8", "surrogateescape"))
        if not isinstance(attributes, dict) or not all(isinstance(value, str) for value in attributes.values()):
            raise ValueError("the attributes of its clips are no JSON objects of texts")
    for name in ("path", "machine", "section", "variant"):
        if any(b"\0" in text for text in set(table.columns[name].tolist())):
            raise ValueError(f"the column {name} of its clips has a null byte")
    return table


def _array(
    arrays: Mapping[str, np.ndarray], name: str, shape: tuple[int, ...] | None, kind: type[np.generic]
) -> np.ndarray:
    """An array of exactly this shape (None: of one axis) and type."""
    array = arrays[name]
    if array.dtype != kind or (array.ndim != 1 if shape is None else array.shape != shape):
        wanted = "one axis" if shape is None else f"shape {shape}"
        raise ValueError(f"{name} is {array.dtype} of shape {array.shape}, expected {np.dtype(kind)} of {wanted}")
    return array


def _check_numbers(numbers: Mapping[str, np.ndarray]) -> None:
    """ValueError for numbers that no run writes; thresholds may be infinite, and what is unknown is NaN."""
    for name in ("score", "reference"):
        if not np.isfinite(numbers[name]).all():
            raise ValueError(f"{name} has values that are not finite")
    for name in ("percentile", "p_value", "member_percentiles"):
        if ((numbers[name] < 0) | (numbers[name] > 1)).any():
            raise ValueError(f"{name} has values outside 0 and 1")
    start, end = numbers["seconds"].T
    if not (np.isfinite(start) & (start >= 0)).all() or (end < start).any() or np.isinf(end).any():
        raise ValueError("seconds has a clip that ends before it starts")
    if ((numbers["times"] < 0) | (numbers["times"] > LATEST_S)).any():
        raise ValueError("times has values outside the years 1970 to 9987")


def _check_scores(numbers: Mapping[str, np.ndarray], *, bounded: bool) -> None:
    """ValueError for scores and finite thresholds that are outside 0 and 1 where scores are bounded, or too large."""
    low, high = (0.0, 1.0) if bounded else (-LARGEST, LARGEST)
    for name, column in numbers.items():
        finite = column[np.isfinite(column)]
        if ((finite < low) | (finite > high)).any():
            raise ValueError(f"{name} has values outside {low:g} and {high:g}")


def _target(arrays: Mapping[str, np.ndarray], clips: int) -> np.ndarray | None:
    if "target" not in arrays:
        return None
    target = _array(arrays, "target", (clips,), np.float64)
    if ((target < 0) | (target > 1)).any():  # NaN: the machine has too few training clips of a domain
        raise ValueError("target has values outside 0 and 1")
    return target


def _limit_of(arrays: Mapping[str, np.ndarray], clips: int, limits: int) -> np.ndarray | None:
    if "limit_of" not in arrays:
        return None
    limit_of = _array(arrays, "limit_of", (clips,), np.int32)
    if ((limit_of < 0) | (limit_of >= limits)).any():
        raise ValueError(f"limit_of has values outside 0 and {limits - 1}")
    return limit_of


def _copied(arrays: Mapping[str, np.ndarray], clips: int) -> np.ndarray | None:
    if "copied" not in arrays:
        return None
    copied = _array(arrays, "copied", (clips,), np.uint8)
    if (copied > 1).any():
        raise ValueError("copied has values other than 0 and 1")
    return copied.astype(bool)


def _banks(sizes: list[Any], arrays: Mapping[str, np.ndarray], limits: int) -> tuple[np.ndarray, ...]:
    """The reference scores of every limit; none where the file has none."""
    if not sizes:
        return ()
    whole = any(type(size) is not int or size < 0 for size in sizes)
    if whole or len(sizes) != limits:
        raise ValueError(f"banks is {sizes!r:.80}, expected {limits} counts")
    scores = _array(arrays, "banks", (sum(sizes),), np.float64)
    if not np.isfinite(scores).all():
        raise ValueError("banks has values that are not finite")
    return tuple(np.split(scores, np.cumsum(sizes)[:-1]))


def _text(row: Mapping[str, Any], name: str) -> str:
    text: str = typed(row, name, str)
    text.encode("utf-8", "surrogateescape")  # UnicodeEncodeError is a ValueError
    return text


def _lines(content: Mapping[str, Any], name: str) -> list[str]:
    lines = typed(content, name, list)
    return [_text({name: line}, name) for line in lines]


def _dicts(content: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = typed(content, name, list)
    for row in rows:
        typed({name: row}, name, dict)
    return rows


def _share(row: Mapping[str, Any], name: str) -> float:
    value: float = _number(row, name)
    if not 0 <= value <= 1:
        raise ValueError(f"{name} is {value:g}, expected a share")
    return value


def _number(row: Mapping[str, Any], name: str) -> float:
    value = row[name]
    if type(value) not in (int, float):
        raise ValueError(f"{name} is {value!r:.80}, expected a number")
    return value if isinstance(value, float) or abs(value) < 1 << 53 else float("nan")


def _row(row: Mapping[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    """A row with exactly these keys, and values of their types."""
    if set(row) != set(names):
        raise ValueError(f"a row has the keys {sorted(row)!r:.200}, expected {sorted(names)}")
    optional = {name for name in OPTIONAL.intersection(names) if row[name] is None}
    return {
        name: None if name in optional else (_text if name in NAMES else _number)(row, name)  # type: ignore[operator]
        for name in names
    }


def _finite(row: Mapping[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    """A row as of `_row` whose numbers are finite."""
    values = _row(row, names)
    for name, value in values.items():
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError(f"{name} is {value}, expected a finite number")
    return values


def _limit(row: Mapping[str, Any]) -> Limit:
    row = {"worth": row["references"], **row}  # earlier results count every training clip
    values = _row({**row, "shifted": 0}, tuple(field.name for field in fields(Limit)))
    for name in ("expected", "low", "high"):
        _share(values, name)
    if type(values["references"]) is not int or values["references"] < 0:
        raise ValueError(f"references is {values['references']!r:.80}, expected a count")
    if not 0 <= values["worth"] <= values["references"] + 1e-6:
        raise ValueError(f"worth is {values['worth']:g}, expected at most {values['references']} training clips")
    return Limit(**{**values, "shifted": typed(row, "shifted", bool)})


def _where(raw: Mapping[str, Any], clips: int) -> dict[int, str]:
    where = {}
    for key in raw:
        if not (key.isascii() and key.isdigit() and len(key) < 12 and int(key) < clips):
            raise ValueError(f"where names the row {key!r:.40} of {clips} clips")
        where[int(key)] = _text(raw, key)
    return where


def _metrics(metrics: dict[str, Any]) -> dict[str, Any]:
    """The content of metrics.json, of which the official score and the rows of sections are checked."""
    if "official_score" in metrics:
        _interval(typed(metrics, "official_score", dict))
        typed(metrics, "rule", int)
    for row in _dicts(metrics, "sections") if "sections" in metrics else ():
        for name in ("machine", "section"):
            _text(row, name)
        typed(row, "clips", dict)
        for value in row.values():
            if isinstance(value, dict) and "value" in value:
                _interval(value)
    return metrics


def _interval(row: Mapping[str, Any]) -> None:
    for name in ("value", "low", "high"):
        _number(row, name)
