"""RESULTS/thresholds.toml: the thresholds set in the page, in the format that `detect --threshold FILE` reads.

    [thresholds]
    "fan/00" = 0.97  # run: 5d0f6a1c93b2e874

The comment is the digest of the run that a threshold was set for: of its members and of the reference scores of the
section, so of the scale of its scores. The page does not use a threshold of another run, or without a comment, unless
the run itself decided by it. `detect run` leaves the file as it is. `default = NUMBER` in it, which the page does not
write, is `scored.DEFAULT`.
"""

import hashlib
import re
import tomllib
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import numpy as np

from ensemble.decision.given import EVERY, PAGE_FILE, key_of, read_thresholds
from ensemble.page.scored import DEFAULT, Scored
from featstore.disk.files import explained, write_new
from featstore.errors import DataError
from featstore.terminal.shown import counted

FILE = PAGE_FILE
_NOTED = re.compile(r"^(?P<line>.*\S)\s*# run: (?P<digest>[0-9a-f]{16})$")

Key = tuple[str, str]


def saved_thresholds(results: Path) -> dict[Key, float]:
    """The thresholds by machine and section; none where there is no file, DataError for one that cannot be read."""
    if not (results / FILE).exists():
        return {}
    values = read_thresholds(results / FILE)
    return {DEFAULT if key == EVERY else _section(key): value for key, value in values}


def thresholds_of_run(results: Path, scored: Scored) -> tuple[dict[Key, float], list[Key]]:
    """The saved thresholds that were set for this run, and the sections of those of other runs, sorted.

    DataError for a file that cannot be read.
    """
    values = saved_thresholds(results)
    run = scored.original or scored
    decided = {(limit.machine, limit.section): limit.value for limit in run.limits if limit.requested is None}
    known = {(limit.machine, limit.section) for limit in run.limits} | {DEFAULT}
    digests = _digests(results / FILE) if values else {}
    own = {
        key: value
        for key, value in values.items()
        if key in known and (digests.get(key) == run_digest(run, key) or decided.get(key) == value)
    }
    return own, sorted(values.keys() - own.keys())


def unused_text(number: int) -> str:
    """That so many saved thresholds are those of another run, as a sentence; empty for none."""
    if not number:
        return ""
    was, is_not, them = ("was", "is not", "it") if number == 1 else ("were", "are not", "them")
    return (
        f"{counted(number, 'threshold')} {was} set for an earlier run and {is_not} used: set {them} again in Threshold."
    )


def run_digest(scored: Scored, key: Key) -> str:
    """The digest of the scale of a section's scores: members of the run, and reference scores of the section."""
    rows = np.arange(len(scored.reference)) if key == DEFAULT else scored.reference_rows(*key)
    digest = hashlib.sha256("\n".join(scored.members).encode("utf-8", "surrogateescape"))
    digest.update(np.ascontiguousarray(scored.reference[rows], dtype="<f4").tobytes())
    return digest.hexdigest()[:16]


def save_thresholds(results: Path, values: Mapping[Key, float], scored: Scored) -> None:
    """Replace the file by thresholds set for this run, whole or not at all; without any threshold it is removed.

    DataError for a name that is not valid Unicode, which TOML cannot hold.
    """
    path = results / FILE
    if not values:
        with explained(str(path), 0, results):
            path.unlink(missing_ok=True)
        return
    import tomli_w

    run = scored.original or scored

    def line(name: str, key: Key) -> str:
        return f"{tomli_w.dumps({name: float(values[key])}).rstrip()}  # run: {run_digest(run, key)}\n"

    lines = [line(EVERY, DEFAULT)] if DEFAULT in values else []
    named = [line(key_of(*key), key) for key in sorted(values) if key != DEFAULT]
    try:
        data = "".join([*lines, *(["[thresholds]\n", *named] if named else [])]).encode("utf-8")
    except UnicodeEncodeError as error:
        raise DataError(
            f"{path}: a machine or section is not valid Unicode text, which TOML needs; rename it"
        ) from error
    with explained(str(path), len(data), results):
        write_new(path, data)


def _digests(path: Path) -> dict[Key, str]:
    """The digest beside each threshold of a file; those of lines without one are missing."""
    digests = {}
    for line in path.read_text(encoding="utf-8").split("\n"):
        noted = _NOTED.match(line.rstrip("\r"))
        if noted:
            with suppress(tomllib.TOMLDecodeError, RecursionError):
                for name in tomllib.loads(noted["line"]):
                    digests[DEFAULT if name == EVERY else _section(name)] = noted["digest"]
    return digests


def _section(key: str) -> Key:
    """Machine and section of a key; a section has no slash."""
    machine, _, section = key.rpartition("/")
    return machine, section
