"""Clips of the data that get no score, each with the reason: rejected recordings, and sections with too few clips.

A store keeps the path of a rejected recording and the reason, not its machine and section. Both follow from the clips
that the store has of the same folder, from the name, and from the names of the folders.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from ensemble.checks.disk import gone_files
from featstore.clip import recording_of
from featstore.errors import IncompleteError
from featstore.layouts.dcase import SPLIT_FOLDERS
from featstore.layouts.dcase_names import parse_any_name
from featstore.layouts.tree import stem
from featstore.store import FeatureStore
from featstore.table import ClipTable
from featstore.terminal.shown import counted

SHOWN = 3
"""Names in a note."""

UNKNOWN = "unknown"
REJECTED = "rejected: "
"""Begins the reason of a recording that the build rejected."""


class Place(NamedTuple):
    """Machine, section, split and domain of a recording; "" where unknown, "unknown" for the domain."""

    machine: str = ""
    section: str = ""
    split: str = ""
    domain: str = UNKNOWN


@dataclass(frozen=True)
class Unscored:
    """A clip without a score: its path, where it belongs, and why."""

    path: str
    place: Place
    reason: str


def rejected_keys(store: FeatureStore, names: Iterable[str]) -> dict[str, str]:
    """Reason of every recording that some embedding of `names` rejected, by its path; no generated anomalies."""
    rejected = [item for name in names for item in store.rejected(name) if not item.variant]
    return {item.path: item.reason for item in reversed(rejected)}


def rejected_clips(store: FeatureStore, names: Sequence[str], root: Path | None) -> list[Unscored]:
    """The rejected recordings, sorted by path, but for those that are no longer below `root` or are cut by now."""
    rejected = rejected_keys(store, names)
    if not rejected:
        return []
    clips = ClipTable.concatenate([store.clips(name) for name in names])
    clips = clips[clips.where(variant="")]
    cut = set(clips.recordings()) - set(clips.keys())
    gone = gone_files(root, [*rejected, *clips.recordings()])
    kept = sorted(path for path in rejected if path not in cut and recording_of(path) not in gone)
    neighbours = Neighbours(clips)
    return [Unscored(path, neighbours.place(path), f"{REJECTED}{rejected[path]}") for path in kept]


class Neighbours:
    """Where a recording belongs, by the clips (n) of its folder."""

    def __init__(self, clips: ClipTable) -> None:
        columns = [clips.column(name).tolist() for name in ("machine", "section", "split", "domain")]
        self._of_folder: dict[str, set[Place]] = {}
        for path, *place in zip(clips.recordings(), *columns, strict=True):
            self._of_folder.setdefault(path.rpartition("/")[0], set()).add(Place(*place))

    def place(self, path: str) -> Place:
        """Machine, section, split and domain of a recording, as far as they are certain."""
        recording = recording_of(path)
        folder, name = recording.rpartition("/")[0], parse_any_name(stem(recording))
        same = self._of_folder.get(folder, set())
        if name is not None and any(place.section == name.section for place in same):
            same = {place for place in same if place.section == name.section}
        around = same or self._around(folder)
        sections = {place.section for place in around}
        section = name.section if name is not None and name.section in sections else _only(sections)
        parts = reversed(folder.lower().split("/"))
        stated_split, stated_domain = next((SPLIT_FOLDERS[part] for part in parts if part in SPLIT_FOLDERS), ("", ""))
        domain = _only({place.domain for place in same}) or stated_domain or (name.domain if name else "")
        return Place(
            machine=_only({place.machine for place in around}),
            section=section or (name.section if name and not around else ""),
            split=_only({place.split for place in same}) or (name.split if name else "") or stated_split,
            domain=domain if domain in ("source", "target") else UNKNOWN,
        )

    def _around(self, folder: str) -> set[Place]:
        """Places of the clips below the nearest folder above that has any."""
        for above in PurePosixPath(folder).parents:
            start = "" if str(above) == "." else f"{above}/"
            places = [places for other, places in self._of_folder.items() if other.startswith(start)]
            if places:
                return set().union(*places)
        return set()


def _only(values: Collection[str]) -> str:
    """The value that all have; empty where they differ or there is none."""
    return next(iter(values)) if len(values) == 1 else ""


def belonging(unscored: Iterable[Unscored], split: str, machines: Collection[str] = ()) -> list[Unscored]:
    """Those of a split and of the machines (all where none is named), and those whose split or machine is unknown."""
    return [
        clip
        for clip in unscored
        if clip.place.split in ("", split) and (not machines or clip.place.machine in ("", *machines))
    ]


def unscored_note(unscored: Sequence[Unscored]) -> str:
    """How many clips have no score, the first names and their reasons; empty where there are none."""
    if not unscored:
        return ""
    return f"{counted(len(unscored), 'clip')} without a score, listed at the end of scores.csv: {_named(unscored)}"


def unscored_json(unscored: Sequence[Unscored]) -> dict[str, Any]:
    """Numbers of clips without a score, rejected and of sections with too few clips; the sections that are left out."""
    if not unscored:
        return {}
    thin = [clip for clip in unscored if not clip.reason.startswith(REJECTED)]
    sections = Counter((clip.place.machine, clip.place.section) for clip in thin)
    rows = [{"machine": machine, "section": name, "clips": n} for (machine, name), n in sorted(sections.items())]
    return {"unscored": {"rejected": len(unscored) - len(thin), "sections_left_out": rows}}


def refuse_short(unscored: Sequence[Unscored]) -> None:
    """IncompleteError that names the test clips that a submission would lack."""
    if unscored:
        raise IncompleteError(
            f"a submission needs a score of every test clip, and would lack {counted(len(unscored), 'clip')}: "
            f"{_named(unscored)}. Repair the recordings and build again, or give --fill-missing: it writes the "
            "highest score of the section and the decision 1 for each of them"
        )


def _named(unscored: Sequence[Unscored]) -> str:
    names = "; ".join(f"{clip.path} ({clip.reason})" for clip in unscored[:SHOWN])
    rest = len(unscored) - SHOWN
    return f"{names}; and {rest:,} more" if rest > 0 else names
