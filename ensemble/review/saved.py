"""RESULTS/thresholds.toml: the thresholds set in the page, in the format that `detect --threshold FILE` reads.

`detect run` leaves the file as it is. `default = NUMBER` in it, which the page does not write, is `scored.DEFAULT`.
"""

from collections.abc import Mapping
from pathlib import Path

from ensemble.decision.given import EVERY, key_of, read_thresholds
from ensemble.page.scored import DEFAULT
from featstore.disk.files import explained, write_new
from featstore.errors import DataError

FILE = "thresholds.toml"


def saved_thresholds(results: Path) -> dict[tuple[str, str], float]:
    """The thresholds by machine and section; none where there is no file, DataError for one that cannot be read."""
    if not (results / FILE).exists():
        return {}
    values = read_thresholds(results / FILE)
    return {DEFAULT if key == EVERY else _section(key): value for key, value in values}


def save_thresholds(results: Path, values: Mapping[tuple[str, str], float]) -> None:
    """Replace the file, whole or not at all; without any threshold it is removed.

    DataError for a name that is not valid Unicode, which TOML cannot hold.
    """
    path = results / FILE
    if not values:
        with explained(str(path), 0, results):
            path.unlink(missing_ok=True)
        return
    import tomli_w

    named = {key_of(*key): float(value) for key, value in sorted(values.items()) if key != DEFAULT}
    default = {EVERY: float(values[DEFAULT])} if DEFAULT in values else {}
    try:
        data = tomli_w.dumps({**default, **({"thresholds": named} if named else {})}).encode("utf-8")
    except UnicodeEncodeError as error:
        raise DataError(
            f"{path}: a machine or section is not valid Unicode text, which TOML needs; rename it"
        ) from error
    with explained(str(path), len(data), results):
        write_new(path, data)


def _section(key: str) -> tuple[str, str]:
    """Machine and section of a key; a section has no slash."""
    machine, _, section = key.rpartition("/")
    return machine, section
