"""The data of DCASE Task 2 from Zenodo, into the folders the baselines and `featstore build` expect.

    DEST/dev_data/raw/MACHINE/...     development data
    DEST/eval_data/raw/MACHINE/...    additional training data and evaluation test data

What there is to fetch (names, sizes, md5) is asked of each Zenodo record; only the records' numbers are kept here.
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
"""Parts of a challenge's data, and the folder each goes to."""

RECORDS = {
    "dcase2020": (3678171, 3727685, 3841772),
    "dcase2021": (4562016, 4660992, 4884786),
    "dcase2022": (6355122, 6462969, 6586456),
    "dcase2023": (7882613, 7830345, 7860847),
    "dcase2024": (10902294, 11259435, 11363076),
    "dcase2025": (15097779, 15392814, 15519362),
    "dcase2026": (19336329, 20151556, 20437238),
}
"""Zenodo records of every year, in the order of SETS."""


@dataclass(frozen=True)
class Part:
    """One file of a record, and the part of the data (a key of SETS) it belongs to."""

    name: str
    remote: Remote
    subset: str

    def folder(self, dest: Path) -> Path:
        """Where its recordings go."""
        return dest / SETS[self.subset] / "raw"


def find_parts(dataset: str, sets: Sequence[str], machines: Sequence[str] = ()) -> list[Part]:
    """What there is to fetch; DataError names the machines there are when one is asked for that is not."""
    if dataset not in RECORDS:
        raise DataError(f"unknown dataset {dataset!r}; choose from {', '.join(RECORDS)}")
    records = dict(zip(SETS, RECORDS[dataset], strict=True))
    parts = [part for name in sets for part in _parts_of(records[name], name)]
    archives = [part for part in parts if part.name.endswith(".zip")]
    for machine in machines:
        if not any(_is_of(part, machine) for part in archives):
            names = ", ".join(part.name for part in archives)
            raise DataError(f"--machine {machine}: in none of the files of {dataset} ({names})")
    return [part for part in archives if any(_is_of(part, machine) for machine in machines)] if machines else archives


def _is_of(part: Part, machine: str) -> bool:
    """Whether the file is that machine's: dev_fan.zip and eval_data_fan_test.zip are the fan's."""
    return machine.lower() in re.split(r"[_.]", part.name.lower())


def _parts_of(record: int, subset: str) -> Iterator[Part]:
    url = f"{ZENODO}/{record}"
    for entry in _record(url):
        try:
            name, size, checksum = str(entry["key"]), int(entry["size"]), str(entry["checksum"])
            remote = Remote(str(entry["links"]["self"]), size, checksum.removeprefix("md5:").lower())
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise DataError(f"{url}: a file without key, size, checksum or link ({error!r})") from error
        if not re.fullmatch(r"[\w-][\w. -]*", name) or not re.fullmatch(r"[0-9a-f]{32}", remote.md5) or size < 0:
            raise DataError(f"{url}: expected a plain file name with an md5, got {name!r} with {checksum!r}")
        yield Part(name, remote, subset)


def _record(url: str) -> list[dict[str, Any]]:
    """Files of a record, as it describes them."""
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT_S) as response:
            files = json.loads(response.read(LARGEST_RECORD_BYTES))["files"]
    except (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError) as error:
        raise DataError(f"{url}: not reached ({error}); check the connection and run the same command again") from error
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{url}: the answer is no description of a record ({error!r})") from error
    if not isinstance(files, list):
        raise DataError(f"{url}: expected a list of files, got {type(files).__name__}")
    return files


def download(parts: Sequence[Part], dest: Path, report: Report = lambda done, total: None) -> int:
    """Fetch and unpack; the number of recordings and other files now below `dest`.

    An archive is deleted once it is unpacked; a note of its md5 stays, so that the same command skips it.
    """
    archives = dest / "archives"
    notes = {part: archives / part.subset / f"{part.name}.{part.remote.md5}.done" for part in parts}
    waiting = [part for part in parts if not notes[part].exists()]
    total = sum(part.remote.size for part in waiting)
    refuse_full(dest, total, "the download")
    before = 0
    for part in waiting:
        archive = archives / part.subset / part.name

        def show(done: int, _size: int, before: int = before) -> None:
            report(before + done, total)

        fetch(part.remote, archive, show)
        count = unpack(archive, part.folder(dest))
        notes[part].write_text(f"{count}\n")
        archive.unlink()
        before += part.remote.size
    return sum(int(note.read_text()) for note in notes.values())
