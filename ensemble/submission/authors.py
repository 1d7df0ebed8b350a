"""What the authors state about a submission, in a TOML file; the fields are those of the metadata file.

name = "Nearest neighbours on time-weighted spectra"   # default: named after detectors and embeddings
abbreviation = "kNN-TWFR"                              # at most 10 characters

[[authors]]                                            # in the order of the result tables
lastname = "Miller"
firstname = "Ada"
email = "ada.miller@example.org"
corresponding = true                                   # of one author; needed where there are several
affiliation = { institution = "Example University", department = "Acoustics", location = "Town, Country" }

[system]                                               # any field that the software does not know, or not rightly
data_augmentation = "mixup"
external_data_usage = "pre-trained model"
total_parameters = 90000000
source_code = "https://example.org/code"
external_datasets = [{ name = "AudioSet", url = "https://example.org/audioset" }]
"""

import tomllib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ensemble.submission.template import ABBREVIATION, AFFILIATION, AUTHOR, DATASET, SINCE, description_fields
from featstore.disk.files import read_regular
from featstore.errors import DataError, StoreError, reason_of
from featstore.spec import unknown

MAX_BYTES = 1 << 20
NUMBERS = ("total_parameters", "ensemble_method_subsystem_count")
TOP = ("name", "abbreviation", "authors", "system")
BESIDE = ("total_parameters", "external_datasets", "source_code")
"""Fields of a system that stand beside its description."""


@dataclass(frozen=True)
class Stated:
    """Name, abbreviation, authors and fields of the system as the authors state them; None or absent where they do not.

    authors: lastname, firstname, email, corresponding and affiliation of each.
    """

    name: str | None = None
    abbreviation: str | None = None
    authors: tuple[Mapping[str, Any], ...] = ()
    system: Mapping[str, Any] = field(default_factory=dict)


def read_authors(path: Path, year: int) -> Stated:
    """The statements of a file; DataError names the file, and the key that is unknown or of the wrong type."""
    try:
        raw = tomllib.loads(read_regular(path, MAX_BYTES).decode("utf-8"))
        return _stated(raw, year)
    except DataError as error:
        raise DataError(f"{path}: {error}") from error
    except StoreError as error:  # names the file
        raise DataError(f"{error}; expected a TOML file of authors") from error
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path}: not a readable TOML file of authors: {reason_of(error)}") from error


def _stated(raw: Mapping[str, Any], year: int) -> Stated:
    _refuse_unknown(raw, TOP, "key")
    authors = [_author(item, f"authors[{i}]") for i, item in enumerate(_list(raw, "authors"))]
    marked = [author for author in authors if author["corresponding"]]
    if len(authors) == 1 and "corresponding" not in raw["authors"][0]:
        authors[0]["corresponding"] = True
    elif authors and len(marked) != 1:
        raise DataError(f"authors: expected corresponding = true for one author, found it for {len(marked)}")
    abbreviation = _text(raw, "abbreviation", "abbreviation")
    if abbreviation and len(abbreviation) > ABBREVIATION:
        raise DataError(f"abbreviation: {abbreviation!r} has more than {ABBREVIATION} characters; shorten it")
    return Stated(_text(raw, "name", "name"), abbreviation, tuple(authors), _system(raw.get("system", {}), year))


def _author(raw: Any, where: str) -> dict[str, Any]:
    _refuse_unknown(raw, (*AUTHOR, "corresponding", "affiliation"), f"field of {where}", where)
    corresponding = raw.get("corresponding", False)
    if not isinstance(corresponding, bool):
        raise DataError(f"{where}.corresponding: expected true or false, got {corresponding!r:.100}")
    home = raw.get("affiliation", {})
    _refuse_unknown(home, AFFILIATION, f"field of {where}.affiliation", f"{where}.affiliation")
    affiliation = {name: _text(home, name, f"{where}.affiliation.{name}") for name in AFFILIATION}
    names = {name: _text(raw, name, f"{where}.{name}") for name in AUTHOR}
    return {**names, "corresponding": corresponding, "affiliation": affiliation}


def _system(raw: Any, year: int) -> dict[str, Any]:
    fields = description_fields(year)
    later = [name for name in SINCE if name not in fields and isinstance(raw, Mapping) and name in raw]
    if later:
        raise DataError(f"system.{later[0]}: the metadata file of {year} has no such field; remove it")
    _refuse_unknown(raw, (*fields, *BESIDE), "field of system", "system")
    values: dict[str, Any] = {
        name: _number(raw, name) if name in NUMBERS else _text(raw, name, f"system.{name}")
        for name in raw
        if name != "external_datasets"
    }
    if "external_datasets" in raw:
        values["external_datasets"] = [
            _dataset(item, f"system.external_datasets[{i}]") for i, item in enumerate(_list(raw, "external_datasets"))
        ]
    return values


def _dataset(raw: Any, where: str) -> dict[str, Any]:
    _refuse_unknown(raw, DATASET, f"field of {where}", where)
    return {name: _text(raw, name, f"{where}.{name}") for name in DATASET}


def _refuse_unknown(raw: Any, known: Collection[str], what: str, where: str = "the file") -> None:
    if not isinstance(raw, Mapping):
        raise DataError(f"{where}: expected a table, got {raw!r:.100}")
    for name in raw:
        if name not in known:
            raise DataError(unknown(what, name, known))


def _list(raw: Mapping[str, Any], name: str) -> list[Any]:
    value = raw.get(name, [])
    if not isinstance(value, list):
        raise DataError(f"{name}: expected a list of tables, as [[{name}]], got {value!r:.100}")
    return value


def _text(raw: Mapping[str, Any], name: str, where: str) -> str | None:
    """The text of a field, None where it is absent or empty."""
    value = raw.get(name, "")
    if not isinstance(value, str):
        raise DataError(f"{where}: expected text in quotes, got {value!r:.100}")
    return value.strip() or None


def _number(raw: Mapping[str, Any], name: str) -> int:
    value = raw[name]
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise DataError(f"system.{name}: expected a whole number of at least 0, got {value!r:.100}")
    return value
