"""Folders without DCASE names: the original MIMII set, and any folder of recordings."""

import re
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

from featstore.clip import Clip, Label, Split
from featstore.errors import DataError
from featstore.layouts.dcase import Reading
from featstore.layouts.labels import label_of, resembles_label
from featstore.layouts.tree import Tree, stem
from featstore.terminal.shown import counted

_MIMII = re.compile(r"(?:^|/)(?P<machine>[^/]+)/(?P<section>id_[0-9]+)/(?P<label>normal|abnormal)/[^/]+$")
_SNR = re.compile(r"(?:^|/)(?P<sign>-|min|minus_?)?(?P<number>[0-9]+)_?dB(?:_[^/]*)?(?=/)")

_DCASE_STARTS = ("section_", "normal_id_", "anomaly_id_")

NAMED = 3
"""Machines that a note for many names."""

_LABELS_SHOWN = ("normal", "abnormal", "ok", "faulty")

SPLIT_FOLDERS: dict[str, Split] = {"train": "train", "test": "test"}


def claims_mimii(path: str) -> bool:
    """Whether a path looks like fan/id_00/normal/00000000.wav."""
    return _MIMII.search(path) is not None


def read_mimii(tree: Tree) -> Reading:
    """Original MIMII: [6_dB_fan/]fan/id_00/normal|abnormal/*.wav.

    Where the path names an SNR, the machine is called fan_6_dB and the clip has the attribute snr = "6_dB": each SNR
    of a machine has its own bank. Sections are "id_00". MIMII has no split. As in its published baseline, the first
    normal clips in order of path are test clips, as many as there are abnormal clips, and the rest train. At least
    half of the normal clips train.
    """
    groups: dict[tuple[str, str], list[Clip]] = defaultdict(list)
    unread = []
    for path in tree.audio:
        full = tree.context + path
        match = _MIMII.search(full)
        if match is None:
            unread.append(path)
            continue
        machine, attributes = _with_snr(match["machine"], full[: match.start() + 1])
        label = label_of(match["label"]) or "unknown"
        groups[machine, match["section"]].append(
            Clip(path, machine, match["section"], "test", label=label, attributes=attributes)
        )
    clips = [clip for group in groups.values() for clip in _split_mimii(group)]
    notes = ["MIMII has no split: per section the first normal clips, one per abnormal clip, are test; the rest train"]
    if unread:
        outside = f"{counted(len(unread), 'file')} outside <machine>/id_NN/normal|abnormal"
        notes.insert(0, f"not read: {outside}, first {unread[0]!r}")
    return Reading(clips, notes)


def read_folder(tree: Tree) -> Reading:
    """A plain folder: [<machine>/][train|test/][normal|abnormal/]*.wav, in any order of folders.

    Machine: the first folder with another name than these, else the root's own name. Section: always "00"; deeper
    folders become the attribute "folder". Label: by the words of `labels` (abnormal, faulty, ng, ok, ...); a clip in no
    label folder is unknown. Split: an anomaly is always a test clip; other clips have the split of their train or test
    folder. Without such a folder normal clips train; unknown clips are test clips where the machine has normal or
    train folders, else they train, and each is ranked against the others (leave-one-out). DataError for a folder whose
    path states two labels or two splits.
    """
    root_name = tree.root.resolve().name or "machine"
    folders = sorted({path.rpartition("/")[0] for path in tree.audio})
    places = {folder: _plain_place(tree.root, folder, root_name) for folder in folders}
    with_normal = {p.machine for p in places.values() if p.split == "train" or p.label == "normal"}
    clips, moved = [], []
    for path in tree.audio:
        place = places[path.rpartition("/")[0]]
        if place.label == "anomaly" and place.split == "train":
            moved.append(path)
        attributes = {"folder": place.deeper} if place.deeper else {}
        split = _plain_split(place, with_normal)
        clips.append(Clip(path, place.machine, "00", split, label=place.label, attributes=attributes))
    unlabelled = {f for f, p in places.items() if p.label == "unknown" and any(map(resembles_label, p.names))}
    return Reading(clips, _plain_notes(clips, moved, unlabelled), tuple(_test_notes(clips)))


class _PlainPlace(NamedTuple):
    """What the folder of a clip states; names: its parts that are neither label nor split."""

    machine: str
    split: Split | None
    label: Label
    names: tuple[str, ...]

    @property
    def deeper(self) -> str:
        """The folders below the machine's."""
        return "/".join(self.names[1:])


def _with_snr(machine: str, above: str) -> tuple[str, dict[str, str]]:
    snrs = list(_SNR.finditer(above))
    if not snrs:
        return machine, {}
    snr = f"{'-' if snrs[-1]['sign'] else ''}{snrs[-1]['number']}_dB"
    return f"{machine}_{snr}", {"snr": snr}


def _split_mimii(group: list[Clip]) -> list[Clip]:
    normal = sorted((clip for clip in group if clip.label == "normal"), key=lambda clip: clip.path)
    abnormal = [clip for clip in group if clip.label == "anomaly"]
    n_test = min(len(abnormal), len(normal) // 2)
    return [_training(clip) for clip in normal[n_test:]] + normal[:n_test] + abnormal


def _training(clip: Clip) -> Clip:
    return Clip(clip.path, clip.machine, clip.section, "train", label=clip.label, attributes=clip.attributes)


def _plain_place(root: Path, folder: str, root_name: str) -> _PlainPlace:
    parts = [part for part in folder.split("/") if part]
    splits = [SPLIT_FOLDERS[part.lower()] for part in parts if part.lower() in SPLIT_FOLDERS]
    labels = [label for part in parts if (label := label_of(part))]
    for what, found in (("label", labels), ("split", splits)):
        if len(set(found)) > 1:
            raise DataError(
                f"{root}: the folder {folder!r} states two {what}s, {' and '.join(dict.fromkeys(found))}; give it one, "
                "or list its recordings in a manifest"
            )
    names = tuple(part for part in parts if part.lower() not in SPLIT_FOLDERS and label_of(part) is None)
    return _PlainPlace(
        machine=names[0] if names else root_name,
        split=splits[-1] if splits else None,
        label=labels[-1] if labels else "unknown",
        names=names,
    )


def _plain_split(place: _PlainPlace, with_normal: set[str]) -> Split:
    if place.label == "anomaly":
        return "test"
    if place.split:
        return place.split
    return "test" if place.label == "unknown" and place.machine in with_normal else "train"


def _plain_notes(clips: list[Clip], moved: list[str], unlabelled: set[str]) -> list[str]:
    notes = []
    similar = [clip.path for clip in clips if stem(clip.path).startswith(_DCASE_STARTS)]
    if similar:
        begin = "name begins like a DCASE name but is" if len(similar) == 1 else "names begin like DCASE names but are"
        notes.append(f"{len(similar):,} {begin} none, first {similar[0]!r}")
    if moved:
        read = "anomaly in a train folder is read as a test clip"
        are = read if len(moved) == 1 else "anomalies in train folders are read as test clips"
        notes.append(f"{len(moved):,} {are}, first {moved[0]!r}")
    if unlabelled:
        notes.append(_unlabelled_note(clips, unlabelled))
    below = [clip for clip in clips if "folder" in clip.attributes and _folder(clip) not in unlabelled]
    deeper = {(clip.machine, clip.attributes["folder"]) for clip in below}
    if deeper:
        below_machine = "folder below a machine folder is" if len(deeper) == 1 else "folders below machine folders are"
        notes.append(
            f"{len(deeper):,} {below_machine} read as one section per machine, first "
            f"{'/'.join(min(deeper))!r}; list them in a manifest to keep them apart"
        )
    return notes


def _folder(clip: Clip) -> str:
    return clip.path.rpartition("/")[0]


def _unlabelled_note(clips: list[Clip], folders: set[str]) -> str:
    """A note on folders whose names were probably meant as labels."""
    own = [clip for clip in clips if _folder(clip) in folders]
    splits = " and ".join({"train": "training", "test": "test"}[split] for split in sorted({c.split for c in own}))
    if len(folders) == 1:
        what, whose = f"{next(iter(folders))} is no known label", "its"
    else:
        what, whose = f"{len(folders):,} folders have no known label, first {min(folders)}", "their"
    have, count = ("has", "counts") if len(own) == 1 else ("have", "count")
    return (
        f"{what} ({', '.join(_LABELS_SHOWN)}, ...): {whose} {counted(len(own), 'recording')} {have} no label and "
        f"{count} as {splits} clips; rename the folder{'' if len(folders) == 1 else 's'} to change that"
    )


def _test_notes(clips: list[Clip]) -> list[str]:
    """Machines without test clips, or without normal ones, in one note for all that share it."""
    tested: dict[str, set[Label]] = {}
    for clip in clips:
        tested.setdefault(clip.machine, set()).update([clip.label] if clip.split == "test" else [])
    untested = sorted(machine for machine, labels in tested.items() if not labels)
    faulty = sorted(machine for machine, labels in tested.items() if labels == {"anomaly"})
    notes = []
    if untested:
        whose = "its" if len(untested) == 1 else "their"
        notes.append(f"{_machines(untested)} no test clips: {whose} training clips are ranked among themselves")
    if faulty:
        where = faulty[0] if len(faulty) == 1 else "MACHINE"
        notes.append(f"{_machines(faulty)} no normal test clips; for an AUC put some in {where}/test/normal")
    return notes


def _machines(machines: list[str]) -> str:
    """The first machines by name, how many there are, and the verb."""
    if len(machines) == 1:
        return f"machine {machines[0]!r} has"
    more = f" and {len(machines) - NAMED:,} more" if len(machines) > NAMED else ""
    return f"{len(machines):,} machines ({', '.join(map(repr, machines[:NAMED]))}{more}) have"
