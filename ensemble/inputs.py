"""What a detection reads from a store: its recordings with their roles, and their rows in every embedding."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from shlex import quote
from types import MappingProxyType

import numpy as np

from ensemble.checks.copies import Copies, Sound, repeated_rows, sounds_of, twins
from ensemble.checks.thin import thin_notes, thin_of, thin_reason, too_small
from ensemble.checks.unscored import Place, Unscored, rejected_keys
from ensemble.groups import ALONE, filled, joined_blocks
from ensemble.marks.apply import with_marks
from ensemble.parallel.rows import SharedRows
from ensemble.recipe import Member, Recipe
from ensemble.windows.blocks import any_windows, reference_blocks
from featstore.acquisition.notes import section_notes
from featstore.acquisition.outliers import kinds_of
from featstore.acquisition.recordings import FACTS, Recordings, policy_of
from featstore.building.state import unfinished
from featstore.errors import DataError, StoreError
from featstore.spec import did_you_mean
from featstore.store import EmbeddingInfo, FeatureStore
from featstore.table import ClipTable, decode, encode
from featstore.terminal.shown import counted


@dataclass(frozen=True)
class Roles:
    """Clips that train and clips that are scored, by their numbers; `self_ranked` where these are the same clips.

    repeated, copied: training clips, and scored clips, that repeat a training clip of their bank by content, with that
    clip. Repeated clips do not train, unless the training clips are ranked. thin: test clips that are not scored,
    because their bank has fewer than two training clips, with that number; left_out: a note on them.
    """

    train: np.ndarray
    scored: np.ndarray
    self_ranked: bool
    repeated: Mapping[int, int] = field(default_factory=dict)
    copied: Mapping[int, int] = field(default_factory=dict)
    thin: Mapping[int, int] = field(default_factory=dict)
    left_out: tuple[str, ...] = ()


def evidence_of(store: FeatureStore, recipe: Recipe) -> Member:
    """The member whose embedding lists the clips and gives the nearest training clips.

    It is the first member with an embedding. Where all members are score files, it is the store's first embedding.
    """
    names = sorted(store.embeddings)
    if not names:
        raise StoreError(f"{store.path}: no embeddings; fill it with `featstore build`")
    return next((member for member in recipe.members if not member.file), Member(names[0], ""))


def embeddings_of(store: FeatureStore, recipe: Recipe) -> list[str]:
    """The embeddings that a recipe reads and the store has, the one that lists the clips first."""
    names = [evidence_of(store, recipe).embedding, *(member.embedding for member in recipe.members if not member.file)]
    return [name for name in dict.fromkeys(names) if name in store.embeddings]


class Inputs:
    """The recordings of a store with their roles, and their rows in every embedding.

    blocks: number of each training clip's block (n,), see `ensemble.groups` and `ensemble.windows`; None where the
    recipe names no group and no training clip is a window. near: ranked clips with a near-copy, each with the first.
    """

    near: Mapping[int, int] = MappingProxyType({})

    def __init__(self, store: FeatureStore, recipe: Recipe, machines: Sequence[str]) -> None:
        self.store = store = with_marks(store, recipe.marks)
        self.evidence = evidence_of(store, recipe)
        self.base = base = self.evidence.embedding
        stored = store.clips(base)
        refuse_unknown_machines(machines, stored, store)
        wanted = np.isin(stored.column("machine"), machines) if machines else np.ones(len(stored), dtype=bool)
        wanted &= stored.where(variant="")  # generated anomalies are for selection only
        recordings = np.flatnonzero(wanted & ~_rejected_elsewhere(store, stored, base, recipe))
        self.clips, chose = with_confirmed_labels(stored[recordings], recipe)
        self._order: dict[str, np.ndarray] = {base: recordings}
        silent = store.facts(base)["outcome"][recordings] == b"silent"
        banks = banks_of(self.clips, recipe.pool_sections)
        self.roles, notes = self.roles_of(banks, silent, f"{store.path}: {base}")
        note = f"{counted(chose, 'clip')} that chose this ensemble are left out of the metrics" if chose else ""
        self.notes = (*store.warnings, *filter(None, [unfinished(store.path), note]), *notes)
        self.blocks, block_notes = self.blocks_for(recipe)
        self.notes += block_notes
        self._held: tuple[str, SharedRows] | None = None

    def roles_of(self, banks: list[tuple[str, str]], silent: np.ndarray, where: str) -> tuple[Roles, tuple[str, ...]]:
        """Which clips train and which are scored, and notes on clips that are left out."""
        train, notes = training_rows(self.clips, silent)
        _refuse_none(train, self.clips, silent, where)
        scored = np.flatnonzero(self.clips.where(split="test"))
        if not len(scored):
            train, single = without_single_clips(banks, train, scored)
            if not len(train):
                raise DataError(f"{where}: {NOTHING_TO_COMPARE}")
            notes += [*single, SELF_RANKED]
            return Roles(train, train, self_ranked=True, repeated=self.repeats(banks, train)[1]), tuple(notes)
        first, repeated = self.repeats(banks, train)
        train = _without(train, repeated)
        thin = thin_of(banks, train, scored)
        is_thin = np.array([bank in thin for bank in banks], dtype=bool)
        train, single = without_single_clips(banks, train[~is_thin[train]], scored)
        kept = scored[~is_thin[scored]]
        if not len(kept):
            raise DataError(too_small(thin, banks, scored))
        sounds = self.sounds(kept)
        copies = {row: first.get((banks[row], sound)) for row, sound in zip(kept.tolist(), sounds, strict=True)}
        copied = {row: twin for row, twin in copies.items() if twin is not None}
        lacking = {int(row): thin[banks[row]] for row in scored[is_thin[scored]]}
        sections = tuple(thin_notes(thin, banks, scored))
        return Roles(train, kept, False, repeated, copied, lacking, sections), (*notes, *single)

    def sounds(self, clips: np.ndarray) -> list[Sound]:
        """What tells whether two clips, given by their numbers, are the same sound."""
        return sounds_of(self.clips[clips], self.contents(clips))

    def repeats(
        self, banks: Sequence[tuple[str, str]], train: np.ndarray
    ) -> tuple[dict[tuple[tuple[str, str], Sound], int], dict[int, int]]:
        """The first training clip by path with each sound of a bank, and the others, each with that one."""
        keys = self.clips[train].keys()
        order = sorted(range(len(train)), key=keys.__getitem__)
        sounds = dict(zip(train.tolist(), self.sounds(train), strict=True))
        return repeated_rows((int(train[i]) for i in order), banks, sounds)

    def _sounds_by_key(self, clips: np.ndarray) -> dict[str, Sound]:
        return dict(zip(self.clips[clips].keys(), self.sounds(clips), strict=True))

    @property
    def copies(self) -> Copies:
        """The exact copies among the clips."""
        keys = self.clips.keys()
        exact, repeated = (
            {keys[row]: keys[twin] for row, twin in pairs.items()} for pairs in (self.roles.copied, self.roles.repeated)
        )
        train = [*self.roles.train.tolist(), *self.roles.repeated]
        faults = np.flatnonzero(self.clips.where(label="anomaly"))  # the labels reach a note only
        faulty, normal = (self._sounds_by_key(rows) for rows in (faults, np.array(train, dtype=np.intp)))
        opposed = twins(faulty, normal)
        return Copies(exact=exact, repeated=repeated, opposed=opposed)

    @property
    def unscored(self) -> tuple[Unscored, ...]:
        """The test clips of banks with too few training clips."""
        return tuple(
            Unscored(clip.key, Place(clip.machine, clip.section, clip.split, clip.domain), thin_reason(n))
            for clip, n in ((self.clips[row], n) for row, n in self.roles.thin.items())
        )

    def keep_apart(self, near: Mapping[int, int], recipe: Recipe) -> None:
        """Join the blocks of near-copies, so that ranked clips are not compared with them."""
        self.near = near
        self.blocks, _ = self.blocks_for(recipe)

    def blocks_for(self, recipe: Recipe) -> tuple[np.ndarray | None, tuple[str, ...]]:
        """Blocks of the training clips, where the recipe names a group or some are windows, and notes."""
        train = self.clips[self.roles.train]
        section = section_texts(train, recipe.pool_sections)
        content = self.contents(self.roles.train)
        own = [known or path for known, path in zip(content, train.recordings(), strict=True)]
        of_row = dict(zip(self.roles.train.tolist(), own, strict=True))
        identity = [of_row[self.near.get(row, row)] for row in of_row]
        if not recipe.group and not any_windows(train):
            return (_copies_together(section, train.keys(), identity) if self._ranks_copies else None), ()
        number, notes = reference_blocks(recipe.group, train, identity, section)
        files = [member.name for member in recipe.members if member.file]
        if files:
            origin = f"--group {recipe.group}" if recipe.group else "windows"
            notes += (f"{origin}: the training scores of {', '.join(files)} are used as they are",)
        return number, notes

    @property
    def _ranks_copies(self) -> bool:
        return self.roles.self_ranked and bool(self.roles.repeated or self.near)

    def embeddings(self, recipe: Recipe) -> list[str]:
        """The embeddings that a recipe reads, the one that lists the clips first."""
        return embeddings_of(self.store, recipe)

    def info(self, name: str) -> EmbeddingInfo:
        """Description of an embedding."""
        return self.store.info(name)

    @cached_property
    def _acquisition(self) -> Recordings:
        rows, facts = self._order[self.base], self.store.facts(self.base)
        columns = {name: facts[name][rows] for name in FACTS}
        return Recordings(self.clips, columns, policy_of(self.info(self.base)))

    def acquisition_notes(self) -> list[str]:
        """In which sections the scored clips were recorded differently from their bank; copies are not counted."""
        return section_notes(self._acquisition, quote(str(self.store.path)), copies=False)

    def recorded(self) -> dict[str, tuple[str, ...]]:
        """The ways in which scored clips were recorded differently from their bank, by key."""
        keys, scored = self.clips.keys(), set(self.roles.scored.tolist())
        return {keys[row]: kinds for row, kinds in kinds_of(self._acquisition).items() if row in scored}

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
                    f"{self.store.path}: {counted(len(missing), 'clip')} of {self.base} without a row in {name}, first "
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
        repeated = self.repeats(banks, train)[1]
        train, left_out = without_single_clips(banks, _without(train, repeated), train[:0])
        if not len(train):
            raise DataError(f"{where}: {NOTHING_TO_COMPARE}")
        return Roles(train, train[:0], self_ranked=False, repeated=repeated), (*notes, *left_out)


def training_rows(clips: ClipTable, silent: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """Rows of the usable training clips, and notes on those that are left out."""
    usable = clips.where(split="train") & ~clips.where(label="anomaly")
    train = np.flatnonzero(usable & ~silent)
    notes = []
    if (usable & silent).any():
        notes.append(f"{counted(int((usable & silent).sum()), 'silent training recording')} left out of the banks")
    known_faults = clips.where(split="train") & clips.where(label="anomaly")
    if known_faults.any():
        notes.append(f"{counted(int(known_faults.sum()), 'training recording')} labelled anomaly left out of the banks")
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
    raise DataError(
        f"{where}: no training clips among its {counted(len(clips), 'clip')}; add normal recordings to the data"
    )


NOTHING_TO_COMPARE = "no section has two clips to compare; --pool-sections compares whole machines"


SELF_RANKED = (
    "the store has no test clips, so the training clips are ranked among themselves, each compared with the others"
)


def _without(rows: np.ndarray, others: Iterable[int]) -> np.ndarray:
    """The rows that are not among the others."""
    return rows[~np.isin(rows, list(others))]


def _copies_together(section: np.ndarray, keys: Sequence[str], identity: Sequence[str]) -> np.ndarray | None:
    """Block (n,) of each clip: a clip with its copies; None where that would leave a section with one block."""
    number = joined_blocks(section, keys, identity)
    for text in np.unique(section).tolist():
        here = np.flatnonzero(section == text)
        if len(np.unique(number[here])) == 1:  # nothing but copies: nothing else to compare them with
            number[here] = ALONE
    return filled(number, np.arange(len(number)))


def _rejected_elsewhere(store: FeatureStore, clips: ClipTable, base: str, recipe: Recipe) -> np.ndarray:
    """Mask of the clips that another embedding of the recipe rejected, so that a member could not score them."""
    rejected = rejected_keys(store, [name for name in embeddings_of(store, recipe) if name != base])
    if not rejected:
        return np.zeros(len(clips), dtype=bool)
    return np.array([key in rejected for key in clips.keys()], dtype=bool)  # noqa: SIM118 - a table, not a dict


def refuse_unknown_machines(machines: Sequence[str], clips: ClipTable, store: FeatureStore) -> None:
    """Raise DataError for a machine that none of the clips is of."""
    known = sorted(set(clips.column("machine").tolist()))
    for machine in machines:
        if machine not in known:
            raise DataError(
                f"{store.path}: no machine {machine!r}; it has {', '.join(known)}{did_you_mean(machine, known)}"
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
