"""The zip of a team: all its systems and its technical report, with the inner paths that the challenge asks for."""

import io
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

from ensemble.submission.package import LABEL, TASK
from featstore.disk.files import write_new
from featstore.errors import DataError

REPORT = ".pdf"
"""Ends the name of a technical report, which lies beside the folders of the systems or in them."""


def team_of(label: str) -> str:
    """Lastname_Institute_task2 of a label; empty where it is no label."""
    match = LABEL.fullmatch(label)
    return match["team"] if match else ""


def systems_of(task: Path, team: str = "") -> list[Path]:
    """Folders of the systems in a folder task2, those of one team where it is named."""
    if not task.is_dir():
        return []
    folders = sorted(path for path in task.iterdir() if path.is_dir() and not path.is_symlink())
    return [path for path in folders if not team or team_of(path.name) == team]


def zip_team(root: Path, team: str, new: Path | None = None, out: Path | None = None) -> Path:
    """Write OUT/<team>.zip (default: ROOT) with the systems of a team in ROOT/task2; equal files give equal bytes.

    new: the folder of a system that takes the place of the one of its name. Links are left out. DataError where there
    is no system.
    """
    entries = _entries(root, team, new)
    if not entries:
        raise DataError(f"{root / TASK}: no system of {team}; detect run --format dcase --label {team}_1 writes one")
    target = (out or root) / f"{team}.zip"
    write_new(target, _image(entries))
    return target


def is_current(root: Path, team: str) -> bool:
    """Whether ROOT/<team>.zip holds what `zip_team` would pack now; also where there is no such file."""
    archive = root / f"{team}.zip"
    if not archive.exists():
        return True
    try:
        with zipfile.ZipFile(archive) as packed:
            inside = {item.filename: (item.file_size, item.CRC) for item in packed.infolist()}
    except zipfile.BadZipFile:
        return False
    files = {name: path.read_bytes() for name, path in _entries(root, team).items()}
    return inside == {name: (len(data), zlib.crc32(data)) for name, data in files.items()}


def _entries(root: Path, team: str, new: Path | None = None) -> dict[str, Path]:
    """The files of a package by their path in the zip; empty without a system."""
    task = root / TASK
    systems: dict[str, Path] = {path.name: path for path in systems_of(task, team)}
    if new is not None:
        systems[new.name] = new
    if not systems:
        return {}
    entries = {f"{TASK}/{name}/{file}": path for name, at in systems.items() for file, path in _files(at).items()}
    reports = {f"{TASK}/{name}": path for name, path in _files(task).items() if name.lower().endswith(REPORT)}
    return {**entries, **reports}


def _files(folder: Path) -> dict[str, Path]:
    """The plain files directly in a folder, by name."""
    if not folder.is_dir():
        return {}
    return {path.name: path for path in folder.iterdir() if path.is_file() and not path.is_symlink()}


def _image(entries: Mapping[str, Path]) -> bytes:
    image = io.BytesIO()
    with zipfile.ZipFile(image, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in sorted(entries):
            if not name.isprintable():
                raise DataError(f"{name!r}: a name with such characters does not fit a zip; rename the machine")
            entry = zipfile.ZipInfo(name)  # dated 1980, so the bytes do not depend on time
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, entries[name].read_bytes())
    return image.getvalue()
