"""What a scoring command was asked to run, as one typed request, and the recipe that follows from it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from detectors.metrics.scores import read_scores, write_scores
from ensemble.defaults import FUSION, default_recipe, single_recipe
from ensemble.external import Coverage, coverage, external_member, fuse_transductive, joined, scores_of
from ensemble.output import score_table, test_clips
from ensemble.recipe import Member, Recipe, read_recipe
from ensemble.run import Detection
from featstore.errors import DataError, OptionError
from featstore.store import FeatureStore

Say = Callable[[str], None]
"""Shows a line to the user."""


@dataclass(frozen=True, kw_only=True)
class RunRequest:
    """The options that name members and decisions, under the names of the command line."""

    ensemble: bool = False
    detectors: tuple[str, ...] = ()
    embeddings: tuple[str, ...] = ()
    recipe: Path | None = None
    external: tuple[Path, ...] = ()
    fusion: str | None = None
    fpr: float | None = None
    threshold: str | None = None
    fdr: float | None = None
    domains: str | None = None
    anomalies_at_most: float = 0.5
    machines: tuple[str, ...] = ()
    pool_sections: bool = False
    group_by: str | None = None
    workers: int | None = None

    def __post_init__(self) -> None:
        """Raise OptionError for options that contradict each other."""
        if self.fpr and self.fdr:
            raise OptionError("--fpr decides every clip by itself, --fdr all of them together; give one of them")
        if self.recipe and (self.detectors or self.embeddings or self.ensemble):
            raise OptionError("--recipe names the members; leave --ensemble, -d and -e away")

    @property
    def names_members(self) -> bool:
        """Whether anything to run is named."""
        return bool(self.ensemble or self.detectors or self.recipe or self.external)


@dataclass(frozen=True, kw_only=True)
class SelectRequest:
    """The options of `detect select` under the names of the command line."""

    store: Path
    out: Path
    grid: Path | None = None
    embeddings: tuple[str, ...] = ()
    cache: Path | None = None
    rule: str = "agreement"
    external: tuple[Path, ...] = ()
    faults: Path | None = None
    perturb: bool = False
    ranker: bool = False
    replicates: int = 300
    seed: int = 0
    race: bool = True
    workers: int | None = None


def recipe_of(store: FeatureStore, request: RunRequest, say: Say) -> tuple[Recipe, list[Member]]:
    """The recipe to run, and the other systems' scores that can only be ranked beside it.

    Raises OptionError where nothing is named to run.
    """
    recipe = _named(store, request)
    external = _external_members(store, request.external, say)
    calibrated = [member for member, holds in external if holds.train]
    if calibrated:
        recipe = joined(recipe, calibrated, FUSION)
    if recipe is None and external:
        raise OptionError(
            "--scores: these files score no training clips, so they can only be ranked beside a detection; add "
            "--ensemble, or -d DETECTOR -e EMBEDDING"
        )
    if recipe is None:
        raise OptionError("nothing to run: give --ensemble, -d DETECTOR -e EMBEDDING, --recipe or --scores FILE")
    changes = {
        "fusion": request.fusion,
        "false_alarm_rate": request.fpr,
        "threshold": request.threshold,
        "fdr": 0.0 if request.fpr and not request.fdr else request.fdr,
        "domains": request.domains,
        "pool_sections": request.pool_sections or None,
        "group_by": request.group_by,
    }
    recipe = replace(recipe, **{key: value for key, value in changes.items() if value is not None})  # type: ignore[arg-type]
    return recipe, [member for member, holds in external if not holds.train]


def _named(store: FeatureStore, request: RunRequest) -> Recipe | None:
    """The recipe that is named, or made of named detectors; None where nothing is."""
    names, embeddings = request.detectors, request.embeddings
    if request.recipe:
        return read_recipe(request.recipe)
    if len(names) == 1 and not request.ensemble:
        sources = embeddings or tuple(sorted(store.embeddings))
        if len(sources) != 1:
            raise OptionError(f"-d with one detector needs one -e; the store has {', '.join(sources) or 'none'}")
        return single_recipe(store, names[0], sources[0])
    if names or request.ensemble:
        return default_recipe(store, embeddings, names)
    return None


def _external_members(store: FeatureStore, files: Sequence[Path], say: Say) -> list[tuple[Member, Coverage]]:
    """Other systems' score files as members, with the clips each of them covers."""
    members = []
    for file in files:
        member = external_member(file)
        members.append((member, coverage(store, member)))
        say(f"note: {file}: {members[-1][1].summary}")
    return members


def judged_members(store: FeatureStore, files: Sequence[Path], say: Say) -> tuple[list[Member], list[Member]]:
    """Score files that a selection can judge, and those that can only be ranked among the test clips."""
    external = _external_members(store, files, say)
    judged = [member for member, holds in external if holds.generated]
    for member in judged:
        scores_of(member, test_clips(store, None).keys(), "test clips")  # else the choice could not be run
    for member, holds in external:
        if holds.train and not holds.generated:
            say(f"note: to add it to the choice all the same: --scores {member.file} of detect run")
    return judged, [member for member, holds in external if not holds.train and not holds.generated]


def write_transductive(detection: Detection, members: Sequence[Member], out: Path) -> list[Path]:
    """Write test ranks of the detection fused with systems that scored nothing but test clips; the file says so."""
    path = out / "fused-transductive.csv"
    path.unlink(missing_ok=True)
    if not members:
        return []
    tables = [score_table(detection), *(read_scores(Path(member.file)) for member in members)]
    try:
        write_scores(path, fuse_transductive(tables, detection.clips))
    except ValueError as error:
        raise DataError(str(error)) from error
    return [path]
