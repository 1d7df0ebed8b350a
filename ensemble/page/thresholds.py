"""Thresholds that were saved in the page: RESULTS/thresholds.toml, the file that `detect --threshold FILE` takes."""

from collections.abc import Mapping
from pathlib import Path

from ensemble.decision.given import EVERY, key_of, read_thresholds
from featstore.disk.files import write_new

FILE = "thresholds.toml"


def saved_thresholds(results: Path) -> dict[tuple[str, str], float]:
    """The saved thresholds by machine and section; empty where none is saved. DataError for a damaged file."""
    path = results / FILE
    if not path.exists():
        return {}
    pairs = [(key.rpartition("/"), value) for key, value in read_thresholds(path) if key != EVERY]
    return {(parts[0], parts[2]): value for parts, value in pairs}


def save_thresholds(results: Path, values: Mapping[tuple[str, str], float]) -> None:
    """Write the thresholds; without any, the file is removed."""
    import tomli_w

    path = results / FILE
    if not values:
        path.unlink(missing_ok=True)
        return
    table = {key_of(*section): value for section, value in sorted(values.items())}
    write_new(path, tomli_w.dumps({"thresholds": table}).encode("utf-8"))
