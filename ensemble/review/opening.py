"""Opens a page: reads the results, and checks that they are those of the store and that the recordings are there."""

from collections.abc import Callable
from pathlib import Path

from ensemble.checks.disk import data_root
from ensemble.inputs import evidence_of
from ensemble.page.kept import FILE, read_results, rows_digest
from ensemble.page.scored import Scored
from ensemble.recipe import Recipe, recipe_of
from ensemble.review.saved import FILE as THRESHOLDS
from ensemble.review.saved import thresholds_of_run, unused_text
from ensemble.review.session import Session
from featstore.errors import DataError
from featstore.store import FeatureStore
from featstore.terminal.shown import counted

RECIPE_FILE = "recipe.toml"

Run = Callable[[Path, Path, Path | None], object]
"""Makes the results of a store in a folder: store, results, folder of the recordings."""


def open_session(
    store: Path,
    results: Path,
    *,
    data: Path | None = None,
    who: str = "",
    run: Run,
    say: Callable[[str], None] = lambda line: None,
) -> Session:
    """The page of a store and its results, which `run` makes first where the folder `results` is not there.

    data: folder of the recordings, None for that of the last build. say: shows a line to the user while the page is
    opened; what stays true of the page is in its `notes`. The rows of the store are read only where they have changed
    since the run. DataError names a folder of results that cannot be shown, and the cure.
    """
    opened = FeatureStore.open(store)
    if not results.exists():
        say(f"{results}: no results yet; the ensemble is run first, as `detect {store} --ensemble -o {results}` does")
        run(store, results, data)
    path = results / FILE
    if not path.exists():
        recipe = results / RECIPE_FILE
        members = f"--recipe {recipe}" if recipe.is_file() else "--ensemble"
        raise DataError(
            f"{results}: no {FILE}, from which the page opens; make it with `detect {store} {members} -o {results}`, "
            "or choose the folder of other results with --results"
        )
    scored = read_results(path)
    notes = _belonging(opened, scored, path)
    root = data_root(opened, data)
    if root is None:
        where = f"{data} is no folder" if data else "the folder of the last build is not known or not there"
        notes.append(f"no recordings: {where}; --data DATA names it. Without them there is no sound and no picture")
    scored, further = _by_hand(scored, results)
    return Session(store, results, scored, data=root, who=who, notes=(*notes, *further), opened=opened)


def run_ensemble(store: Path, results: Path, data: Path | None) -> None:
    """The `Run` that chooses an ensemble and runs it; what it has to say goes to the terminal."""
    from ensemble.output import removed_if_empty
    from ensemble.request import RunRequest, Screen
    from ensemble.results import OutRequest, run_to
    from featstore.console import Meter

    with Meter("members") as meter, removed_if_empty(results):
        screen = Screen(meter.say, meter.count("candidates"), meter.count("members"))
        run_to(store, results, RunRequest(ensemble=True), screen, OutRequest(data=data))


def _belonging(store: FeatureStore, scored: Scored, path: Path) -> list[str]:
    """Notes on a store that has changed since the run; DataError for results of another store."""
    try:
        recipe = recipe_of(scored.recipe)
    except DataError as error:
        raise DataError(f"{path}: its recipe cannot be read: {error}; run `detect` again") from error
    cure = f"choose the folder of its results with --results, or run `detect {store.path} --ensemble -o RESULTS`"
    for name, fingerprint in _members(recipe).items():
        info = store.embeddings.get(name)
        if info is None or info.fingerprint != fingerprint:
            what = "has no such embedding" if info is None else f"has it with fingerprint {info.fingerprint[:12]}"
            raise DataError(
                f"{path}: these are results of another store: a member is on the embedding {name} with fingerprint "
                f"{fingerprint[:12]}, and {store.path} {what}; {cure}"
            )
    embedding = evidence_of(store, recipe).embedding
    if scored.store == rows_digest(store, embedding):
        return []
    known = set(store.clips(embedding).keys())
    lacking = [key for key in scored.keys if key not in known]
    if lacking:
        raise DataError(
            f"{path}: these are results of another store, or of clips that were removed since: {store.path} lacks "
            f"{counted(len(lacking), 'clip')} of {len(scored.keys):,}, first {lacking[0]!r}; {cure}"
        )
    return [f"{store.path} was built again since these results; run `detect` again to include its new recordings"]


def _members(recipe: Recipe) -> dict[str, str]:
    """Fingerprint of every embedding that the members use."""
    return {member.embedding: member.fingerprint for member in recipe.members if not member.file}


def _by_hand(scored: Scored, results: Path) -> tuple[Scored, list[str]]:
    """The results with the thresholds that were saved in the page for this run, and notes on them and on others."""
    values, others = thresholds_of_run(results, scored)
    path = results / THRESHOLDS
    notes = []
    if values:
        notes.append(f"{counted(len(values), 'threshold')} by hand of {path} decide{'s' if len(values) == 1 else ''}")
    if others:
        names = ", ".join("/".join(filter(None, key)) for key in others[:5])
        notes.append(f"{path}: {unused_text(len(others))[:-1]} ({names})")
    try:
        return scored.with_thresholds(values), notes
    except DataError as error:
        raise DataError(f"{path}: {error}; change or remove its line") from error
