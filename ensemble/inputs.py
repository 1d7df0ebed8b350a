"""What a detection reads from a store: its recordings with their roles, and their rows in every embedding."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from shlex import quote

import numpy as np

from ensemble.marks.apply import with_marks
from ensemble.parallel.rows import SharedRows
from ensemble.recipe import Member, Recipe
from ensemble.windows.blocks import any_windows, reference_blocks
from featstore.acquisition.notes import section_notes
from featstore.acquisition.recordings import FACTS, Recordings, policy_of
from featstore.building.state import unfinished
from featstore.errors import DataError, StoreError
from featstore.spec import did_you_mean
from featstore.store import EmbeddingInfo, FeatureStore
from featstore.table import ClipTable, decode, encode


@dataclass(frozen=True)
class Roles:
    """Rows of an embedding that train and rows that are scored; `self_ranked` where these are the same clips."""

    train: np.ndarray
    scored: np.ndarray
    self_ranked: bool


def evidence_of(store: FeatureStore, recipe: Recipe) -> Member:
    """The member whose embedding lists the clips and gives the nearest training clips.

    It is the first member with an embedding. Where all members are score files, it is the store's first embedding.
    """
    names = sorted(store.embeddings)
    if not names:
        raise StoreError(f"{store.path}: no embeddings; fill it with `featstore build`")
    return next((member for member in recipe.members if not member.file), Member(names[0], ""))


class Inputs:
    """The recordings of a store with their roles, and their rows in every embedding.

    blocks: number of each training clip's block (n,), see `ensemble.groups` and `ensemble.windows`; None where the
    recipe names no group and no training clip is a window.
    """

    def __init__(self, store: FeatureStore, recipe: Recipe, machines: Sequence[str]) -> None:
        self.store = store = with_marks(store, recipe.marks)
        self.evidence = evidence_of(store, recipe)
        self.base = base = self.evidence.embedding
        stored = store.clips(base)
        _refuse_unknown(machines, stored, store)
        wanted = np.isin(stored.column("machine"), machines) if machines else np.ones(len(stored), dtype=bool)
        recordings = np.flatnonzero(stored.where(variant="") & wanted)  # generated anomalies are for selection only
        self.clips, chose = with_confirmed_labels(stored[recordings], recipe)
        silent = store.facts(base)["outcome"][recordings] == b"silent"
        banks = banks_of(self.clips, recipe.pool_sections)
        self.roles, notes = self.roles_of(banks, silent, f"{store.path}: {base}")
        note = f"{chose} clips that chose this ensemble are left out of the metrics" if chose else ""
        self.notes = (*store.warnings, *filter(None, [unfinished(store.path), note]), *notes)
        self._order: dict[str, np.ndarray] = {base: recordings}
        self.blocks, block_notes = self.blocks_for(recipe)
        self.notes += block_notes
        self._held: tuple[str, SharedRows] | None = None

    def roles_of(self, banks: list[tuple[str, str]], silent: np.ndarray, where: str) -> tuple[Roles, tuple[str, ...]]:
        """Which clips train and which are scored, and notes on clips that are left out."""
        return _roles(self.clips, banks, silent, where)

    def blocks_for(self, recipe: Recipe) -> tuple[np.ndarray | None, tuple[str, ...]]:
        """Blocks of the training clips, where the recipe names a group or some are windows, and notes."""
        train = self.clips[self.roles.train]
        if not recipe.group and not any_windows(train):
            return None, ()
        content = self.contents(self.roles.train)
        identity = [known or path for known, path in zip(content, train.recordings(), strict=True)]
        section = section_texts(train, recipe.pool_sections)
        number, notes = reference_blocks(recipe.group, train, identity, section)
        files = [member.name for member in recipe.members if member.file]
        if files:
            origin = f"--group {recipe.group}" if recipe.group else "windows"
            notes += (f"{origin}: the training scores of {', '.join(files)} are used as they are",)
        return number, notes

    def info(self, name: str) -> EmbeddingInfo:
        """Description of an embedding."""
        return self.store.info(name)

    def acquisition_notes(self) -> list[str]:
        """In which sections the scored clips were recorded differently from their bank; copies are not counted."""
        rows, facts = self._order[self.base], self.store.facts(self.base)
        columns = {name: facts[name][rows] for name in FACTS}
        recordings = Recordings(self.clips, columns, policy_of(self.info(self.base)))
        return section_notes(recordings, quote(str(self.store.path)), copies=False)

    def contents(self, clips: np.ndarray) -> list[str]:
        """Hash of the bytes of the recordings of clips, given by their numbers; "" where it is unknown."""
        return decode(self.store.facts(self.base)["content_hash"][self._order[self.base][clips]])

    def shared(self, name: str) -> SharedRows:
        """Rows (n, *shape) of an embedding in memory that processes share; only the last one asked for is kept."""
        if self._held is None or self._held[0] != name:
            order = self._rows(name)
            self._held = None  # freed before the next is read
            rows = SharedRows((len(order), *self.info(name).shape))
            np.take(self.store.matrix(name), order, axis=0, out=rows.array, mode="clip")
            self._held = (name, rows)
        return self._held[1]

    def view(self, member: Member) -> int | None:
        """Number of a member's view; None where it names none, and all are joined."""
        return self.info(member.embedding).views.index(member.view) if member.view else None

    def matrix(self, member: Member) -> np.ndarray:
        """Rows (n, d) of a member's view; all views joined where it names none."""
        return one_view(self.shared(member.embedding).array, self.view(member))

    def _rows(self, name: str) -> np.ndarray:
        """Position in embedding `name` of every clip."""
        if name not in self._order:
            place = {key: i for i, key in enumerate(self.store.clips(name).keys())}
            keys = self.clips.keys()
            missing = [key for key in keys if key not in place]
            if missing:
                raise DataError(
                    f"{self.store.path}: {len(missing)} clips of {self.base} have no row in {name}, first "
                    f"{missing[0]!r}; run featstore build with -e {name} too, or leave {name} out"
                )
            self._order[name] = np.array([place[key] for key in keys])
        return self._order[name]


def width_of(info: EmbeddingInfo, member: Member) -> int:
    """Values per row that a member reads: those of its view, or of all views."""
    return int(np.prod(info.shape[1:] if member.view else info.shape))


def one_view(rows: np.ndarray, view: int | None) -> np.ndarray:
    """One view (n, d) of the rows (n, *shape) of an embedding; None joins all its views."""
    return rows.reshape(len(rows), -1) if view is None else rows[:, view]


class TrainingInputs(Inputs):
    """The training clips of a store alone, for what is fitted to them; no clip is scored."""

    def roles_of(self, banks: list[tuple[str, str]], silent: np.ndarray, where: str) -> tuple[Roles, tuple[str, ...]]:
        """Every usable training clip, but for banks of a single one; DataError where none is left."""
        train, notes = training_rows(self.clips, silent)
        _refuse_none(train, self.clips, silent, where)
        train, left_out = without_single_clips(banks, train, train[:0])
        if not len(train):
            raise DataError(f"{where}: {NOTHING_TO_COMPARE}")
        return Roles(train, train[:0], self_ranked=False), (*notes, *left_out)


def training_rows(clips: ClipTable, silent: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """Rows of the usable training clips, and notes on those that are left out."""
    usable = clips.where(split="train") & ~clips.where(label="anomaly")
    train = np.flatnonzero(usable & ~silent)
    notes = []
    if (usable & silent).any():
        notes.append(f"{int((usable & silent).sum())} silent training recordings were left out of the banks")
    known_faults = int((clips.where(split="train") & clips.where(label="anomaly")).sum())
    if known_faults:
        notes.append(f"{known_faults} training recordings labelled anomaly were left out of the banks")
    return train, notes


def _refuse_none(train: np.ndarray, clips: ClipTable, silent: np.ndarray, where: str) -> None:
    if len(train):
        return
    unheard = int((clips.where(split="train") & silent).sum())
    if unheard:
        raise DataError(
            f"{where}: {unheard} training clips are silent in the channel that was embedded, and there are no others; "
            "`featstore check DATA` says which channel has sound: build it into a new store with --channel"
        )
    raise DataError(f"{where}: no training clips among its {len(clips)} clips; add normal recordings to the data")


NOTHING_TO_COMPARE = "no section has two clips to compare; --pool-sections compares whole machines"


def _roles(
    clips: ClipTable, banks: list[tuple[str, str]], silent: np.ndarray, where: str
) -> tuple[Roles, tuple[str, ...]]:
    """Which rows train and which are scored, and notes on clips that are left out."""
    train, notes = training_rows(clips, silent)
    _refuse_none(train, clips, silent, where)
    scored = np.flatnonzero(clips.where(split="test"))
    _refuse_small_banks(banks, train, scored)
    train, left_out = without_single_clips(banks, train, scored)
    notes += left_out
    if len(scored):
        return Roles(train, scored, self_ranked=False), tuple(notes)
    if not len(train):
        raise DataError(f"{where}: {NOTHING_TO_COMPARE}")
    notes.append("no test clips: the training clips are ranked among themselves, each scored without itself")
    return Roles(train, train, self_ranked=True), tuple(notes)


def _refuse_unknown(machines: Sequence[str], clips: ClipTable, store: FeatureStore) -> None:
    known = sorted(set(clips.column("machine").tolist()))
    for machine in machines:
        if machine not in known:
            raise DataError(
                f"{store.path}: no machine {machine!r}; it has {', '.join(known)}{did_you_mean(machine, known)}"
            )


def _refuse_small_banks(banks: list[tuple[str, str]], train: np.ndarray, scored: np.ndarray) -> None:
    """DataError that names every bank with test clips and fewer than two training clips."""
    n_train, n_test = Counter(banks[i] for i in train), Counter(banks[i] for i in scored)
    small = sorted(bank for bank in n_test if n_train[bank] < 2)
    if small:
        counts = [f"{m} section {s} has {n_train[m, s]} for {n_test[m, s]} test clips" for m, s in small]
        raise DataError(
            f"a section needs at least two normal training clips: {'; '.join(counts)}. Add recordings, join the "
            "sections of a machine into one bank with --pool-sections, or name only the other machines with --machine"
        )


def without_single_clips(
    banks: list[tuple[str, str]], train: np.ndarray, scored: np.ndarray
) -> tuple[np.ndarray, list[str]]:
    """Training rows without the banks of a single clip that no test clip needs, and notes on these."""
    n_train, needed = Counter(banks[i] for i in train), {banks[i] for i in scored}
    left_out = sorted(bank for bank, n in n_train.items() if n == 1 and bank not in needed)
    notes = [
        f"{machine} section {section}: left out, because its single clip has nothing to be compared with"
        for machine, section in left_out
    ]
    return np.array([i for i in train if banks[i] not in left_out], dtype=np.intp), notes


def with_confirmed_labels(clips: ClipTable, recipe: Recipe) -> tuple[ClipTable, int]:
    """The clips with the labels that a recipe chosen by confirmed ones asks for; how many test clips lose theirs.

    A training clip confirmed as a fault is an anomaly, so no bank holds it. A test clip that chose the recipe has no
    label, so no metric counts it.
    """
    faults, chosen_by = set(recipe.confirmed_faults), {*recipe.confirmed_faults, *recipe.confirmed_normal}
    if not chosen_by:
        return clips, 0
    keys, train, test = clips.keys(), clips.where(split="train"), clips.where(split="test")
    fault = np.array([key in faults for key in keys], dtype=bool) & train
    hidden = np.array([key in chosen_by for key in keys], dtype=bool) & test
    label = clips.column("label").astype(object)
    label[fault], label[hidden] = "anomaly", "unknown"
    return ClipTable({**clips.columns, "label": encode(label.tolist())}), int(hidden.sum())


def machine_section(clips: ClipTable, pool_sections: bool) -> tuple[np.ndarray, np.ndarray]:
    """Machine and section of every clip; with `pool_sections` all sections of a machine are one."""
    machine = clips.column("machine")
    return machine, np.full(len(clips), "all") if pool_sections else clips.column("section")


def banks_of(clips: ClipTable, pool_sections: bool) -> list[tuple[str, str]]:
    """`machine_section` of every clip as a pair."""
    return list(zip(*(column.tolist() for column in machine_section(clips, pool_sections)), strict=True))


def section_texts(clips: ClipTable, pool_sections: bool) -> np.ndarray:
    """Machine and section of every clip as one text, as messages name it."""
    pairs = banks_of(clips, pool_sections)
    return np.array([f"machine {machine} section {section}" for machine, section in pairs], dtype=np.str_)
