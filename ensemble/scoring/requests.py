"""Typed requests of `detect fit` and `detect score`, and the functions that carry them out."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import BinaryIO

from ensemble.checks.disk import data_root, gone_note
from ensemble.deviation.locate import Locator, locator_of
from ensemble.fitting.fit import fit
from ensemble.fitting.fitted import Fitted
from ensemble.fitting.update import Change, changes, updated
from ensemble.request import RunRequest, Screen, ensemble_of
from ensemble.scoring.file import one_update
from ensemble.scoring.model import Model
from ensemble.scoring.score import Outcome, score_clips
from ensemble.scoring.sources import Sources, refuse_own_classes
from ensemble.scoring.targets import targets_of
from featstore.building.default import spec_of
from featstore.clip import Clip, window_path
from featstore.errors import DataError
from featstore.layouts.windows import windows_of
from featstore.store import FeatureStore

STDIN = "-"
MAX_STDIN_BYTES = 1 << 30
STDIN_BLOCK_BYTES = 1 << 20


@dataclass(frozen=True, kw_only=True)
class FitRequest:
    """The options of `detect fit` beside those of a run.

    embedders: lines of text of the embedders with weights. inside: keep the weights in the model; None for small ones.
    """

    store: Path
    out: Path
    embedders: tuple[str, ...] = ()
    inside: bool | None = None


def fit_to(request: FitRequest, run: RunRequest, screen: Screen) -> tuple[Model, tuple[str, ...]]:
    """Fit the named or chosen ensemble to a store and write the model; returns it, and notes for the user."""
    run = run.or_ensemble()
    refuse_own_classes(request.embedders)
    store = FeatureStore.open(request.store)
    request.out.parent.mkdir(parents=True, exist_ok=True)
    ensemble, ranked = ensemble_of(store, run, screen)
    if ranked:
        raise DataError(f"{ranked[0].file}: a score file cannot score new clips; leave --scores out")
    fitted, notes = fit(store, ensemble.recipe, machines=run.machines, workers=run.workers, progress=screen.detecting)
    gone = gone_note(data_root(store), fitted.train[:0], fitted.train)
    notes += (gone,) if gone else ()
    sources = Sources.of(fitted.embeddings, request.embedders, inside=request.inside)
    locator, reason = locator_of(store, fitted.train, pool_sections=fitted.recipe.pool_sections)
    notes += (f"where a reported clip deviates will not be stated: {reason}",) if reason else ()
    seconds = typical_seconds(store, fitted.evidence.embedding)
    model = Model(fitted, sources, seconds=seconds, locator=locator)
    model.save(request.out)
    return model, notes


@dataclass(frozen=True)
class Update:
    """An updated model, the number of new training clips, what changed, and notes for the user."""

    model: Model
    new: int
    changes: list[Change]
    notes: tuple[str, ...]


def update_to(path: Path, store_path: Path, out: Path, *, workers: int | None, screen: Screen) -> Update:
    """Add the new training clips of a store to the model at `path` and write it to `out`.

    Without new clips `path` stays as it is, and another `out` gets the same model.
    """
    store = FeatureStore.open(store_path)
    with one_update(path):
        model = Model.load(path, device="cpu")
        fitted, new, notes = updated(model.fitted, store, workers=workers, progress=screen.detecting)
        if fitted is model.fitted:
            if out.resolve() != path.resolve():
                model.save(out)
            return Update(model, 0, [], notes)
        grown = Model(fitted, model.sources, seconds=model.seconds, locator=grown_locator(model.locator, fitted))
        grown.save(out)
    return Update(grown, new, changes(model.fitted, fitted, store), notes)


def grown_locator(locator: Locator | None, fitted: Fitted) -> Locator | None:
    """What normal sounds like by all clips of an updated model; as it was where these have no log-mel rows in it."""
    spec = locator.spec if locator else ""
    for name, info in fitted.embeddings.items():
        if spec and spec_of(info) == spec:
            pooled = fitted.recipe.pool_sections
            return Locator.of_rows(info, spec, fitted.rows[name], fitted.train, pool_sections=pooled)
    return locator


def typical_seconds(store: FeatureStore, name: str) -> float:
    """Median length of the clips of an embedding in seconds; 10 where the store does not know it."""
    import numpy as np

    facts = store.facts(name)
    known = facts["sample_rate_hz"] > 0
    return float(np.median(facts["n_samples"][known] / facts["sample_rate_hz"][known])) if known.any() else 10.0


@dataclass(frozen=True, kw_only=True)
class ScoreRequest:
    """The options of `detect score` under the names of the command line; a path "-" is the standard input."""

    paths: tuple[Path, ...]
    machine: str = ""
    section: str = ""
    layout: str = "auto"
    workers: int | None = None


def score_to(
    model: Model,
    request: ScoreRequest,
    *,
    stdin: BinaryIO,
    progress: Callable[[int, int], None],
    say: Callable[[str], None],
) -> Iterator[Outcome]:
    """An outcome per clip of every path; `say` shows notes on the content of a folder."""
    paths = [path for path in request.paths if str(path) != STDIN]
    options = {"machine": request.machine, "section": request.section}
    for target in targets_of(model, paths, layout=request.layout, **options):
        for note in target.notes:
            say(f"note: {note}")
        yield from target.rejected
        yield from score_clips(model, target.root, target.clips, workers=request.workers, progress=progress)
    if len(paths) < len(request.paths):
        yield from _of_stdin(model, request, stdin)


def _of_stdin(model: Model, request: ScoreRequest, stdin: BinaryIO) -> Iterator[Outcome]:
    """Outcomes of the recording on the standard input, in any format with a header; it is kept in a temporary file."""
    clip = Clip(STDIN, *model.section_of("", request.machine, request.section), "test")
    with NamedTemporaryFile(prefix="stdin-") as file:
        size = 0
        while block := stdin.read(STDIN_BLOCK_BYTES):
            size += len(block)
            if size > MAX_STDIN_BYTES:
                reason = f"more than {MAX_STDIN_BYTES >> 20} MiB; `detect stream` scores what does not end"
                yield Outcome(clip, None, reason)
                return
            file.write(block)
        file.flush()
        if not size:
            yield Outcome(clip, None, "it is empty")
            return
        parts = windows_of(Path(), [replace(clip, path=file.name)], model.policy)
        for outcome in score_clips(model, Path(), parts, workers=0):
            window = outcome.clip.window
            yield replace(outcome, clip=replace(clip, path=window_path(STDIN, *window) if window else STDIN))
