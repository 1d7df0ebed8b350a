"""What is wrong with the metadata file of a submission."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ensemble.submission.meta import nulls
from ensemble.submission.template import ABBREVIATION, AFFILIATION, AUTHOR, NEEDED, OPTIONAL, description_fields
from featstore.disk.files import read_regular
from featstore.errors import DataError, StoreError, reason_of
from featstore.spec import did_you_mean

MAX_BYTES = 1 << 17
MOST_BRACKETS = 200
"""Brackets of a file; the template has none, and a parser takes long for thousands that are open at once."""

FIELDS = {
    "": ("submission", "system", "results"),
    "submission": ("label", "name", "abbreviation", "authors"),
    "system": ("description", "complexity", "external_datasets", "source_code"),
    "results": ("development_dataset",),
}
"""Fields of the file and of its tables, besides those of the description."""


def meta_findings(path: Path, label: str, year: int) -> tuple[list[str], list[str]]:
    """Problems of the metadata file of the system `label`, and notes on fields that are null or unknown."""
    if not path.exists():
        return ["missing; detect run --format dcase writes it"], []
    try:
        meta = read_meta(path)
    except DataError as error:
        return [str(error)], []
    needed = list(_needed(meta, year))
    problems = [f"null, but every system has it, so fill it in: {', '.join(needed)}"] if needed else []
    empty = _short(name for name in nulls(meta) if name not in needed)
    notes = [f"null, which is right only where a field does not apply: {', '.join(empty)}"] if empty else []
    return [*problems, *_wrong(meta, label)], [*notes, *_unknown(meta, year)]


def _short(paths: Iterable[str]) -> list[str]:
    """Null fields as their names alone; those that may always be null, and the fields of a data set, are left out."""
    names = [path.removeprefix("system.").removeprefix("description.").partition("[")[0] for path in paths]
    return list(dict.fromkeys(name for name in names if name != "submission.authors"))


def read_meta(path: Path) -> dict[str, Any]:
    """The content of a metadata file; DataError where it is no YAML of tables, or one with aliases."""
    import yaml

    try:
        text = read_regular(path, MAX_BYTES).decode("utf-8")
        if text.count("[") + text.count("{") > MOST_BRACKETS:
            raise DataError(f"has more than {MOST_BRACKETS} brackets; write lists and tables on lines of their own")
        if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text, Loader=yaml.SafeLoader)):
            raise DataError("has a YAML alias (*name); write the value out")
        meta = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise DataError(f"not valid YAML: {' '.join(str(error).split())}") from error
    except (StoreError, OSError, ValueError, RecursionError) as error:
        raise DataError(f"cannot be read: {reason_of(error)}") from error
    if not isinstance(meta, dict):
        raise DataError("not a table of submission, system and results")
    return meta


def _at(meta: Any, *keys: str) -> Any:
    """A value of nested tables; None where one is missing."""
    for key in keys:
        meta = meta.get(key) if isinstance(meta, Mapping) else None
    return meta


def _needed(meta: Mapping[str, Any], year: int) -> Iterator[str]:
    """Fields that apply to every system, and are null or missing."""
    needed: list[tuple[str, ...]] = [("submission", name) for name in ("name", "abbreviation")]
    needed += [("system", "description", name) for name in NEEDED if name in description_fields(year)]
    needed.append(("system", "complexity", "total_parameters"))
    for keys in needed:
        if _at(meta, *keys) in (None, ""):
            yield ".".join(keys)
    authors = _at(meta, "submission", "authors")
    for i, author in enumerate(authors if isinstance(authors, list) else []):
        wanted: list[tuple[str, ...]] = [(name,) for name in AUTHOR]
        wanted += [("affiliation", name) for name in AFFILIATION if name not in OPTIONAL]
        for own in wanted:
            if _at(author, *own) in (None, ""):
                yield f"submission.authors[{i}].{'.'.join(own)}"


def _wrong(meta: Mapping[str, Any], label: str) -> Iterator[str]:
    """Fields with a value that the rules exclude."""
    stated, abbreviation = _at(meta, "submission", "label"), _at(meta, "submission", "abbreviation")
    if stated != label:
        yield f"submission.label is {stated!r:.100}, but the folder is {label!r}"
    if isinstance(abbreviation, str) and len(abbreviation) > ABBREVIATION:
        yield f"submission.abbreviation has {len(abbreviation)} characters; at most {ABBREVIATION}"
    authors = _at(meta, "submission", "authors")
    if not isinstance(authors, list) or not authors:
        yield "submission.authors: expected a list of authors"
    else:
        marked = sum(_at(author, "corresponding") is True for author in authors)
        if marked != 1:
            yield f"submission.authors: expected one author with corresponding: true, found {marked}"
    total = _at(meta, "system", "complexity", "total_parameters")
    if total is not None and (isinstance(total, bool) or not isinstance(total, int) or total < 0):
        yield f"system.complexity.total_parameters is {total!r:.100}; expected a whole number"


def _unknown(meta: Mapping[str, Any], year: int) -> Iterator[str]:
    """Fields that the file of the year is not known to have."""
    tables = {**FIELDS, "system.description": description_fields(year)}
    for where, known in tables.items():
        table = _at(meta, *where.split(".")) if where else meta
        for name in table if isinstance(table, Mapping) else ():
            if name not in known:
                path = f"{where}.{name}" if where else str(name)
                yield f"{path}: not known as a field of {year}{did_you_mean(str(name), known)}"
