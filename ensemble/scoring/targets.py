"""Paths of `detect score` -> clips of the machines and sections of a model."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ensemble.scoring.model import Model
from ensemble.scoring.score import Outcome
from featstore.clip import Clip, checked_path
from featstore.errors import DataError
from featstore.layouts.kaldi import SCP_SUFFIX
from featstore.layouts.manifest import MANIFEST_SUFFIXES
from featstore.layouts.recognise import find_clips
from featstore.layouts.windows import windows_of

LISTS = (*MANIFEST_SUFFIXES, SCP_SUFFIX)
"""Ends of files that list recordings."""


@dataclass(frozen=True)
class Target:
    """Clips below a folder, cut into windows where the model has them, those that fit no section of it, and notes."""

    root: Path
    clips: tuple[Clip, ...]
    rejected: tuple[Outcome, ...] = ()
    notes: tuple[str, ...] = ()


def targets_of(
    model: Model, paths: Sequence[Path], *, machine: str = "", section: str = "", layout: str = "auto"
) -> Iterator[Target]:
    """A target for every folder or list of recordings, as it names machines and sections, and one for all files.

    machine, section: of all recordings, where they are given. DataError for a folder without recordings, or a path that
    does not exist.
    """
    files = [path for path in paths if not path.is_dir() and path.suffix.lower() not in LISTS]
    for path in files:
        if not path.exists():
            raise DataError(f"{path}: no such file or folder")
    if files:
        named = [Clip(checked_path(str(path)), machine, section, "test") for path in files]
        yield _target(model, Path(), named, machine, section)
    for folder in (path for path in paths if path not in files):
        listing = find_clips(folder, layout)
        target = _target(model, listing.root, listing.clips, machine, section)
        yield replace(target, notes=listing.notes)


def _target(model: Model, root: Path, clips: Sequence[Clip], machine: str, section: str) -> Target:
    placed, rejected = list[Clip](), list[Outcome]()
    for clip in clips:
        if machine or section or not model.knows(clip.machine, clip.section):
            try:
                place = model.section_of(clip.path, machine, section)
            except DataError as error:
                rejected.append(Outcome(clip, None, str(error).removeprefix(f"{clip.path}: ")))
                continue
            clip = replace(clip, machine=place[0], section=place[1])
        placed.append(clip)
    if not placed and rejected:
        raise DataError(f"{rejected[0].clip.path}: {rejected[0].reason}")
    return Target(root, tuple(windows_of(root, placed, model.policy)), tuple(rejected))
