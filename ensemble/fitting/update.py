"""Updates of a fitted recipe: new normal clips of a store join the banks, and changes are listed per section.

The model keeps the rows of its training clips, so an update is a fit to all of them: means, scatters, banks and
reference scores are exactly those of a model that was fitted to all clips at once.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from ensemble.checks.copies import sounds_of
from ensemble.fitting.fit import fit_inputs
from ensemble.fitting.fitted import Fitted
from ensemble.inputs import Inputs, Roles, training_rows, without_single_clips
from ensemble.marks.apply import keys_marked
from ensemble.marks.file import FAULT, IGNORE, read_marks
from ensemble.parallel.rows import SharedRows
from ensemble.recipe import Recipe
from featstore.errors import RequestError
from featstore.store import EmbeddingInfo, FeatureStore
from featstore.table import ClipTable, decode
from featstore.terminal.shown import counted


@dataclass(frozen=True)
class Change:
    """What an update changes for a section and domain, "" for all domains.

    clips: number of reference scores, and threshold: before and after. anomalies: number of the store's generated
    anomalies of the section and domain whose recordings are training clips of both models, which makes the models
    comparable. found: share of them above the threshold before and after, NaN without any.
    """

    machine: str
    section: str
    domain: str
    clips: tuple[int, int]
    threshold: tuple[float, float]
    anomalies: int
    found: tuple[float, float]


class Additions(Inputs):
    """The training clips of a store that a model may lack."""

    def roles_of(self, banks: list[tuple[str, str]], silent: np.ndarray, where: str) -> tuple[Roles, tuple[str, ...]]:
        """Every usable training clip, also the only one of its section."""
        train, notes = training_rows(self.clips, silent)
        repeated = self.repeats(banks, train)[1]
        train = train[~np.isin(train, list(repeated))]
        return Roles(train, train[:0], self_ranked=False, repeated=repeated), tuple(notes)

    def blocks_for(self, recipe: Recipe) -> tuple[np.ndarray | None, tuple[str, ...]]:
        """None, because blocks follow from all clips of the updated model."""
        return None, ()


class Grown(Inputs):
    """The training clips of a model, followed by the new ones of a store."""

    def __init__(self, fitted: Fitted, more: Inputs, new: np.ndarray) -> None:
        """`new`: numbers of the clips of `more` that join."""
        self.evidence, self.base = fitted.evidence, fitted.evidence.embedding
        self.clips = clips = ClipTable.concatenate([fitted.train, more.clips[new]])
        banks, every = fitted.banks_of(clips), np.arange(len(clips))
        train, left_out = without_single_clips(banks, every, every[:0])
        self.roles = Roles(train, every[:0], self_ranked=False)
        self._infos = fitted.embeddings
        self._contents = [*fitted.contents, *more.contents(new)]
        self._of_name = {
            name: np.concatenate([rows, more.shared(name).array[new]]) for name, rows in fitted.rows.items()
        }
        self._held = None
        self.blocks, notes = self.blocks_for(fitted.recipe)
        self.notes = (*more.notes, *left_out, *notes)

    def embeddings(self, recipe: Recipe) -> list[str]:
        """The embeddings that a recipe reads and the model has, the one that lists the clips first."""
        names = (self.base, *(member.embedding for member in recipe.members if not member.file))
        return [name for name in dict.fromkeys(names) if name in self._infos]

    def info(self, name: str) -> EmbeddingInfo:
        """Description of an embedding."""
        return self._infos[name]

    def contents(self, clips: np.ndarray) -> list[str]:
        """Hash of the bytes of the recordings of clips, given by their numbers; "" where it is unknown."""
        return [self._contents[i] for i in clips]

    def shared(self, name: str) -> SharedRows:
        """Rows (n, *shape) of an embedding in memory that processes share; only the last one asked for is kept."""
        if self._held is None or self._held[0] != name:
            self._held = None  # freed before the next is copied
            rows = SharedRows(self._of_name[name].shape)
            rows.array[...] = self._of_name[name]
            self._held = (name, rows)
        return self._held[1]


def updated(
    fitted: Fitted,
    store: FeatureStore,
    *,
    workers: int | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[Fitted, int, tuple[str, ...]]:
    """The recipe fitted to the clips of a model and the new ones of a store; how many are new; notes for the user.

    A training clip is new where the model lacks its content, for a window the same part of it, or its key where its
    content is unknown. All marks of the store count: clips marked as faults, or to be ignored, leave the model.
    RequestError where the store's embeddings were made otherwise than the model's; DataError as `fit`.
    """
    _check_same(fitted, store)
    recipe = replace(fitted.recipe, marks=read_marks(store.path).head)
    more = Additions(store, recipe, ())
    kept, lost = _without_marked(fitted, more)
    train = more.roles.train
    known = {*sounds_of(kept.train, kept.contents), *kept.train.keys()}
    new = train[[sound not in known for sound in sounds_of(more.clips[train], more.contents(train))]]
    if not len(new) and not lost:
        return fitted, 0, more.notes
    after, notes = fit_inputs(Grown(kept, more, new), recipe, workers=workers, progress=progress)
    note = (f"{counted(lost, 'training clip')} of the model marked fault or ignore, and so left out",) if lost else ()
    return after, len(new), (*notes, *note)


def _without_marked(fitted: Fitted, more: Inputs) -> tuple[Fitted, int]:
    """The training side of a model without the clips that the store's marks take out of the banks, and their number.

    A clip of another content is another one, although its key is that of a marked one.
    """
    marked = {*keys_marked(more.store, FAULT), *keys_marked(more.store, IGNORE)}
    rows = np.array([i for i, key in enumerate(more.clips.keys()) if key in marked], dtype=np.intp)
    sounds = sounds_of(more.clips[rows], more.contents(rows))
    unknown = {sound for sound in sounds if isinstance(sound, str)}
    gone = {*sounds, *marked}
    pairs = zip(fitted.train.keys(), sounds_of(fitted.train, fitted.contents), strict=True)
    kept = np.array([sound not in gone and key not in unknown for key, sound in pairs], dtype=bool)
    contents = [content for content, stays in zip(fitted.contents, kept.tolist(), strict=True) if stays]
    rows_of = {name: of_name[kept] for name, of_name in fitted.rows.items()}
    return replace(fitted, train=fitted.train[kept], contents=contents, rows=rows_of), int((~kept).sum())


def _check_same(fitted: Fitted, store: FeatureStore) -> None:
    for name, info in fitted.embeddings.items():
        held = store.info(name)
        differing = [
            field
            for field in ("fingerprint", "shape", "views", "dtype", "channel", "length")
            if getattr(held, field) != getattr(info, field)
        ]
        if differing:
            field = differing[0]
            raise RequestError(
                f"{store.path}: {name} has {field} {getattr(held, field)!r:.80}, the model was fitted to "
                f"{getattr(info, field)!r:.80}; build the store as that of the model"
            )


def changes(before: Fitted, after: Fitted, store: FeatureStore) -> list[Change]:
    """Thresholds of every section before and after an update, and what each finds of the store's anomalies."""
    old, new = before.thresholds(), after.thresholds()
    clips, reported = _reported(before, after, store)
    rows = []
    for place in sorted({*old, *new}):
        machine, section, domain = place
        wanted = {"machine": machine} | ({} if before.recipe.pool_sections else {"section": section})
        here = clips.where(**wanted, **({"domain": domain} if domain else {}))
        pairs = [side.get(place, (0, float("nan"))) for side in (old, new)]
        shares = [float(side[here].mean()) if here.any() else float("nan") for side in reported]
        rows.append(
            Change(
                machine,
                section,
                domain,
                (pairs[0][0], pairs[1][0]),
                (pairs[0][1], pairs[1][1]),
                int(here.sum()),
                (shares[0], shares[1]),
            )
        )
    return rows


def _reported(before: Fitted, after: Fitted, store: FeatureStore) -> tuple[ClipTable, list[np.ndarray]]:
    """The generated anomalies of the training clips of both models, and which of them each model reports."""
    names = list(before.embeddings)
    base = store.clips(names[0])
    both = set(before.train.keys()) & set(after.train.keys())
    sources = zip(base.keys(), base.columns["variant"].tolist(), decode(base.columns["path"]), strict=True)
    keys = [key for key, variant, path in sources if variant and path in both]
    places = [{key: i for i, key in enumerate(store.clips(name).keys())} for name in names]
    sections = set(before.detectors) & set(after.detectors)
    keys = [key for key in keys if all(key in place for place in places)]
    clips = base[np.array([places[0][key] for key in keys], dtype=np.intp)]
    known = np.array([bank in sections for bank in before.banks_of(clips)], dtype=bool)
    clips, keys = clips[known], [key for key, is_known in zip(keys, known.tolist(), strict=True) if is_known]
    if not keys:
        return clips, [np.zeros(0, dtype=bool)] * 2
    rows = {}
    for name, place in zip(names, places, strict=True):
        mask = np.zeros(len(place), dtype=bool)
        at = np.array([place[key] for key in keys])
        mask[at] = True
        rows[name] = store.matrix(name, mask)[np.argsort(np.argsort(at))]
    return clips, [side.detect(clips, rows).decision for side in (before, after)]
