"""The `detect` command: parse, call, print. Heavy libraries load inside the command that needs them."""

import difflib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from detectors import DETECTORS
from featstore.console import Commands, Meter, size, table
from featstore.errors import DataError

if TYPE_CHECKING:
    from ensemble.recipe import Recipe
    from ensemble.run import Detection
    from featstore.store import FeatureStore

CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}
EXISTING = click.Path(exists=True, path_type=Path)
SHOWN = 10


class WithDefault(Commands):
    """`detect STORE ...` is short for `detect run STORE ...`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Insert `run` where the first word is an option, a path, or nothing like a command."""
        if args and args[0] not in self.commands and args[0] not in {"-h", "--help", "--version"}:
            near = difflib.get_close_matches(args[0], self.commands, n=1)
            if args[0].startswith("-") or Path(args[0]).exists() or not near:
                args = ["run", *args]
        return super().parse_args(ctx, args)


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
        click.option("--group-by", help="Attribute that forms groups for detectors with by=group."),
    ]
    for option in reversed(options):
        command = option(command)
    return command


@click.group(cls=WithDefault, context_settings=CONTEXT)
@click.version_option(package_name="featstore")
def main() -> None:
    """Score the recordings of a feature store, fuse the scores, decide, and say why.

    \b
    detect STORE --ensemble                 the default ensemble on every embedding
    detect STORE -d knn -e twfr@r0.9        one detector on one view
    detect select STORE -o recipe.toml      choose an ensemble by generated anomalies
    detect STORE --recipe results/recipe.toml   run a recorded recipe again
    detect report STORE --data DATA         one HTML file: charts, spectrograms, players
    detect evaluate results/scores.csv STORE    official figures of any system's scores

    Exit codes: 0 all well, 1 error, 2 usage, 4 store damaged, 5 out of memory, 130 interrupted.
    """


@main.command()
@click.argument("store", type=EXISTING)
@recipe_options
@click.option("-o", "--out", type=click.Path(path_type=Path), default="results", show_default=True)
@click.option(
    "--format", "kinds", type=click.Choice(["csv", "dcase"]), multiple=True, help="dcase adds submission files."
)
@click.option("--year", type=click.IntRange(2020, 2026), help="Official rule; default 2023, without domains 2020.")
@click.option("--json", "as_json", is_flag=True, help="Summary and metrics as JSON on stdout.")
def run(store: Path, out: Path, **options: Any) -> None:
    """Score every test clip of STORE and write scores.csv, recipe.toml and metrics.json to OUT."""
    from ensemble.output import clear_earlier, write_detection
    from featstore.store import FeatureStore

    opened = FeatureStore.open(store)
    recipe = _recipe(opened, options)
    notes = clear_earlier(out, package="dcase" in options["kinds"])
    detection = _detection(opened, recipe, options)
    files = write_detection(detection, out)
    files += _submission(detection, out, options) if "dcase" in options["kinds"] else []
    figures = _figures(detection, out, options)
    files.append(out / "metrics.json")
    for note in [*detection.notes, *notes]:
        click.echo(f"note: {note}", err=True)
    if options["as_json"]:
        click.echo(json.dumps({"files": [str(file) for file in files], "metrics": figures}))
    else:
        click.echo(_top(detection))
    click.echo(f"wrote {', '.join(str(file) for file in files)}", err=True)


@main.command()
@click.argument("store", type=EXISTING)
@recipe_options
@click.option("-o", "--out", type=click.Path(path_type=Path), default="report.html", show_default=True)
@click.option(
    "--data", type=click.Path(exists=True, file_okay=False, path_type=Path), help="The recordings, to listen."
)
@click.option("--top", type=click.IntRange(1), default=20, show_default=True, help="Clips shown with sound.")
@click.option("--seconds", type=click.FloatRange(0.1, 60), default=5.0, show_default=True, help="Length of players.")
@click.option("--year", type=click.IntRange(2020, 2026), help="Official rule; default 2023, without domains 2020.")
@click.option("--selection", type=EXISTING, help="selection.json of detect select, shown beside the figures.")
def report(store: Path, out: Path, data: Path | None, selection: Path | None, **options: Any) -> None:
    """Explain a detection in one HTML file that needs no network: charts, figures, the clips to look into.

    Runs the default ensemble where neither members nor a recipe are named.
    """
    from ensemble.drift import drift
    from ensemble.report import ReportOptions, read_selection, write_report
    from ensemble.report_media import recordings
    from featstore.store import FeatureStore

    opened = FeatureStore.open(store)
    options["ensemble"] = options["ensemble"] or not (options["detectors"] or options["recipe"])
    detection = _detection(opened, _recipe(opened, options), options)
    info = opened.info(detection.recipe.members[0].embedding)
    listen = recordings(data, info.sample_rate_hz, info.channel) if data else None
    shown = ReportOptions(
        f"Anomaly report: {store.resolve().name}", options["top"], options["seconds"], options["year"]
    )
    chosen = read_selection(selection) if selection else None
    drifts = drift(detection, anomalies_at_most=options["anomalies_at_most"])
    write_report(out, detection, shown, drifts=drifts, listen=listen, selection=chosen)
    click.echo(f"wrote {out} ({size(out.stat().st_size)})", err=True)


@main.command()
@click.argument("scores", type=EXISTING)
@click.argument("store", type=EXISTING)
@click.option("--ground-truth", type=EXISTING, help="Official ground-truth CSV(s) for clips without labels.")
@click.option("--year", type=click.IntRange(2020, 2026), help="Official rule; default 2023, without domains 2020.")
@click.option("--json", "as_json", is_flag=True)
def evaluate(scores: Path, store: Path, ground_truth: Path | None, year: int | None, as_json: bool) -> None:
    """Official figures for the labelled test clips of STORE.

    SCORES: a CSV of clip,score (paths below the data folder, or unique file names), or the folder of a submission.
    """
    from ensemble.output import (
        labelled,
        measure,
        metrics_json,
        metrics_text,
        package_year,
        read_any_scores,
        test_clips,
        year_of,
    )
    from featstore.store import FeatureStore

    tests = test_clips(FeatureStore.open(store), ground_truth)
    rule = year or year_of(tests)
    clips, lacking = labelled(tests, rule)
    if not len(clips):
        missing = lacking[0] if lacking else "no test clip has a label"
        cure = "--ground-truth takes the evaluator's folder, with ground_truth_data and ground_truth_domain"
        raise DataError(f"{store}: {missing}; {cure}")
    for one in lacking:
        click.echo(f"note: left out of the figures: {one}", err=True)
    figures = measure(read_any_scores(scores, tests, year or package_year(tests)), clips, rule)
    click.echo(json.dumps(metrics_json(*figures)) if as_json else metrics_text(*figures))


@main.command()
@click.argument("store", type=EXISTING)
@click.option("-o", "--out", type=click.Path(path_type=Path), default="recipe.toml", show_default=True)
@click.option("--grid", type=EXISTING, help="Candidates of a TOML file; default some dozen detectors on every view.")
@click.option("-e", "--embedding", "embeddings", multiple=True, help="NAME or NAME@VIEW; default all.")
@click.option("--cache", type=click.Path(path_type=Path), help="Folder of scores [selection-cache beside OUT].")
@click.option("--rule", default="agreement", show_default=True, help="How pairs weigh: agreement, average or best.")
@click.option(
    "--scores",
    "external",
    type=EXISTING,
    multiple=True,
    help="CSV of another system: fused by test ranks, transductive.",
)
@click.option("--ranker", is_flag=True, help="Judge a learned fusion (LightGBM) beside the others; never chosen.")
@click.option("--replicates", type=click.IntRange(20), default=300, show_default=True, help="Of the bootstrap.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@click.option("--workers", type=click.IntRange(0), help="Processes; default one per core, 0 = none.")
@click.option("--json", "as_json", is_flag=True, help="The report as JSON on stdout.")
def select(store: Path, out: Path, **asked: Any) -> None:
    """Choose members and fusion by the generated anomalies of STORE; write OUT and selection.json beside it."""
    from ensemble.candidates import default_candidates, read_grid
    from ensemble.recipe import write_recipe
    from ensemble.select import Options
    from ensemble.select import select as choose
    from ensemble.selection_cache import ScoreCache
    from ensemble.selection_report import selection_json, selection_text, write_selection
    from featstore.store import FeatureStore

    opened = FeatureStore.open(store)
    options = Options(**{key: asked[key] for key in ("rule", "ranker", "replicates", "seed", "workers")})
    grid, embeddings = asked["grid"], asked["embeddings"]
    candidates = read_grid(grid, opened, embeddings) if grid else default_candidates(opened, embeddings)
    out.parent.mkdir(parents=True, exist_ok=True)
    meter = Meter("candidates")
    cache = ScoreCache(asked["cache"] or out.parent / "selection-cache")
    selection = choose(opened, candidates, cache, options, progress=meter.update)
    meter.close()
    write_recipe(selection.recipe, out)
    write_selection(out.with_name("selection.json"), selection)
    click.echo(json.dumps(selection_json(selection)) if asked["as_json"] else selection_text(selection))
    click.echo(f"wrote {out}, {out.with_name('selection.json')}; run it: detect {store} --recipe {out}", err=True)
    if asked["external"]:
        click.echo(f"wrote {_with_external(opened, selection.recipe, asked['external'], out)}", err=True)


@main.command(name="detectors")
def list_detectors() -> None:
    """List the detectors with their parameters and defaults."""
    from detectors import parameters

    rows = [[name, ", ".join(f"{key}={value}" for key, value in parameters(name).items())] for name in DETECTORS]
    click.echo(table(["detector", "parameters"], rows))


def _with_external(store: "FeatureStore", recipe: "Recipe", files: tuple[Path, ...], out: Path) -> Path:
    """Scores of the recipe and of other systems fused over the test clips, in a file that says so."""
    from detectors.scores import read_scores, write_scores
    from ensemble.external import fuse_transductive
    from ensemble.output import score_table
    from ensemble.run import detect

    detection = detect(store, recipe)
    tables = [score_table(detection), *(read_scores(file) for file in files)]
    try:
        fused = fuse_transductive(tables, detection.clips)
    except ValueError as error:
        raise DataError(str(error)) from error
    path = out.with_name("fused-transductive.csv")
    write_scores(path, fused)
    return path


def _recipe(store: "FeatureStore", options: dict[str, Any]) -> "Recipe":
    """The recipe that the options ask for, checked before anything is computed."""
    from dataclasses import replace

    from ensemble.defaults import default_recipe, single_recipe
    from ensemble.recipe import read_recipe

    if options["fpr"] and options["fdr"]:
        raise click.UsageError("--fpr decides every clip by itself, --fdr all of them together; give one of them")
    names, embeddings = options["detectors"], options["embeddings"]
    if options["recipe"]:
        if names or embeddings or options["ensemble"]:
            raise click.UsageError("--recipe names the members; leave --ensemble, -d and -e away")
        recipe = read_recipe(options["recipe"])
    elif len(names) == 1 and not options["ensemble"]:
        sources = embeddings or tuple(sorted(store.embeddings))
        if len(sources) != 1:
            raise click.UsageError(f"-d with one detector needs one -e; the store has {', '.join(sources) or 'none'}")
        recipe = single_recipe(store, names[0], sources[0])
    elif names or options["ensemble"]:
        recipe = default_recipe(store, embeddings, names)
    else:
        raise click.UsageError("say what to run: --ensemble, -d DETECTOR -e EMBEDDING, or --recipe FILE")
    asked = {
        "fusion": options["fusion"],
        "false_alarm_rate": options["fpr"],
        "threshold": options["threshold"],
        "fdr": 0.0 if options["fpr"] and not options["fdr"] else options["fdr"],
        "domains": options["domains"],
        "pool_sections": options["pool_sections"] or None,
        "group_by": options["group_by"],
    }
    return replace(recipe, **{key: value for key, value in asked.items() if value is not None})


def _detection(store: "FeatureStore", recipe: "Recipe", options: dict[str, Any]) -> "Detection":
    """Run the recipe, with progress on stderr."""
    from ensemble.run import detect

    meter = Meter("members")
    detection = detect(store, recipe, machines=options["machines"], progress=meter.update)
    meter.close()
    return detection


def _submission(detection: "Detection", out: Path, options: dict[str, Any]) -> list[Path]:
    """DCASE files of the year, in the official layout."""
    from ensemble.output import PACKAGE, package_year, score_table
    from ensemble.submission import write_submission

    year = options["year"] or package_year(detection.clips)
    scores = score_table(detection)
    return [write_submission(out / PACKAGE, detection.clips, scores, detection.decision, year=year)]


def _figures(detection: "Detection", out: Path, options: dict[str, Any]) -> dict[str, Any]:
    """Write metrics.json; show figures and real rates where labels exist, and warn of drift on stderr."""
    from ensemble.drift import drift
    from ensemble.false_alarms import false_alarm_rates, false_alarms_text
    from ensemble.output import (
        labelled,
        measure,
        metrics_json,
        metrics_text,
        score_table,
        separation_text,
        trust_json,
        write_metrics,
        year_of,
    )

    drifts = drift(detection, anomalies_at_most=options["anomalies_at_most"])
    year = options["year"] or year_of(detection.clips)
    clips, lacking = labelled(detection.clips, year)
    found = trust_json(detection, drifts)
    texts = []
    if len(clips):
        figures = measure(score_table(detection), clips, year)
        found = {**metrics_json(*figures), **found}
        texts.append(metrics_text(*figures))
    texts += filter(None, [separation_text(detection)])
    rates = false_alarm_rates(detection)
    texts += [false_alarms_text(rates)] if rates else []
    for text in texts:
        click.echo(text + "\n", err=options["as_json"])
    for reason in lacking:
        click.echo(f"note: left out of the figures: {reason}", err=True)
    for one in drifts:
        if one.warning:
            click.echo(f"warning: {one.warning}", err=True)
    write_metrics(out / "metrics.json", found)
    return found


def _tail(key: str) -> str:
    """The end of a clip's path, enough to recognise it on a terminal; the files hold the whole."""
    return "/".join(key.split("/")[-3:])


def _top(detection: "Detection") -> str:
    """The most anomalous clips with their evidence."""
    import numpy as np

    keys = detection.clips.keys()
    order = np.argsort(-detection.percentile, kind="stable")[:SHOWN]
    rows = [
        [
            _tail(keys[i]),
            f"{detection.percentile[i]:.4f}",
            "ANOMALY" if detection.decision[i] else "normal",
            _tail(detection.nearest[i]),
        ]
        for i in order
    ]
    reported = int(detection.decision.sum())
    head = f"{reported:,} of {len(keys):,} clips above their threshold; the {len(rows)} most anomalous:"
    return f"{head}\n{table(['clip', 'percentile', 'decision', 'nearest normal clip'], rows)}"


if __name__ == "__main__":
    main()
