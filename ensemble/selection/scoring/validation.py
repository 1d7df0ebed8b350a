"""The cross-fitted protocol: every training clip and generated anomaly is scored by a bank that does not contain it.

The training clips of a section are divided into folds. A clip's generated anomalies and exact copies (equal content
hash) are in its fold. A fold is scored by a detector fitted on the clips of the other folds. So the scores of normal
clips are honest reference scores, the anomalies compare with them as test anomalies with normal test clips, and no test
clip is used. A bank holds (folds - 1) / folds of the clips of the final one.

With a group (see `ensemble.groups`), folds and halves hold whole blocks, as whole days, with everything made from them.
There are at most as many folds as blocks in a section.

The windows of a recording are one source, in one fold, with everything made from them. Where a section has windows of
one recording only, its stretches (see `ensemble.windows.blocks`) are the sources.
"""

import hashlib
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from ensemble.groups import blocks_of, filled
from ensemble.inputs import section_texts
from ensemble.selection.scoring.perturb import VERSION
from ensemble.selection.scoring.perturb_design import Changes, PerturbDesign, plan
from ensemble.windows.blocks import any_windows, units_of
from featstore.clip import VARIANT_MARK
from featstore.errors import DataError
from featstore.spec import unknown
from featstore.table import ClipTable, decode

PROTOCOL = 1
"""Version of the protocol; cached scores of another version are not used."""

FOLDS = 5
NORMAL = -1
"""Pair of a normal clip."""

_VARIANT = re.compile(r"(?P<transform>[^@]+)@(?P<severity>[-+]?\d+(?:\.\d+)?)")


@dataclass(frozen=True, order=True)
class Pair:
    """A transform at one severity: the level of the change relative to the clip, in dB."""

    transform: str
    severity_db: float

    @property
    def name(self) -> str:
        """Transform and severity as in a clip's variant: `leak@-5`; that of confirmed faults has no severity."""
        return self.transform if self == CONFIRMED else f"{self.transform}@{self.severity_db:g}"

    @classmethod
    def of(cls, variant: str) -> "Pair":
        """Pair of a clip's variant; DataError for another text."""
        match = _VARIANT.match(variant)
        if match is None:
            raise DataError(f"the variant {variant!r} names no generated anomaly; expected TRANSFORM@SEVERITY...")
        return cls(match["transform"], float(match["severity"]))


CONFIRMED = Pair("confirmed faults", 0.0)
"""The pair of faults that a person confirmed; they are recordings."""


@dataclass(frozen=True, eq=False)
class Validation:
    """The clips that are used, in columns (n,): the normal training clips and the generated anomalies.

    rows: position in the embedding. section: index into `sections`. pair: index into `pairs`, NORMAL for a recording.
    source: number of the recording that a clip is, or was made from; recordings of equal content share it, and windows
    have that of their recording or stretch. fold: fold
    of the source. changes: how the last clips are perturbed from the first; their row is that of the original. block:
    number of the block of the source, None without a group or windows; it is the source itself in a section of one
    block, and without a group.
    confirmed: number of the last clips that a person labelled, see confirmed.py; they are in no bank. halves: half of
    every clip, where it does not follow from the sources.
    """

    rows: np.ndarray
    keys: tuple[str, ...]
    section: np.ndarray
    domain: np.ndarray
    pair: np.ndarray
    source: np.ndarray
    fold: np.ndarray
    sections: tuple[tuple[str, str], ...]
    pairs: tuple[Pair, ...]
    notes: tuple[str, ...] = ()
    changes: Changes | None = None
    block: np.ndarray | None = None
    confirmed: int = 0
    halves: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def stored(self) -> int:
        """Number of clips with a row of their own in the store; they come first."""
        return len(self.rows) - (len(self.changes) if self.changes else 0)

    @cached_property
    def normal(self) -> np.ndarray:
        """Mask of the normal recordings (n,)."""
        mask: np.ndarray = self.pair == NORMAL
        return mask

    @cached_property
    def training(self) -> np.ndarray:
        """Mask of the normal training recordings (n,): the banks, and the reference of every position."""
        mask: np.ndarray = self.normal & (np.arange(len(self)) < len(self) - self.confirmed)
        return mask

    def half(self, number: int) -> np.ndarray:
        """Mask (n,) of half 0 or half 1 of the sources, or blocks, with everything made from them."""
        unit = self.source if self.block is None else self.block
        halves = assign_folds(unit, self.section, self.domain, 2) if self.halves is None else self.halves
        mask: np.ndarray = halves == number
        return mask

    @cached_property
    def digest(self) -> str:
        """Hash of the clips, their order and their folds."""
        rules = f"protocol {PROTOCOL}\n" + (f"perturbations {VERSION}\n" if self.changes else "")
        rules += f"confirmed {self.confirmed}\n" if self.confirmed else ""
        lines = (f"{key}\t{fold}\n" for key, fold in zip(self.keys, self.fold.tolist(), strict=True))
        return hashlib.sha256("".join([rules, *lines]).encode("utf-8", "surrogateescape")).hexdigest()


def plan_validation(
    clips: ClipTable,
    facts: Mapping[str, np.ndarray],
    *,
    folds: int = FOLDS,
    perturbed: PerturbDesign | None = None,
    group: str = "",
    faults: Mapping[str, bool] | None = None,
    machines: Collection[str] = (),
) -> Validation:
    """The clips that are used, with their folds; nothing depends on the order of the rows.

    perturbed: make the anomalies in embedding space instead of using those of the store. faults: whether a recording is
    a fault, by its key; a fault is no training clip, and its section needs no anomalies. A section without anomalies or
    with fewer than two different training clips is left out with a note. group: what is in one fold as a whole, see
    `ensemble.groups`. machines: those whose clips are used, all where none is named. DataError where no section is
    left, no training clip has the group, or no clip is of a named machine.
    """
    if folds < 2:
        raise DataError(f"folds = {folds}: a clip is scored by the other folds, so at least 2 are needed")
    of_machine = _of_machines(clips, machines)
    silent = facts["outcome"] == b"silent"
    generated = clips.columns["variant"] != b""
    training = clips.where(split="train") & ~silent & of_machine
    recorded = training & ~generated & ~clips.where(label="anomaly")
    fault = _marked(clips, {key for key, is_fault in (faults or {}).items() if is_fault})
    recorded &= ~fault
    contents, notes = _contents(clips[recorded], decode(facts["content_hash"][recorded]))
    paths = np.array(decode(clips.columns["path"]), dtype=object)
    known = np.array([path in contents for path in paths], dtype=bool) & (perturbed is None)
    taken = np.flatnonzero(recorded | (training & generated & known))
    needs_none = set(clips.sections()) if perturbed else set(clips[fault].sections())
    taken = taken[_useful(clips[taken], recorded[taken], contents, needs_none)]
    if not len(taken):
        raise DataError("no section has two different training clips" if perturbed else NO_ANOMALIES)
    planned = _validation(clips, taken, contents, folds)
    planned = replace(planned, notes=(*planned.notes, *notes))
    if any_windows(clips[recorded]):
        planned = replace(planned, block=planned.source)
    if group:
        planned = _with_blocks(planned, clips[planned.rows], group, folds)
    return _with_changes(planned, perturbed) if perturbed else planned


def _of_machines(clips: ClipTable, machines: Collection[str]) -> np.ndarray:
    """Mask (n,) of the clips of these machines, all where none is named; DataError for one that no clip has."""
    column = clips.column("machine")
    known = np.unique(column).tolist()
    for machine in machines:
        if machine not in known:
            raise DataError(unknown("machine", machine, known))
    return np.isin(column, list(machines)) if machines else np.ones(len(clips), dtype=bool)


PERTURBED = "the anomalies are perturbed embeddings, not sounds; real faults may change the embeddings in another way"
NO_ANOMALIES = (
    "no section has two training clips with generated anomalies; build the store with `featstore build DATA STORE "
    "--anomalies auto` or, without audio, perturb the embeddings with `detect select STORE --perturb`"
)


def _contents(clips: ClipTable, hashes: list[str]) -> tuple[dict[str, str], tuple[str, ...]]:
    """Content of training clips by path, empty where it is unknown; for windows their recording or stretch; notes."""
    paths = decode(clips.columns["path"])
    if not any_windows(clips):
        return dict(zip(paths, hashes, strict=True)), ()
    identity = [known or _hash(recording) for known, recording in zip(hashes, clips.recordings(), strict=True)]
    units = units_of(clips, identity, section_texts(clips, pool_sections=False))
    contents = {path: unit or known for path, unit, known in zip(paths, units.names, hashes, strict=True)}
    return contents, units.notes("the scores on generated anomalies are probably too high")


def _with_blocks(planned: Validation, clips: ClipTable, group: str, folds: int) -> Validation:
    """The same clips in folds of whole blocks."""
    names = np.array([f"machine {machine} section {name}" for machine, name in planned.sections], dtype=np.str_)
    normal = np.flatnonzero(planned.normal)
    section, source = planned.section[normal], planned.source[normal]
    number, notes = blocks_of(group, clips[normal], source.astype(np.str_).tolist(), names[section])
    block_of = np.zeros((len(planned.sections), int(planned.source.max()) + 1), dtype=np.intp)
    block_of[section, source] = filled(number, source)
    block = block_of[planned.section, planned.source]
    fold = assign_folds(block, planned.section, planned.domain, folds)
    return replace(planned, fold=fold, notes=(*planned.notes, *notes), block=block)


def _with_changes(planned: Validation, design: PerturbDesign) -> Validation:
    """The recordings of a validation, followed by the perturbed clips."""
    changes = plan(planned, design)
    pair_of = [Pair(*pair) for pair in zip(changes.name.tolist(), changes.severity_db.tolist(), strict=True)]
    pairs = tuple(sorted(set(pair_of)))
    number = {pair: i for i, pair in enumerate(pairs)}
    variants = zip(changes.origin.tolist(), changes.variants(planned.keys), strict=True)
    original = np.concatenate([np.arange(len(planned)), changes.origin])
    return Validation(
        rows=planned.rows[original],
        keys=(*planned.keys, *(f"{planned.keys[at]}{VARIANT_MARK}{variant}" for at, variant in variants)),
        section=planned.section[original],
        domain=planned.domain[original],
        pair=np.concatenate([planned.pair, [number[pair] for pair in pair_of]]),
        source=planned.source[original],
        fold=planned.fold[original],
        sections=planned.sections,
        pairs=pairs,
        notes=(*planned.notes, PERTURBED),
        changes=changes,
        block=None if planned.block is None else planned.block[original],
    )


def _marked(clips: ClipTable, keys: set[str]) -> np.ndarray:
    """Mask of the clips with one of the keys."""
    return np.array([key in keys for key in (clips.keys() if keys else [""] * len(clips))], dtype=bool)


def _useful(
    clips: ClipTable, recorded: np.ndarray, contents: Mapping[str, str], needs_none: Collection[tuple[str, str]]
) -> np.ndarray:
    """Mask of the clips whose section has two different recordings or more, and a generated anomaly if it needs one."""
    sections = clips.sections()
    number = section_numbers(clips, sections)
    different: list[set[str]] = [set() for _ in sections]
    for at, path in zip(number.tolist(), decode(clips.columns["path"]), strict=True):
        different[at].add(contents[path] or path)
    recordings = np.array([len(hashes) for hashes in different])
    anomalies = np.bincount(number[~recorded], minlength=len(sections))
    enough = (anomalies > 0) | np.array([section in needs_none for section in sections], dtype=bool)
    useful: np.ndarray = ((recordings > 1) & enough)[number]
    return useful


def _validation(clips: ClipTable, taken: np.ndarray, contents: Mapping[str, str], folds: int) -> Validation:
    chosen = clips[taken]
    lacking = (
        "has no generated anomalies"
        if chosen.where(label="anomaly").any()
        else "has fewer than two different training clips"
    )
    keys = np.array(chosen.keys(), dtype=object)
    order = np.argsort(keys)
    taken, chosen, keys = taken[order], chosen[order], keys[order]
    left_out = sorted(set(clips[clips.where(split="train")].sections()) - set(chosen.sections()))
    sections = tuple(chosen.sections())
    section = section_numbers(chosen, list(sections))
    variants = decode(chosen.columns["variant"])
    of_variant = {variant: Pair.of(variant) for variant in set(variants) if variant}
    pairs = tuple(sorted(set(of_variant.values())))
    number = {pair: i for i, pair in enumerate(pairs)}
    pair = np.array([number[of_variant[variant]] if variant else NORMAL for variant in variants])
    identity = [contents[path] or _hash(path) for path in decode(chosen.columns["path"])]
    source = np.unique(np.array(identity, dtype=object).astype(np.str_), return_inverse=True)[1].reshape(-1)
    domain = chosen.column("domain")
    return Validation(
        rows=taken,
        keys=tuple(keys.tolist()),
        section=section,
        domain=domain,
        pair=pair,
        source=source,
        fold=assign_folds(source, section, domain, folds),
        sections=sections,
        pairs=pairs,
        notes=tuple(f"{machine} section {name} {lacking}: left out" for machine, name in left_out),
    )


def _hash(path: str) -> str:
    """Substitute for an unknown content hash: as random, but of the path."""
    return hashlib.sha256(path.encode("utf-8", "surrogateescape")).hexdigest()


def section_numbers(clips: ClipTable, sections: list[tuple[str, str]]) -> np.ndarray:
    """Index into `sections` of every clip (n,); -1 for another section."""
    number = {section: i for i, section in enumerate(sections)}
    pairs = zip(clips.column("machine").tolist(), clips.column("section").tolist(), strict=True)
    return np.array([number.get(pair, -1) for pair in pairs], dtype=np.intp)


def assign_folds(source: np.ndarray, section: np.ndarray, domain: np.ndarray, folds: int) -> np.ndarray:
    """Fold of every clip (n,): the sources of a section get folds 0, 1, ... in turn, domain by domain.

    Sources are numbered by their content hash, so their order is as good as random.
    """
    fold_of = np.empty(int(source.max()) + 1, dtype=np.intp)
    for number in np.unique(section):
        here = np.flatnonzero(section == number)
        first = here[np.unique(source[here], return_index=True)[1]]
        ordered = source[first[np.lexsort([source[first], domain[first]])]]
        fold_of[ordered] = np.arange(len(ordered)) % folds
    fold: np.ndarray = fold_of[source]
    return fold
