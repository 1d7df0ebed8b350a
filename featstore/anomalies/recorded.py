"""Recorded or generated sounds of faults as donors for the anomaly `recorded`: a folder of sound files with captions.

    anomalies/captions.csv      file,machine,caption
                                rattle_01.wav,ToyCar,the anomaly sound of a toy car with model B2 and speed 31V

`machine` may be empty: the sound is then used for every machine. The sounds may be recordings of this or another plant,
or the output of a text-to-audio model for the captions (scripts/text_to_audio.py).
"""

import csv
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from featstore.clip import Clip, checked_path
from featstore.errors import DataError, reason_of

CAPTIONS = "captions.csv"
COLUMNS = ("file", "machine", "caption")
WORDS = {"spd": "speed", "vel": "velocity", "car": "model", "mic": "microphone", "m-n": "machine noise"}
"""Meaning of short attribute names of known data sets; other names are used as they are."""


@dataclass(frozen=True)
class Sound:
    """One file of the folder; machine: "" for every machine."""

    file: str
    machine: str
    caption: str


def read_captions(folder: Path) -> list[Sound]:
    """The sounds listed in `folder`; DataError for a missing table, column or file, or a file listed twice."""
    table = folder / CAPTIONS
    try:
        with table.open(newline="", encoding="utf-8-sig") as lines:
            reader = csv.DictReader(lines)
            missing = [name for name in COLUMNS if name not in (reader.fieldnames or ())]
            if missing:
                raise DataError(f"{table}: no column {missing[0]!r}; expected the columns {', '.join(COLUMNS)}")
            sounds = [Sound(*((row[name] or "").strip() for name in COLUMNS)) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(
            f"{table}: cannot be read: {reason_of(error)}; expected a CSV file {','.join(COLUMNS)}"
        ) from error
    if not sounds:
        raise DataError(f"{table}: lists no sound; add a line for each file")
    seen: set[str] = set()
    for sound in sounds:
        if not sound.file or not (folder / sound.file).is_file():
            raise DataError(f"{table}: lists {sound.file!r}, which is not in {folder}")
        if sound.file in seen:
            raise DataError(f"{table}: lists {sound.file!r} twice; keep one line")
        seen.add(sound.file)
    return sounds


def write_captions(folder: Path, sounds: Sequence[Sound]) -> None:
    """Write captions.csv, as `read_captions` reads it."""
    with (folder / CAPTIONS).open("w", newline="", encoding="utf-8") as lines:
        writer = csv.writer(lines)
        writer.writerow(COLUMNS)
        writer.writerows([sound.file, sound.machine, sound.caption] for sound in sounds)


def donors_by_machine(folder: Path, root: Path, machines: Sequence[str]) -> dict[str, list[str]]:
    """Machine -> paths of its sounds, for `variants_of`: relative to the data root where they are below it.

    DataError for a machine that the data do not have.
    """
    donors: dict[str, list[str]] = {}
    for sound in read_captions(folder):
        if sound.machine and sound.machine not in machines:
            raise DataError(
                f"{folder / CAPTIONS}: {sound.file} is for machine {sound.machine!r}, but the data have "
                f"{', '.join(sorted(machines))}; correct the machine, or leave it empty for all machines"
            )
        donors.setdefault(sound.machine, []).append(checked_path(below(folder / sound.file, root)))
    return donors


def below(path: Path, root: Path) -> str:
    """The path relative to `root` where it is below it, otherwise absolute."""
    whole = Path(os.path.abspath(path))  # noqa: PTH100 - symbolic links are not resolved
    base = Path(os.path.abspath(root))  # noqa: PTH100
    return (whole.relative_to(base) if whole.is_relative_to(base) else whole).as_posix()


def caption_of(clip: Clip, state: str = "anomaly") -> str:
    """`the <state> sound of a <machine> with <attribute> <value> and ...`, from machine and attributes of the clip."""
    machine = " ".join(re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+", clip.machine)).lower() or clip.machine
    article = "an" if machine[:1] in "aeio" else "a"
    attributes = [f"{WORDS.get(name, name)} {value}" for name, value in clip.attributes.items() if value]
    listed = " and ".join([", ".join(attributes[:-1]), attributes[-1]] if len(attributes) > 1 else attributes)
    return f"the {state} sound of {article} {machine}" + (f" with {listed}" if listed else "")
