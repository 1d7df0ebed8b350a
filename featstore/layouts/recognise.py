"""Dataset folders -> clips: the table of layouts, and how the layout of a folder is detected."""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from featstore import registry
from featstore.clip import DOMAINS, LABELS, SPLITS, Clip, checked_path, window_path
from featstore.console import table
from featstore.errors import DataError
from featstore.layouts.dcase import YEARS, Reading, likely_years, read_dcase
from featstore.layouts.dcase_names import parse_id_name, parse_section_name
from featstore.layouts.folder import claims_mimii, read_folder, read_mimii
from featstore.layouts.kaldi import SCP_SUFFIX, read_scp
from featstore.layouts.listed import check_texts
from featstore.layouts.manifest import MANIFEST_SUFFIXES, read_manifest
from featstore.layouts.tree import AUDIO_SUFFIXES, Tree, scan, stem
from featstore.layouts.truth import apply_truth
from featstore.terminal.shown import Block, block, counted, one_line


@dataclass(frozen=True)
class Layout:
    """One way to store recordings; what: its description for the help.

    read: from a tree to its clips. claims: whether a path follows the names of this layout; layouts with the same
    `claims` are years of one naming, and a layout without it is never detected by names.
    """

    what: str
    read: Callable[[Tree], Reading]
    claims: Callable[[str], bool] | None = None


@dataclass(frozen=True)
class Listing:
    """Clips of a data set, sorted by machine, section, split and path, and notes for the user.

    `root` is the folder that the paths are relative to: the given folder, or the folder of the manifest. test_notes:
    what the test clips of the data set allow, which says nothing where its clips are only scored.
    """

    layout: str
    root: Path
    clips: list[Clip]
    notes: tuple[str, ...]
    test_notes: tuple[str, ...] = ()


def _claims_id(path: str) -> bool:
    return parse_id_name(stem(path)) is not None


def _claims_section(path: str) -> bool:
    return parse_section_name(stem(path)) is not None


_read_id = partial(read_dcase, parse=parse_id_name)
_read_section = partial(read_dcase, parse=parse_section_name)

LAYOUTS: dict[str, Layout] = {
    "dcase2020": Layout("DCASE 2020 Task 2: <machine>/train|test/normal_id_00_00000000.wav", _read_id, _claims_id),
    "dcase2021": Layout(
        "DCASE 2021: <machine>/train|source_test|target_test/section_00_...", _read_section, _claims_section
    ),
    "dcase2022": Layout("DCASE 2022: <machine>/train|test/section_...", _read_section, _claims_section),
    "dcase2023": Layout("DCASE 2023: as 2022, one section", _read_section, _claims_section),
    "dcase2024": Layout("DCASE 2024: as 2023, some attributes hidden", _read_section, _claims_section),
    "dcase2025": Layout("DCASE 2025: as 2024, and supplemental clips", _read_section, _claims_section),
    "dcase2026": Layout("DCASE 2026: as 2025, two channels", _read_section, _claims_section),
    "mimii": Layout("original MIMII: [6_dB_fan/]fan/id_00/normal|abnormal/*.wav", read_mimii, claims_mimii),
    "folder": Layout("any folder: [<machine>/][train|test/][normal|abnormal/]*.wav", read_folder),
    "manifest": Layout("a .csv or .parquet table with a column path", read_manifest),
}


def find_clips(root: Path, layout: str = "auto", *, ground_truth: Path | None = None) -> Listing:
    """Clips below a folder, or listed in a manifest (.csv, .parquet) or a Kaldi .scp file.

    auto detects the layout by the names. DataError where two layouts fit and where there are no recordings.
    `ground_truth` (official CSVs, see `truth`) sets label and domain of evaluation clips; labels reach metrics only.
    """
    if layout != "auto":
        _layout(layout)
    tree = _tree(Path(root), layout)
    name = _detect(tree) if layout == "auto" else layout
    chosen = _layout(name)
    reading = chosen.read(tree)
    if not isinstance(reading, Reading):
        raise DataError(f"layout {name}: its read must return a Reading(clips, notes), got {type(reading).__name__}")
    clips, notes = reading.clips, [*tree.notes, *reading.notes]
    if not clips:
        raise DataError(f"{root}: no recording fits layout {name} ({chosen.what}){'; '.join(['', *notes])}")
    if layout == "auto" and chosen.claims is _claims_section:
        name = likely_years(YEARS, tree, list(clips))[0]  # all of them give the same clips
    if ground_truth is not None:
        clips, truth_notes = apply_truth(clips, Path(ground_truth))
        notes += truth_notes
    for clip in clips:
        checked_path(clip.recording if name == "manifest" else clip.path)  # a manifest has checked its paths of files
    check_texts(clips)
    if tree.windows:
        clips = [part for clip in clips for part in _parts(clip, tree)]
    return Listing(name, tree.root, sorted(clips, key=_order), tuple(notes), reading.test_notes)


def _layout(name: str) -> Layout:
    """The layout called `name`, of the table or of an installed package; DataError with the nearest name."""
    try:
        layout: Layout = registry.find("layout", name)
    except ValueError as error:
        raise DataError(f"{error}, or auto") from error
    return layout


def summary(clips: Iterable[Clip]) -> Block:
    """Text table of clip counts: rows of machine, section and split, columns of domain and label; at most 100 wide.

    Generated variants are counted in a line below the table.
    """
    counts: dict[tuple[str, str, str], Counter[tuple[str, str]]] = {}
    generated: list[str] = []
    for clip in clips:
        if clip.variant:
            generated.append(clip.path)
            continue
        row = counts.setdefault((clip.machine, clip.section, clip.split), Counter())
        row[clip.domain, clip.label] += 1
    columns = [(d, lab) for d in DOMAINS for lab in LABELS if any((d, lab) in row for row in counts.values())]
    total = sum(counts.values(), Counter())
    header = ["machine", "section", "split", *(f"{'none' if d == 'unknown' else d}\n{lab}" for d, lab in columns)]
    rows = []
    for machine, section, split in sorted(counts, key=lambda key: (*key[:2], SPLITS.index(key[2]))):
        row = counts[machine, section, split]
        numbers = (f"{row[c]:,}" if row[c] else "." for c in columns)
        rows.append([one_line(machine, 20), one_line(section, 20), split, *numbers])
    rows.append(["total", "", "", *(f"{total[c]:,}" for c in columns)])
    text = table(header, rows, text_columns=3, width=100)
    if not generated:
        return text
    number = counted(len(generated), "generated anomaly", "generated anomalies")
    return block(text, f"and {number} from {len(set(generated)):,} of these recordings")


def _tree(root: Path, layout: str) -> Tree:
    """The recordings below a folder, or the file that lists them."""
    if not root.exists():
        raise DataError(f"{root}: no such folder or file")
    if root.is_dir():
        usual = [root / f"manifest{suffix}" for suffix in MANIFEST_SUFFIXES]
        manifest = next((path for path in usual if path.is_file()), None)
        if layout == "manifest":
            if manifest is None:
                raise DataError(f"{root}: layout manifest needs a table; give its path, or name it {usual[0].name}")
            return Tree(root, listed_in=manifest)
        tree = scan(root)
        unused = [f"{manifest} was not used; to use it, give its path instead of the folder"] if manifest else []
        return replace(tree, notes=[*tree.notes, *unused])
    suffix = root.suffix.lower()
    if suffix == SCP_SUFFIX and layout != "manifest":
        return read_scp(root)
    if suffix not in MANIFEST_SUFFIXES or layout not in ("auto", "manifest"):
        raise DataError(
            f"{root}: expected a folder, a {SCP_SUFFIX} list, or a manifest ({' or '.join(MANIFEST_SUFFIXES)}) with "
            "layout auto or manifest"
        )
    return Tree(root.parent, listed_in=root)


def _detect(tree: Tree) -> str:
    """The layout that the names follow; DataError unless one naming fits half of the files or more, and no other any.

    Where no naming fits any file, the layout is "folder".
    """
    if not tree.audio and tree.listed_in is not None:
        return "manifest"
    if not tree.audio:
        notes = "".join(f"; {note}" for note in tree.notes)
        raise DataError(f"{tree.root}: no recordings ({' '.join(AUDIO_SUFFIXES)}){notes}")
    layouts = {name: _layout(name) for name in registry.names("layout")}
    namings = dict.fromkeys(layout.claims for layout in layouts.values() if layout.claims is not None)
    counts = {claims: sum(claims(tree.context + path) for path in tree.audio) for claims in namings}
    counts = {claims: n for claims, n in counts.items() if n}
    if not counts:
        return "folder"
    names = {claims: [name for name, layout in layouts.items() if layout.claims is claims] for claims in counts}
    if len(counts) == 1 and 2 * sum(counts.values()) >= len(tree.audio):
        return next(iter(names.values()))[0]
    fitting = [f"{', '.join(names[claims])}: {counted(n, 'file')}" for claims, n in counts.items()]
    raise DataError(
        f"{tree.root}: {len(tree.audio):,} recordings fit no single layout; {'; '.join(fitting)}; folder: all files; "
        "choose one with --layout NAME, or give a folder with files of one layout"
    )


def _parts(clip: Clip, tree: Tree) -> list[Clip]:
    """The windows of a clip that are listed."""
    return [replace(clip, path=window_path(clip.path, *window)) for window in tree.windows[clip.path]]


def _order(clip: Clip) -> tuple[str, str, int, tuple[str, float], str]:
    return clip.machine, clip.section, SPLITS.index(clip.split), clip.place, clip.path
