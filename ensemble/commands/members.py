"""Which members a command of `detect` runs: the options that name them, and the recipe that follows."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from detectors import DETECTORS
from featstore.errors import DataError

if TYPE_CHECKING:
    from ensemble.external import Coverage
    from ensemble.recipe import Member, Recipe
    from ensemble.run import Detection
    from featstore.store import FeatureStore

EXISTING = click.Path(exists=True, path_type=Path)
EXTERNAL = "CSV of clip,score: another system that"


def recipe_options(command: Any) -> Any:
    """The options that name what runs and how it decides, for every command that scores."""
    options = [
        click.option(
            "--ensemble", is_flag=True, help="The fixed default ensemble over every embedding (or those of -e)."
        ),
        click.option(
            "-d", "--detector", "detectors", multiple=True, help=f"NAME[:key=value,...]; {', '.join(DETECTORS)}."
        ),
        click.option("-e", "--embedding", "embeddings", multiple=True, help="NAME or NAME@VIEW [--ensemble: all]."),
        click.option("--recipe", type=EXISTING, help="Run the members of a recipe.toml."),
        click.option("--scores", "external", type=EXISTING, multiple=True, help=f"{EXTERNAL} joins the members."),
        click.option("--fusion", help="fisher, mean, max_rank or min_zscore, or a weighted_ one."),
        click.option(
            "--fpr", type=click.FloatRange(0, 1, min_open=True, max_open=True), help="Stated false-alarm rate [0.1]."
        ),
        click.option("--threshold", help="quantile or gamma: how the threshold follows from the reference scores."),
        click.option(
            "--fdr",
            type=click.FloatRange(0, 1, min_open=True, max_open=True),
            help="Decide by a false-discovery rate over all clips instead.",
        ),
        click.option(
            "--domains", type=click.Choice(["unknown", "known"]), help="Whether decisions may use a test clip's domain."
        ),
        click.option(
            "--anomalies-at-most",
            type=click.FloatRange(0, 1, max_open=True),
            default=0.5,
            show_default=True,
            help="Share of anomalies that the drift check allows for.",
        ),
        click.option("--machine", "machines", multiple=True, help="Only these machines."),
        click.option("--pool-sections", is_flag=True, help="One bank per machine instead of one per section."),
        click.option("--group-by", help="Attribute that forms groups for by=group; attributes = all of them together."),
    ]
    for option in reversed(options):
        command = option(command)
    return command


def asked_recipe(store: "FeatureStore", options: dict[str, Any]) -> tuple["Recipe", list["Member"]]:
    """The recipe that the options ask for, and the other systems that can only be ranked beside it."""
    from ensemble.defaults import FUSION
    from ensemble.external import joined

    recipe = _named(store, options)
    held = _members_of(store, options["external"])
    calibrated = [member for member, holds in held if holds.train]
    if calibrated:
        recipe = joined(recipe, calibrated, FUSION)
    if recipe is None:
        raise click.UsageError("say what to run: --ensemble, -d DETECTOR -e EMBEDDING, --recipe or --scores FILE")
    asked = {
        "fusion": options["fusion"],
        "false_alarm_rate": options["fpr"],
        "threshold": options["threshold"],
        "fdr": 0.0 if options["fpr"] and not options["fdr"] else options["fdr"],
        "domains": options["domains"],
        "pool_sections": options["pool_sections"] or None,
        "group_by": options["group_by"],
    }
    recipe = replace(recipe, **{key: value for key, value in asked.items() if value is not None})
    return recipe, [member for member, holds in held if not holds.train]


def _named(store: "FeatureStore", options: dict[str, Any]) -> "Recipe | None":
    """The recipe that is named, or made of named detectors; None where nothing is."""
    from ensemble.defaults import default_recipe, single_recipe
    from ensemble.recipe import read_recipe

    if options["fpr"] and options["fdr"]:
        raise click.UsageError("--fpr decides every clip by itself, --fdr all of them together; give one of them")
    names, embeddings = options["detectors"], options["embeddings"]
    if options["recipe"]:
        if names or embeddings or options["ensemble"]:
            raise click.UsageError("--recipe names the members; leave --ensemble, -d and -e away")
        return read_recipe(options["recipe"])
    if len(names) == 1 and not options["ensemble"]:
        sources = embeddings or tuple(sorted(store.embeddings))
        if len(sources) != 1:
            raise click.UsageError(f"-d with one detector needs one -e; the store has {', '.join(sources) or 'none'}")
        return single_recipe(store, names[0], sources[0])
    if names or options["ensemble"]:
        return default_recipe(store, embeddings, names)
    return None


def _members_of(store: "FeatureStore", files: tuple[Path, ...]) -> list[tuple["Member", "Coverage"]]:
    """Other systems' files of scores as members, with what they hold, which is said."""
    from ensemble.external import coverage, external_member

    found = []
    for file in files:
        member = external_member(file)
        found.append((member, coverage(store, member)))
        click.echo(f"note: {file}: {found[-1][1].summary}", err=True)
    return found


def judged_members(store: "FeatureStore", files: tuple[Path, ...]) -> tuple[list["Member"], list["Member"]]:
    """Files that a selection can judge, and those that can only be ranked among the test clips."""
    from ensemble.external import scores_of
    from ensemble.output import test_clips

    held = _members_of(store, files)
    judged = [member for member, holds in held if holds.generated]
    for member in judged:
        scores_of(member, test_clips(store, None).keys(), "test clips")  # else the choice could not be run
    for member, holds in held:
        if holds.train and not holds.generated:
            click.echo(f"note: to add it to the choice all the same: --scores {member.file} of detect run", err=True)
    return judged, [member for member, holds in held if not holds.train and not holds.generated]


def ranked_file(detection: "Detection", members: Sequence["Member"], out: Path) -> list[Path]:
    """Test ranks of the detection and of systems that scored nothing but test clips, in a file that says so."""
    from detectors.metrics.scores import read_scores, write_scores
    from ensemble.external import fuse_transductive
    from ensemble.output import score_table

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
