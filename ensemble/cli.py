"""The `detect` command: parse, call, print. Heavy libraries load inside the command that needs them."""

import difflib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from detectors import DETECTORS
from ensemble.commands.archive import archive
from ensemble.commands.members import EXISTING, EXTERNAL, asked_recipe, judged_members, ranked_file, recipe_options
from featstore.clip import path_tail
from featstore.console import Commands, Meter, size, table
from featstore.errors import DataError

if TYPE_CHECKING:
    from ensemble.recipe import Recipe
    from ensemble.run import Detection
    from featstore.store import FeatureStore

CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}
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
    detect archive STORE ARCHIVE            the strangest clips of an archive of any size
    detect evaluate results/scores.csv STORE    official figures of any system's scores

    Exit codes: 0 all well, 1 error, 2 usage, 3 clips of an archive without a bank, 4 store damaged,
    5 out of disk or memory, 130 interrupted.
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
    from ensemble.output import prepare_out, write_detection, write_package
    from featstore.store import FeatureStore

    opened = FeatureStore.open(store)
    recipe, ranked = asked_recipe(opened, options)
    notes = prepare_out(out, package="dcase" in options["kinds"])
    detection = _detection(opened, recipe, options)
    files = write_detection(detection, out)
    files += ranked_file(detection, ranked, out)
    files += [write_package(detection, out, options["year"])] if "dcase" in options["kinds"] else []
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
    from ensemble.decision.drift import drift
    from ensemble.report.build import ReportOptions, read_selection, write_report
    from ensemble.report.media import recordings
    from ensemble.run import evidence_of
    from featstore.store import FeatureStore

    opened = FeatureStore.open(store)
    options["ensemble"] = options["ensemble"] or not (options["detectors"] or options["recipe"] or options["external"])
    recipe = asked_recipe(opened, options)[0]
    chosen = read_selection(selection, recipe) if selection else None
    detection = _detection(opened, recipe, options)
    info = opened.info(evidence_of(opened, detection.recipe).embedding)
    listen = recordings(data, info.sample_rate_hz, info.channel) if data else None
    shown = ReportOptions(
        f"Anomaly report: {store.resolve().name}", options["top"], options["seconds"], options["year"]
    )
    drifts = drift(detection.score, detection.decided, anomalies_at_most=options["anomalies_at_most"])
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
    help=f"{EXTERNAL} may be chosen, if it scores training clips and generated anomalies too.",
)
@click.option("--perturb", is_flag=True, help="Choose by perturbed embeddings instead.")
@click.option("--ranker", is_flag=True, help="Judge a learned fusion (LightGBM) beside the others; never chosen.")
@click.option("--replicates", type=click.IntRange(20), default=300, show_default=True, help="Of the bootstrap.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@click.option("--workers", type=click.IntRange(0), help="Processes; default one per core, 0 = none.")
@click.option("--json", "as_json", is_flag=True, help="The report as JSON on stdout.")
def select(store: Path, out: Path, **asked: Any) -> None:
    """Choose members and fusion by the generated anomalies of STORE; write OUT and selection.json beside it.

    Embeddings without audio have none: --perturb makes anomalies of the embeddings themselves.
    """
    from ensemble.recipe import write_recipe
    from ensemble.run import detect
    from ensemble.selection.cache import ScoreCache
    from ensemble.selection.candidates import default_candidates, read_grid
    from ensemble.selection.perturb_design import Design
    from ensemble.selection.select import Options
    from ensemble.selection.select import select as choose
    from ensemble.selection.summary import selection_json, selection_text, write_selection
    from featstore.store import FeatureStore

    opened = FeatureStore.open(store)
    options = Options(
        **{key: asked[key] for key in ("rule", "ranker", "replicates", "seed", "workers")},
        perturbed=Design() if asked["perturb"] else None,
    )
    grid, embeddings = asked["grid"], asked["embeddings"]
    candidates = read_grid(grid, opened, embeddings) if grid else default_candidates(opened, embeddings)
    judged, ranked = judged_members(opened, asked["external"])
    candidates += judged
    out.parent.mkdir(parents=True, exist_ok=True)
    meter = Meter("candidates")
    cache = ScoreCache(asked["cache"] or out.parent / "selection-cache")
    selection = choose(opened, candidates, cache, options, progress=meter.update)
    meter.close()
    write_recipe(selection.recipe, out)
    write_selection(out.with_name("selection.json"), selection)
    click.echo(json.dumps(selection_json(selection)) if asked["as_json"] else selection_text(selection))
    click.echo(f"wrote {out}, {out.with_name('selection.json')}; run it: detect {store} --recipe {out}", err=True)
    if ranked:
        click.echo(f"wrote {ranked_file(detect(opened, selection.recipe), ranked, out.parent)[0]}", err=True)


@main.command(name="detectors")
def list_detectors() -> None:
    """List the detectors with their parameters and defaults."""
    from detectors import parameters

    rows = [[name, ", ".join(f"{key}={value}" for key, value in parameters(name).items())] for name in DETECTORS]
    click.echo(table(["detector", "parameters"], rows))


@main.command(name="recipes")
@click.argument("name", required=False)
def list_recipes(name: str | None) -> None:
    """List published systems, or show how to train and run the recipe NAME (or that of a file)."""
    from ensemble.systems.catalogue import find_system, system_text, systems_rows

    rows = [] if name else systems_rows()
    header = ["recipe", "year", "embedder", "loss", "detector", "system"]
    click.echo(system_text(find_system(name)) if name else table(header, rows))


main.add_command(archive)


def _detection(store: "FeatureStore", recipe: "Recipe", options: dict[str, Any]) -> "Detection":
    """Run the recipe, with progress on stderr."""
    from ensemble.run import detect

    meter = Meter("members")
    detection = detect(store, recipe, machines=options["machines"], progress=meter.update)
    meter.close()
    return detection


def _figures(detection: "Detection", out: Path, options: dict[str, Any]) -> dict[str, Any]:
    """Write metrics.json; show figures and real rates where labels exist, and warn of drift on stderr."""
    from ensemble.decision.drift import drift
    from ensemble.decision.false_alarms import false_alarm_rates, false_alarms_text
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

    drifts = drift(detection.score, detection.decided, anomalies_at_most=options["anomalies_at_most"])
    year = options["year"] or year_of(detection.clips)
    clips, lacking = labelled(detection.clips, year)
    found = trust_json(detection, drifts)
    texts = []
    if len(clips):
        figures = measure(score_table(detection), clips, year)
        found = {**metrics_json(*figures), **found}
        texts.append(metrics_text(*figures))
    texts += filter(None, [separation_text(detection)])
    rates = false_alarm_rates(detection.clips, detection.decided)
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


def _top(detection: "Detection") -> str:
    """The most anomalous clips with their evidence."""
    import numpy as np

    keys = detection.clips.keys()
    order = np.argsort(-detection.percentile, kind="stable")[:SHOWN]
    rows = [
        [
            path_tail(keys[i]),
            f"{detection.percentile[i]:.4f}",
            "ANOMALY" if detection.decision[i] else "normal",
            path_tail(detection.nearest[i]),
        ]
        for i in order
    ]
    reported = int(detection.decision.sum())
    rate = detection.recipe.false_alarm_rate
    expected = "" if detection.recipe.fdr else f" (of normal clips like the training clips, {100 * rate:g} % would be)"
    head = f"{reported:,} of {len(keys):,} clips above their threshold{expected}; the {len(rows)} most anomalous:"
    return f"{head}\n{table(['clip', 'percentile', 'decision', 'nearest normal clip'], rows)}"


if __name__ == "__main__":
    main()
