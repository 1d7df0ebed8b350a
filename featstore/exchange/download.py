"""Downloads the data of DCASE Task 2 from Zenodo into the folders that the baselines and `featstore build` expect.

    DEST/dev_data/raw/MACHINE/...     development data
    DEST/eval_data/raw/MACHINE/...    additional training data and evaluation test data

Names, sizes and md5 of the files are read from each Zenodo record; only the record numbers are stored here.
"""

import http.client
import json
import re
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from featstore.errors import DataError
from featstore.exchange.fetch import TIMEOUT_S, Remote, Report, fetch, refuse_full, unpack

ZENODO = "https://zenodo.org/api/records"
LARGEST_RECORD_BYTES = 4 << 20

SETS = {"dev": "dev_data", "additional": "eval_data", "eval": "eval_data"}
"""Parts of the data of a challenge -> their folder."""

RECORDS = {
    "dcase2020": (3678171, 3727685, 3841772),
    "dcase2021": (4562016, 4660992, 4884786),
    "dcase2022": (6355122, 6462969, 6586456),
    "dcase2023": (7882613, 7830345, 7860847),
    "dcase2024": (10902294, 11259435, 11363076),
    "dcase2025": (15097779, 15392814, 15519362),
    "dcase2026": (19336329, 20151556, 20437238),
}
"""Data set -> its Zenodo records, in the order of SETS."""


@dataclass(frozen=True)
class Part:
    """One file of a record; subset: the part of the data it belongs to, a key of SETS."""

    name: str
    remote: Remote
    subset: str

    def folder(self, dest: Path) -> Path:
        """The folder for its recordings."""
        return dest / SETS[self.subset] / "raw"


def find_parts(dataset: str, sets: Sequence[str], machines: Sequence[str] = ()) -> list[Part]:
    """Archives to fetch; DataError for a machine without an archive lists the archives."""
    if dataset not in RECORDS:
        raise DataError(f"unknown dataset {dataset!r}; choose from {', '.join(RECORDS)}")
    records = dict(zip(SETS, RECORDS[dataset], strict=True))
    parts = [part for name in sets for part in _parts_of(records[name], name)]
    archives = [part for part in parts if part.name.endswith(".zip")]
    for machine in machines:
        if not any(_is_of(part, machine) for part in archives):
            names = ", ".join(part.name for part in archives)
            raise DataError(f"--machine {machine}: none of the files of {dataset} is for this machine ({names})")
    return [part for part in archives if any(_is_of(part, machine) for machine in machines)] if machines else archives


def _is_of(part: Part, machine: str) -> bool:
    """Whether the file is for the machine: dev_fan.zip and eval_data_fan_test.zip are for the fan."""
    return machine.lower() in re.split(r"[_.]", part.name.lower())


def _parts_of(record: int, subset: str) -> Iterator[Part]:
    url = f"{ZENODO}/{record}"
    for entry in _record(url):
        try:
            name, size, checksum = str(entry["key"]), int(entry["size"]), str(entry["checksum"])
            remote = Remote(str(entry["links"]["self"]), size, checksum.removeprefix("md5:").lower())
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise DataError(f"{url}: expected files with key, size, checksum and link, got {entry!r}") from error
        if not re.fullmatch(r"[\w-][\w. -]*", name) or not re.fullmatch(r"[0-9a-f]{32}", remote.md5) or size < 0:
            raise DataError(f"{url}: expected a plain file name with an md5, got {name!r} with {checksum!r}")
        yield Part(name, remote, subset)


def _record(url: str) -> list[dict[str, Any]]:
    """The record's descriptions of its files."""
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT_S) as response:
            files = json.loads(response.read(LARGEST_RECORD_BYTES))["files"]
    except (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError) as error:
        raise DataError(f"{url}: no connection ({error}); check the network and run the same command again") from error
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{url}: the answer does not describe a record ({error!r}); try again later") from error
    if not isinstance(files, list):
        raise DataError(f"{url}: expected a list of files, got {type(files).__name__}")
    return files


def download(parts: Sequence[Part], dest: Path, report: Report = lambda done, total: None) -> int:
    """Fetch and unpack `parts`; returns the number of files that were unpacked below `dest`, now or earlier.

    An archive is deleted after unpacking. A note with its md5 remains, so that the same command skips it.
    """
    archives = dest / "archives"
    notes = {part: archives / part.subset / f"{part.name}.{part.remote.md5}.done" for part in parts}
    missing = [part for part in parts if not notes[part].exists()]
    total = sum(part.remote.size for part in missing)
    refuse_full(dest, total, "the download")
    fetched = 0
    for part in missing:
        archive = archives / part.subset / part.name

        def show(done: int, _size: int, fetched: int = fetched) -> None:
            report(fetched + done, total)

        fetch(part.remote, archive, show)
        count = unpack(archive, part.folder(dest))
        notes[part].write_text(f"{count}\n")
        archive.unlink()
        fetched += part.remote.size
    return sum(int(note.read_text()) for note in notes.values())
