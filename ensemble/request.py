"""What a scoring command was asked to run, as one typed request, and the recipe that follows from it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from detectors import create
from detectors.metrics.scores import read_scores, write_scores
from ensemble.checks.subtracted import left_out_notes
from ensemble.chosen import Ensemble, chosen_ensemble
from ensemble.decision.fuse import fusion
from ensemble.decision.given import choice_of
from ensemble.defaults import FUSION, default_recipe, single_recipe
from ensemble.external import Coverage, coverage, external_member, fuse_transductive, joined, scores_of
from ensemble.inputs import TrainingInputs
from ensemble.marks.apply import MarkedStore, keys_marked, with_all_marks, with_marks
from ensemble.marks.file import NORMAL, read_marks
from ensemble.output import score_table, test_clips
from ensemble.recipe import DOMAINS, PREDICTED, Member, Recipe, read_recipe, refuse_own_code
from ensemble.run import Detection
from ensemble.selection.scoring.perturb_design import PerturbDesign
from ensemble.selection.select import Options
from ensemble.windows.recordings import MAXIMUM, quantile_of
from featstore.errors import DataError, OptionError
from featstore.store import FeatureStore

Say = Callable[[str], None]
"""Shows a line to the user."""


@dataclass(frozen=True)
class Screen:
    """What the user sees of a run: lines, how far a selection is, and how far the detection."""

    say: Say
    choosing: Callable[[int, int], None]
    detecting: Callable[[int, int], None]


@dataclass(frozen=True, kw_only=True)
class RunRequest:
    """The options that name members and decisions, under the names of the command line."""

    ensemble: bool = False
    default: bool = False
    perturb: bool = False
    detectors: tuple[str, ...] = ()
    embeddings: tuple[str, ...] = ()
    recipe: Path | None = None
    external: tuple[Path, ...] = ()
    fusion: str | None = None
    fpr: float | None = None
    threshold: tuple[str, ...] = ()
    fdr: float | None = None
    domains: str | None = None
    tail: str | None = None
    anomalies_at_most: float = 0.5
    machines: tuple[str, ...] = ()
    pool_sections: bool = False
    group_by: str | None = None
    group: str | None = None
    recording_score: str = MAXIMUM
    no_marks: bool = False
    recorded_marks: bool = False
    own_code: bool = False
    workers: int | None = None

    def __post_init__(self) -> None:
        """Raise OptionError for options that contradict each other."""
        quantile_of(self.recording_score)
        self._refuse_unknown_names()
        if self.fpr and self.fdr:
            raise OptionError("--fpr decides every clip by itself, --fdr all of them together; give one of them")
        if self.default and (self.recipe or self.detectors or self.ensemble):
            raise OptionError("--default is the fixed default ensemble; leave --ensemble, -d and --recipe away")
        if self.recipe and (self.detectors or self.embeddings or self.ensemble):
            raise OptionError("--recipe names the members; leave --ensemble, -d and -e away")
        if self.perturb and (self.default or self.detectors or self.recipe):
            raise OptionError("--perturb chooses an ensemble; leave --default, -d and --recipe away")
        if self.recorded_marks and (self.no_marks or not self.recipe):
            raise OptionError("--recorded-marks takes the marks of --recipe; give this, and leave --no-marks away")
        if choice_of(self.threshold).values and self.fdr:
            raise OptionError(
                "--fdr decides all clips together, so it goes with no threshold by hand; give one of them"
            )

    def _refuse_unknown_names(self) -> None:
        """Raise OptionError for a detector or a fusion that does not exist; names of the data are looked up later."""
        try:
            for detector in self.detectors:
                create(detector)
            if self.fusion is not None:
                fusion(self.fusion)
        except ValueError as error:
            raise OptionError(str(error)) from error

    def or_ensemble(self) -> "RunRequest":
        """The request itself; the chosen ensemble where nothing to run is named."""
        named = self.ensemble or self.default or self.detectors or self.recipe or self.external
        return self if named else replace(self, ensemble=True)


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
    group: str = ""
    domains: str = PREDICTED
    strategy: str = ""
    machines: tuple[str, ...] = ()
    no_marks: bool = False
    own_code: bool = False


def ensemble_of(store: FeatureStore, request: RunRequest, screen: Screen) -> tuple[Ensemble, list[Member]]:
    """The ensemble to run, and the other systems' scores that can only be ranked beside it.

    Raises OptionError where nothing that can run alone is named.
    """
    store = _marked(store, request, screen.say)
    external = _external_members(store, request.external, screen.say)
    calibrated = [member for member, holds in external if holds.train]
    ensemble = _named(store, request, screen)
    if calibrated:
        recipe = joined(ensemble.recipe if ensemble else None, calibrated, FUSION)
        ensemble = replace(ensemble, recipe=recipe) if ensemble else Ensemble(recipe, "scores", "named by --scores")
    if ensemble is None:
        raise OptionError(
            "--scores: these files score no training clips, so they can only be ranked beside a detection; add "
            "--ensemble, or -d DETECTOR -e EMBEDDING"
        )
    choice = choice_of(request.threshold)
    changes = {
        "fusion": request.fusion,
        "false_alarm_rate": request.fpr,
        "threshold": choice.rule,
        "thresholds": choice.values if request.threshold else None,
        "fdr": 0.0 if (request.fpr or choice.values) and not request.fdr else request.fdr,
        "domains": request.domains or (None if request.recipe or len(ensemble.recipe.members) == 1 else PREDICTED),
        "tail": request.tail,
        "pool_sections": request.pool_sections or None,
        "group_by": request.group_by,
        "group": request.group,
        "marks": store.marks.head if isinstance(store, MarkedStore) else "",
    }
    given = {key: value for key, value in changes.items() if value is not None}
    recipe = _agreeing(replace(ensemble.recipe, **given), store)  # type: ignore[arg-type]
    ensemble = replace(ensemble, recipe=recipe)
    return ensemble, [member for member, holds in external if not holds.train]


def _marked(store: FeatureStore, request: RunRequest, say: Say) -> FeatureStore:
    """The store with the marks that count in a run: all that it has, unless the request says otherwise."""
    if request.no_marks:
        return store
    recorded = read_recipe(request.recipe).marks if request.recipe else ""
    if request.recorded_marks:
        return with_marks(store, recorded)
    marks = read_marks(store.path)
    earlier = marks.until(recorded)
    if earlier is None:
        say(f"note: the recipe was made with marks that {store.path} does not have; those of the store count")
    elif recorded and earlier.head != marks.head:
        counts = f"{len(earlier.items)} of the {len(marks.items)} marks of {store.path}"
        say(f"note: the recipe was made with {counts}; --recorded-marks leaves the later ones out")
    return with_all_marks(store, say)


def _agreeing(recipe: Recipe, store: FeatureStore) -> Recipe:
    """The recipe without confirmed faults that are marked normal since; no metric counts them all the same."""
    normal = set(recipe.confirmed_faults).intersection(keys_marked(store, NORMAL))
    if not normal:
        return recipe
    faults = tuple(key for key in recipe.confirmed_faults if key not in normal)
    return replace(recipe, confirmed_faults=faults, confirmed_normal=(*recipe.confirmed_normal, *sorted(normal)))


def _named(store: FeatureStore, request: RunRequest, screen: Screen) -> Ensemble | None:
    """The ensemble that is named, made of named detectors, or chosen; None where only score files are named."""
    names, embeddings = request.detectors, request.embeddings
    if request.recipe:
        recipe = read_recipe(request.recipe)
        if not request.own_code:
            refuse_own_code(request.recipe, [member.detector for member in recipe.members])
        return Ensemble(recipe, "recipe", f"named by --recipe {request.recipe}")
    if len(names) == 1 and not request.ensemble:
        sources = embeddings or tuple(sorted(store.embeddings))
        if len(sources) != 1:
            raise OptionError(f"-d with one detector needs one -e; the store has {', '.join(sources) or 'none'}")
        return Ensemble(single_recipe(store, names[0], sources[0]), "named", "named by -d")
    if names:
        if request.ensemble:
            screen.say("note: --ensemble with -d runs these detectors on every view; nothing is chosen")
        return Ensemble(default_recipe(store, embeddings, names), "named", "named by -d")
    if request.default:
        for note in left_out_notes(store, embeddings):
            screen.say(f"note: {note}")
        return Ensemble(default_recipe(store, embeddings), "default", "named by --default")
    if not request.ensemble:
        return None
    if request.group:  # a group that the clips lack must not end as a choice that failed
        fixed = default_recipe(store, embeddings)
        TrainingInputs(store, replace(fixed, group=request.group), request.machines)
    perturbed = PerturbDesign() if request.perturb else None
    domains = PREDICTED if request.domains in (None, PREDICTED) else DOMAINS[0]
    options = Options(workers=request.workers, perturbed=perturbed, group=request.group or "", domains=domains)
    return chosen_ensemble(store, embeddings, options, say=screen.say, progress=screen.choosing)


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
