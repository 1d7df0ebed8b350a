"""The cross-fitted protocol: every training clip, and every generated anomaly, is scored by a bank that never met it.

The training clips of a section are dealt into folds. A clip's generated anomalies and its exact copies (equal content
hash) stay in its fold, and a fold is scored by a detector fitted on the clips of the other folds. So the scores of the
normal clips are honest reference scores, the anomalies stand to them as test anomalies to test clips, and no test clip
takes part at all. A bank holds (folds - 1) / folds of the clips that the final one will hold.
"""

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from detectors import create
from detectors.base import Fitted
from ensemble.selection.perturb import VERSION
from ensemble.selection.perturb_design import Changes, PerturbDesign, perturbed_rows, plan
from featstore.clip import VARIANT_MARK
from featstore.errors import DataError
from featstore.table import ClipTable, decode

PROTOCOL = 1
"""Counts changes of the protocol, so that scores of an older one are not taken for scores of this."""

FOLDS = 5
NORMAL = -1
"""Pair of a normal clip."""

_VARIANT = re.compile(r"(?P<transform>[^@]+)@(?P<severity>[-+]?\d+(?:\.\d+)?)")


@dataclass(frozen=True, order=True)
class Pair:
    """A transform at one severity, dB of the change against the clip."""

    transform: str
    severity_db: float

    @property
    def name(self) -> str:
        """As in a clip's variant: `leak@-5`."""
        return f"{self.transform}@{self.severity_db:g}"

    @classmethod
    def of(cls, variant: str) -> "Pair":
        """Pair of a clip's variant; DataError where the text is none."""
        found = _VARIANT.match(variant)
        if found is None:
            raise DataError(f"the variant {variant!r} names no generated anomaly; expected TRANSFORM@SEVERITY...")
        return cls(found["transform"], float(found["severity"]))


@dataclass(frozen=True, eq=False)
class Validation:
    """Clips that take part, in columns (n,): the normal training clips and the generated anomalies.

    rows: position in the embedding that the clips were read from. section: index into `sections`. pair: index into
    `pairs`, NORMAL for a recording. source: number of the recording a clip is or was made from; recordings of equal
    content share it. fold: of its source. changes: how the last clips are made of the first; they have the row of the
    recording they are made of.
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

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def stored(self) -> int:
        """How many clips, the first, have a row of their own in the store."""
        return len(self.rows) - (len(self.changes) if self.changes else 0)

    @cached_property
    def normal(self) -> np.ndarray:
        """Mask of the recordings (n,)."""
        mask: np.ndarray = self.pair == NORMAL
        return mask

    def half(self, number: int) -> np.ndarray:
        """Mask (n,) of one of two halves (0 or 1) of the sources, with everything made from them."""
        mask: np.ndarray = deal(self.source, self.section, self.domain, 2) == number
        return mask

    @cached_property
    def digest(self) -> str:
        """Which clips take part, in which order and fold."""
        rules = f"protocol {PROTOCOL}\n" + (f"perturbations {VERSION}\n" if self.changes else "")
        lines = (f"{key}\t{fold}\n" for key, fold in zip(self.keys, self.fold.tolist(), strict=True))
        return hashlib.sha256("".join([rules, *lines]).encode("utf-8", "surrogateescape")).hexdigest()


def plan_validation(
    clips: ClipTable, facts: Mapping[str, np.ndarray], *, folds: int = FOLDS, perturbed: PerturbDesign | None = None
) -> Validation:
    """Who takes part and in which fold; nothing depends on the order of the rows.

    perturbed: anomalies are made in embedding space, and the store's generated ones stay out. Sections with fewer than
    two different training clips, or without anomalies, are left out and noted. DataError where no section is left.
    """
    if folds < 2:
        raise DataError(f"folds = {folds}: a clip is scored by the other folds, so there must be at least 2")
    silent = facts["outcome"] == b"silent"
    generated = clips.columns["variant"] != b""
    training = clips.where(split="train") & ~silent
    recorded = training & ~generated & ~clips.where(label="anomaly")
    contents = dict(zip(decode(clips.columns["path"][recorded]), decode(facts["content_hash"][recorded]), strict=True))
    paths = np.array(decode(clips.columns["path"]), dtype=object)
    known = np.array([path in contents for path in paths], dtype=bool) & (perturbed is None)
    taken = np.flatnonzero(recorded | (training & generated & known))
    taken = taken[_useful(clips[taken], recorded[taken], contents, least=0 if perturbed else 1)]
    if not len(taken):
        raise DataError("no section has two different training clips" if perturbed else NO_ANOMALIES)
    planned = _validation(clips, taken, contents, folds)
    return _with_changes(planned, perturbed) if perturbed else planned


PERTURBED = "the anomalies are perturbed embeddings, not sounds: nothing tells what an embedding makes of a fault"
NO_ANOMALIES = (
    "no section has two training clips and generated anomalies of them; build the store with `featstore build DATA "
    "STORE --with-anomalies`, or, where there is no audio, perturb embeddings by `detect select STORE --perturb`"
)


def _with_changes(planned: Validation, design: PerturbDesign) -> Validation:
    """The recordings of a validation with the perturbed clips behind them."""
    changes = plan(planned, design)
    pair_of = [Pair(*pair) for pair in zip(changes.name.tolist(), changes.severity_db.tolist(), strict=True)]
    pairs = tuple(sorted(set(pair_of)))
    number = {pair: i for i, pair in enumerate(pairs)}
    made = zip(changes.origin.tolist(), changes.variants(planned.keys), strict=True)
    behind = np.concatenate([np.arange(len(planned)), changes.origin])
    return Validation(
        rows=planned.rows[behind],
        keys=(*planned.keys, *(f"{planned.keys[at]}{VARIANT_MARK}{variant}" for at, variant in made)),
        section=planned.section[behind],
        domain=planned.domain[behind],
        pair=np.concatenate([planned.pair, [number[pair] for pair in pair_of]]),
        source=planned.source[behind],
        fold=planned.fold[behind],
        sections=planned.sections,
        pairs=pairs,
        notes=(*planned.notes, PERTURBED),
        changes=changes,
    )


def _useful(clips: ClipTable, recorded: np.ndarray, contents: Mapping[str, str], *, least: int) -> np.ndarray:
    """Mask of the clips whose section has at least two different recordings and `least` generated anomalies."""
    sections = clips.sections()
    number = _section_numbers(clips, sections)
    different: list[set[str]] = [set() for _ in sections]
    for at, path in zip(number.tolist(), decode(clips.columns["path"]), strict=True):
        different[at].add(contents[path] or path)
    recordings = np.array([len(one) for one in different])
    anomalies = np.bincount(number[~recorded], minlength=len(sections))
    useful: np.ndarray = ((recordings > 1) & (anomalies >= least))[number]
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
    section = _section_numbers(chosen, list(sections))
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
        fold=deal(source, section, domain, folds),
        sections=sections,
        pairs=pairs,
        notes=tuple(f"{machine} section {name} {lacking}: left out" for machine, name in left_out),
    )


def _hash(path: str) -> str:
    """Stands for a content hash that is not known, and is as random as one."""
    return hashlib.sha256(path.encode("utf-8", "surrogateescape")).hexdigest()


def _section_numbers(clips: ClipTable, sections: list[tuple[str, str]]) -> np.ndarray:
    number = {section: i for i, section in enumerate(sections)}
    pairs = zip(clips.column("machine").tolist(), clips.column("section").tolist(), strict=True)
    return np.array([number[pair] for pair in pairs], dtype=np.intp)


def deal(source: np.ndarray, section: np.ndarray, domain: np.ndarray, folds: int) -> np.ndarray:
    """Fold of every clip: sources dealt in turn within each section, domain by domain.

    Sources are numbered by their content hash, so the order they are dealt in is as good as random.
    """
    fold_of = np.empty(int(source.max()) + 1, dtype=np.intp)
    for one in np.unique(section):
        here = np.flatnonzero(section == one)
        first = here[np.unique(source[here], return_index=True)[1]]
        ordered = source[first[np.lexsort([source[first], domain[first]])]]
        fold_of[ordered] = np.arange(len(ordered)) % folds
    dealt: np.ndarray = fold_of[source]
    return dealt


def with_changes(X: np.ndarray, validation: Validation) -> np.ndarray:
    """Rows of all clips, from rows X of the `stored` ones: a changed clip is made with the bank that will score it."""
    changes, stored = validation.changes, validation.stored
    if changes is None:
        return X
    out = np.concatenate([X, np.empty((len(changes), X.shape[1]), dtype=X.dtype)])
    for bank, held in _folds(validation):
        made = held[held >= stored]
        out[made] = perturbed_rows(X, changes[made - stored], bank)
    return out


def held_out_scores(detector: str, X: np.ndarray, validation: Validation) -> np.ndarray:
    """Score of every clip of the validation, rows X (n, d), by the detector fitted without the clip's fold; (n,).

    Raises ValueError, naming the section, where the detector cannot be fitted or gives scores that are not finite.
    """
    if len(X) != len(validation):
        raise ValueError(f"{len(X)} embeddings for {len(validation)} clips of the validation")
    scores = np.empty(len(validation))
    for bank, held in _folds(validation):
        where = " section ".join(validation.sections[validation.section[held[0]]])
        try:
            fitted = _learned(detector, X[bank], validation.domain[bank])
            scores[held] = fitted.anomaly_score(X[held])
        except (ValueError, np.linalg.LinAlgError) as error:
            raise ValueError(f"{where}: {error}") from error
        if not np.isfinite(scores[held]).all():
            raise ValueError(f"{where}: {detector} gives scores that are not finite")
    return scores


def _learned(detector: str, X: np.ndarray, domain: np.ndarray) -> Fitted:
    """A detector fitted without honest scores of its own bank, which nobody needs here."""
    fitted = create(detector)
    if not isinstance(fitted, Fitted):
        raise ValueError(f"{detector} is no detector of this package; derive it from detectors.base.Fitted")
    return fitted.learn(X, domain=domain)


def _folds(validation: Validation) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Bank and held-out clips (positions) of every section and fold that holds out any."""
    for section in range(len(validation.sections)):
        here = validation.section == section
        for fold in np.unique(validation.fold[here]):
            yield (
                np.flatnonzero(here & validation.normal & (validation.fold != fold)),
                np.flatnonzero(here & (validation.fold == fold)),
            )
