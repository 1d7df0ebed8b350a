"""Options that the commands of `detect` share."""

import click

from featstore import registry
from featstore.console import EXISTING, together, workers_option

EXTERNAL = "CSV of clip,score: another system that"

no_marks_option = click.option("--no-marks", is_flag=True, help="Ignore the marks of the store (`detect mark`).")

embedder_option = click.option(
    "--embedder",
    "embedders",
    multiple=True,
    metavar="NAME=CHECKPOINT",
    help="The -e of `featstore build` that made an embedding with weights.",
)

group_option = click.option(
    "--group",
    help="recording, day or an attribute: clips that share it are never each other's reference.",
)

own_code_option = click.option(
    "--own-code",
    is_flag=True,
    help="Allow MODULE:CLASS in files such as recipes; finding the class runs the code of its module.",
)

year_option = click.option(
    "--year", type=click.IntRange(2020, 2026), help="Official rule; default 2023, without domains 2020."
)

recording_option = click.option(
    "--recording-score",
    default="max",
    show_default=True,
    help="Score of a recording from the scores of its windows, for metrics: max, or a quantile such as q0.9.",
)

recipe_options = together(
    click.option(
        "--ensemble",
        is_flag=True,
        help="The ensemble chosen by the generated anomalies of STORE, kept there; without any, the fixed default. "
        "Runs where nothing else is named.",
    ),
    click.option("--default", is_flag=True, help="The fixed default ensemble over every embedding (or those of -e)."),
    click.option("--perturb", is_flag=True, help="--ensemble: choose by perturbed embeddings, which need no audio."),
    click.option(
        "-d",
        "--detector",
        "detectors",
        multiple=True,
        help=f"NAME[:key=value,...], sklearn:CLASS, pyod:CLASS or MODULE:CLASS; NAME is "
        f"{', '.join(registry.names('detector'))}.",
    ),
    click.option(
        "-e", "--embedding", "embeddings", multiple=True, help="NAME, NAME@VIEW or NAME@MIX [--ensemble: all]."
    ),
    click.option("--recipe", type=EXISTING, help="Run the members of a recipe.toml."),
    click.option("--scores", "external", type=EXISTING, multiple=True, help=f"{EXTERNAL} joins the members."),
    click.option("--fusion", help="fisher, mean, max_rank or min_zscore, or a weighted_ one."),
    click.option(
        "--fpr", type=click.FloatRange(0, 1, min_open=True, max_open=True), help="Stated false-alarm rate [0.1]."
    ),
    click.option(
        "--threshold",
        multiple=True,
        metavar="RULE|NUMBER|MACHINE/SECTION=NUMBER|FILE",
        help="Threshold: quantile or gamma of the reference scores, or by hand a score for all sections, for one "
        "section, or a TOML file of both.",
    ),
    click.option(
        "--fdr",
        type=click.FloatRange(0, 1, min_open=True, max_open=True),
        help="Decide by a false-discovery rate over all test clips instead: the decision of a clip then depends on the "
        "scores of the other test clips.",
    ),
    click.option(
        "--domains",
        type=click.Choice(["pooled", "predicted", "known"]),
        help="Domain of a test clip: ignored, predicted from its sound, or its label (for decisions only). Default: "
        "predicted for an ensemble, where training clips have domains.",
    ),
    click.option(
        "--tail", type=click.Choice(["spread", "none"]), help="How a domain with few training clips is decided."
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
    group_option,
    recording_option,
    no_marks_option,
    click.option(
        "--recorded-marks",
        is_flag=True,
        help="--recipe: use only the marks that the recipe records, no later ones.",
    ),
    own_code_option,
    workers_option,
)
"""What runs and how it decides; the fields of ensemble.request.RunRequest."""

submission_options = together(
    click.option(
        "--label", metavar="LASTNAME_INSTITUTE_task2_N", help="--format dcase: label of the system, N from 1 to 4."
    ),
    click.option("--authors", type=EXISTING, help="--format dcase: TOML file of authors and fields of the system."),
    click.option(
        "--fill-missing",
        is_flag=True,
        help="--format dcase: test clips without a score get the highest of their section and the decision 1.",
    ),
)
"""What a submission says besides the scores; the fields of ensemble.results.OutRequest."""
