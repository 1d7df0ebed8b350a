"""DCASE Task 2 folders, 2020 to 2026: [dev_data|eval_data/][raw/]<machine>/<split folder>/<name>.wav.

All years from 2021 on share one reader, because the file names state everything that differs. Development data,
additional training data and evaluation data below one root are read together: the path keeps clips unique, and the
section keeps their banks apart.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, cast

from featstore.clip import Clip, Domain, Label, Split
from featstore.errors import DataError
from featstore.layouts.attributes import Attributes, read_attributes_beside
from featstore.layouts.dcase_names import NO_ATTRIBUTE, ClipName
from featstore.layouts.labels import label_of
from featstore.layouts.tree import Tree, stem
from featstore.terminal.shown import counted

SPLIT_FOLDERS = {
    "train": ("train", ""),
    "test": ("test", ""),
    "source_test": ("test", "source"),
    "target_test": ("test", "target"),
    "test_rename": ("test", ""),  # the official baseline's copies of evaluation clips under their labelled names
    "supplemental": ("supplemental", ""),
}
STAGES = ("dev_data", "eval_data", "raw")


class Reading(NamedTuple):
    """Clips of a layout, notes for the user about how they were read, and notes on what their test clips allow."""

    clips: list[Clip]
    notes: list[str]
    test_notes: tuple[str, ...] = ()


class _Place(NamedTuple):
    """Machine, split, domain, label and data set that the folder of a clip states; "" where it does not."""

    machine: str
    split: str
    domain: str
    label: str
    folder: str  # the split folder's own name, or ""
    home: str  # path of the machine folder below the root
    dataset: str  # `home` without machine, dev_data, eval_data, raw


@dataclass(frozen=True)
class Year:
    """What distinguishes one year: its machines, its split folders, and whether a machine has several sections."""

    machines: frozenset[str]
    folders: frozenset[str]
    many_sections: bool


def read_dcase(tree: Tree, parse: Callable[[str], ClipName | None]) -> Reading:
    """Clips whose names `parse` understands; all other files are counted in a note.

    A file is left out where split folder and name disagree, and where an anomaly is in a training folder. Supplemental
    clips get the attribute supplemental = "machine" or "noise".
    """
    paths, notes = _without_renamed_copies(tree.audio)
    places = {folder: _place(tree, folder) for folder in {_folder(path) for path in paths}}
    attributes = read_attributes_beside(tree)
    unread: dict[str, list[str]] = {}
    clips = []
    for path in paths:
        place, name = places[_folder(path)], parse(stem(path))
        problem = "whose names do not follow the pattern" if name is None else _conflict(place, name)
        if name is None or problem:
            unread.setdefault(problem, []).append(path)
        else:
            clips.append(_clip(path, place, name, attributes))
    _refuse_pooled_datasets(clips, places)
    for why, files in sorted(unread.items()):
        notes.append(f"not read: {counted(len(files), 'file')} {why}, first {files[0]!r}")
    return Reading(clips, notes + attributes.notes() + _supplemental_notes(clips))


def likely_years(years: dict[str, Year], tree: Tree, clips: Sequence[Clip]) -> list[str]:
    """The years that fit best, oldest first; several where they fit equally well.

    The criteria in order of weight: the year has all machines, it has all split folders, it has several sections per
    machine as the data do, and a folder is named after it ("dcase2025").
    """
    machines = {clip.machine for clip in clips}
    sections = {clip.section for clip in clips}
    folders = {_folder(path).rpartition("/")[2] for path in tree.audio} & SPLIT_FOLDERS.keys() - {"test_rename"}
    folder_names = (tree.context + tree.audio[0]).lower()

    def fit(name: str) -> tuple[bool, ...]:
        year, many = years[name], len(sections) > 1
        return machines <= year.machines, folders <= year.folders, many == year.many_sections, name in folder_names

    best = max(map(fit, years))
    return [name for name in years if fit(name) == best]


def _folder(path: str) -> str:
    return path.rpartition("/")[0]


def _without_renamed_copies(paths: list[str]) -> tuple[list[str], list[str]]:
    """Paths without those in test_rename where the machine also has test (the same recordings), and a note."""
    folders = {_folder(path) for path in paths}
    copies = {f for f in folders if f.rpartition("/")[2] == "test_rename" and f[: -len("_rename")] in folders}
    originals = [path for path in paths if _folder(path) not in copies]
    if not copies:
        return originals, []
    n_copies = len(paths) - len(originals)
    return originals, [f"not read: {counted(n_copies, 'file')} in test_rename folders, copies of the clips in test"]


def _place(tree: Tree, folder: str) -> _Place:
    above = [part for part in (tree.context + folder).split("/") if part]
    stated, home = {"split": "", "label": ""}, folder
    while above:
        kind = "split" if above[-1] in SPLIT_FOLDERS else "label" if label_of(above[-1]) else ""
        if not kind or stated[kind]:
            break
        stated[kind] = above.pop()
        home = home[: -len(stated[kind])].rstrip("/")
    split, domain = SPLIT_FOLDERS.get(stated["split"], ("", ""))
    dataset = "/".join(part for part in above[:-1] if part not in STAGES)
    machine = above[-1] if above else "machine"
    return _Place(machine, split, domain, label_of(stated["label"]) or "", stated["split"], home, dataset)


def _conflict(place: _Place, name: ClipName) -> str:
    """How folder and name contradict each other; "" where they do not."""
    if place.split and name.split and place.split != name.split:
        return f"named {name.split} in a {place.folder} folder"
    if place.domain and name.domain and place.domain != name.domain:
        return f"named {name.domain} in a {place.folder} folder"
    if place.label and name.label in ("normal", "anomaly") and place.label != name.label:
        return f"named {name.label} in a folder of {place.label} clips"
    if (place.split or name.split) == "train" and "anomaly" in (name.label, place.label):
        return "named anomaly in training data"
    return ""


def _clip(path: str, place: _Place, name: ClipName, attributes: Attributes) -> Clip:
    label = name.label if name.label in ("normal", "anomaly") else place.label
    # a name without a split is that of a test clip, but a folder normal/ without one holds training clips
    split = place.split or name.split or ("train" if place.label == "normal" else "test")
    domain = place.domain or name.domain
    stated = {} if name.tail == NO_ATTRIBUTE else name.attributes
    joined = attributes.join(path, place.home, stated, hidden=name.tail == NO_ATTRIBUTE)
    if split == "supplemental":
        joined["supplemental"] = "noise" if "noise" in (name.domain, name.label) else "machine"
    return Clip(
        path=path,
        machine=place.machine,
        section=name.section,
        split=cast(Split, split),
        domain=cast(Domain, domain if domain in ("source", "target") else "unknown"),
        label=cast(Label, label or "unknown"),
        attributes=joined,
    )


def _refuse_pooled_datasets(clips: Iterable[Clip], places: dict[str, _Place]) -> None:
    """DataError where two data sets (for instance two years) have a machine and section of the same name.

    Their clips would become one bank.
    """
    datasets: dict[tuple[str, str, str], str] = {}
    for clip in clips:
        place = places[_folder(clip.path)]
        first = datasets.setdefault((clip.machine, clip.section, place.folder), place.dataset)
        if first != place.dataset:
            raise DataError(
                f"machine {clip.machine!r} section {clip.section} has {place.folder or 'clips'} in two data sets, "
                f"{first!r} and {place.dataset!r}; give the folder of one data set"
            )


def _supplemental_notes(clips: list[Clip]) -> list[str]:
    kinds = [clip.attributes["supplemental"] for clip in clips if clip.split == "supplemental"]
    if not kinds:
        return []
    return [
        f"{len(kinds):,} supplemental clips ({kinds.count('machine'):,} clean machine, {kinds.count('noise'):,} noise "
        "only); they never enter a bank of normal clips"
    ]


_ALL_FOLDERS = frozenset({"train", "test"})
_DEV = frozenset({"ToyCar", "ToyTrain", "bearing", "fan", "gearbox", "slider", "valve"})
_DEV_2026 = frozenset({"ToyCar", "ToyCarEmu", "bearingEmu", "fan", "gearboxEmu", "sliderEmu", "valveEmu"})
EVALUATION_MACHINES = {
    "2023": "bandsaw grinder shaker ToyDrone ToyNscale ToyTank Vacuum",
    "2024": "3DPrinter AirCompressor BrushlessMotor HairDryer HoveringDrone RoboticArm Scanner ToothBrush ToyCircuit",
    "2025": "AutoTrash BandSealer CoffeeGrinder HomeCamera Polisher ScrewFeeder ToyPet ToyRCCar",
    "2026": "ToyDrone ToothBrush SewingMachine BlowerDustCollector Sander",
}
"""Machines of the evaluation data, by year; in 2021 and 2022 they are those of the development data."""

YEARS = {
    "dcase2021": Year(
        frozenset({"fan", "gearbox", "pump", "slider", "ToyCar", "ToyTrain", "valve"}),
        frozenset({"train", "source_test", "target_test"}),
        many_sections=True,
    ),
    "dcase2022": Year(_DEV, _ALL_FOLDERS, many_sections=True),
    "dcase2023": Year(_DEV | set(EVALUATION_MACHINES["2023"].split()), _ALL_FOLDERS, many_sections=False),
    "dcase2024": Year(_DEV | set(EVALUATION_MACHINES["2024"].split()), _ALL_FOLDERS, many_sections=False),
    "dcase2025": Year(
        _DEV | set(EVALUATION_MACHINES["2025"].split()), _ALL_FOLDERS | {"supplemental"}, many_sections=False
    ),
    "dcase2026": Year(
        _DEV_2026 | set(EVALUATION_MACHINES["2026"].split()), _ALL_FOLDERS | {"supplemental"}, many_sections=False
    ),
}
