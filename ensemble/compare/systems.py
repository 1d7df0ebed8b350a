"""The systems of a comparison: recipes, published systems, ensembles, detectors, a grid of them, and score files."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ensemble.compare.request import CompareRequest
from ensemble.recipe import Recipe
from ensemble.request import RunRequest, Screen, ensemble_of
from ensemble.selection.candidates import read_grid
from ensemble.systems.catalogue import find_system, names
from ensemble.systems.lines import source
from featstore.errors import OptionError, RequestError
from featstore.spec import did_you_mean
from featstore.store import FeatureStore

OWN_FILES = ("recipe", "scores", "compare")
"""Stems of files that `detect` writes; such a file is named after its folder."""


@dataclass(frozen=True, eq=False)
class System:
    """One system of a comparison: a recipe to run, or the score file (or submission folder) of another program."""

    name: str
    recipe: Recipe | None = None
    file: Path | None = None

    @property
    def members(self) -> int:
        """Number of members; 0 for a score file."""
        return len(self.recipe.members) if self.recipe else 0


def named_systems(store: FeatureStore, request: CompareRequest, screen: Screen) -> list[System]:
    """The systems that the request names, in the order recipes, ensembles, detectors, grid, score files.

    OptionError where a name occurs twice, or with fewer than two systems. Other errors as in `ensemble_of`.
    """
    systems = [
        *_recipes(store, request, screen),
        *_ensembles(store, request, screen),
        *_detectors(store, request, screen),
        *(System(name, file=path) for name, path in map(_named_file, request.external)),
    ]
    refuse_repeated([system.name for system in systems])
    if len(systems) < 2:
        what = f"only {systems[0].name!r} is named" if systems else "none is named"
        raise OptionError(
            f"a comparison needs at least two systems, and {what}; name more by --recipe, -d and -e, --grid, "
            "--default, --ensemble or --scores"
        )
    return systems


def baseline_of(systems: Sequence[System], baseline: str) -> str:
    """The system that the others are compared with, the first by default; OptionError for an unknown name."""
    known = [system.name for system in systems]
    if baseline and baseline not in known:
        raise OptionError(
            f"--baseline {baseline!r} is none of the systems{did_you_mean(baseline, known)} (known: {', '.join(known)})"
        )
    return baseline or known[0]


def refuse_repeated(known: Sequence[str]) -> None:
    """Raise OptionError for a name that two systems have."""
    repeated = next((name for name in known if known.count(name) > 1), "")
    if repeated:
        raise OptionError(
            f"two systems are called {repeated!r}; leave one out, or name it: --recipe NAME=FILE or --scores NAME=FILE"
        )


def _recipes(store: FeatureStore, request: CompareRequest, screen: Screen) -> Iterator[System]:
    for text in request.recipes:
        if not Path(text).exists() and text in names():
            yield System(text, _published(store, text, request, screen))
            continue
        hint = f"{did_you_mean(text, names())}; `detect recipes` lists the published systems"
        name, path = _named_file(text, hint)
        yield System(name, _recipe_of(store, request, screen, recipe=path))


def _ensembles(store: FeatureStore, request: CompareRequest, screen: Screen) -> Iterator[System]:
    for name in ("default", "ensemble"):
        if getattr(request, name):
            yield System(name, _recipe_of(store, request, screen, embeddings=request.embeddings, **{name: True}))


def _detectors(store: FeatureStore, request: CompareRequest, screen: Screen) -> Iterator[System]:
    """Every -d on every -e as a system of its own, then the candidates of the grid."""
    for detector in request.detectors:
        for embedding in request.embeddings or sorted(store.embeddings):
            yield _single(store, request, screen, detector, embedding)
    if request.grid:
        for member in read_grid(request.grid, store, request.embeddings, own_code=request.own_code):
            yield _single(store, request, screen, member.detector, member.source)


def _single(store: FeatureStore, request: CompareRequest, screen: Screen, detector: str, embedding: str) -> System:
    recipe = _recipe_of(store, request, screen, detectors=(detector,), embeddings=(embedding,))
    return System(recipe.members[0].name, recipe)


def _published(store: FeatureStore, name: str, request: CompareRequest, screen: Screen) -> Recipe:
    """The recipe of a published system, whose embedding the store has under the name of the system."""
    system, commands = find_system(name), f"the commands that `detect recipes {name}` prints"
    if system.select:
        raise OptionError(
            f"--recipe {name}: this system chooses its detector by generated anomalies; run {commands}, and give the "
            "recipe that they write"
        )
    if name not in store.embeddings:
        raise RequestError(f"{store.path}: no embedding {name!r} of the published system; {commands} build it")
    groups = system.group_by or None
    return _recipe_of(
        store, request, screen, detectors=(system.detector,), embeddings=(source(system),), group_by=groups
    )


def _recipe_of(store: FeatureStore, request: CompareRequest, screen: Screen, **named: object) -> Recipe:
    """The recipe that `detect run` would run with these options."""
    options = {"machines": request.machines, "no_marks": request.no_marks, "own_code": request.own_code}
    run = RunRequest(**options, workers=request.workers, **named)  # type: ignore[arg-type]
    return ensemble_of(store, run, screen)[0].recipe


def _named_file(text: str, hint: str = "") -> tuple[str, Path]:
    """Name and path of FILE or NAME=FILE; `hint` ends the OptionError for a text that is neither."""
    path = Path(text)
    if path.exists():
        return (path.parent.name or path.stem) if path.stem in OWN_FILES else path.stem, path
    name, equals, rest = text.partition("=")
    if not (name and equals and Path(rest).exists()):
        raise OptionError(f"{text!r} is neither a file nor NAME=FILE{hint}")
    return name, Path(rest)
