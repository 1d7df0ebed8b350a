"""Options that the commands of `detect` share."""

import click

from featstore import registry
from featstore.console import EXISTING, together, workers_option

EXTERNAL = "CSV of clip,score of another system, which"

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
    help="recording, day or an attribute: clips that share it are never compared with each other.",
)

own_code_option = click.option(
    "--own-code",
    is_flag=True,
    help="Allow MODULE:CLASS in files such as recipes; finding the class runs the code of its module.",
)

year_option = click.option(
    "--year", type=click.IntRange(2020, 2026), help="Year of the official rule.  [default: 2023; 2020 without domains]"
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
        help="The ensemble chosen by the generated anomalies of STORE, and stored there; the fixed default if STORE "
        "has none. Used if neither members nor a recipe are named.",
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
        "-e", "--embedding", "embeddings", multiple=True, help="NAME, NAME@VIEW or NAME@MIX [--ensemble: all of them]."
    ),
    click.option("--recipe", type=EXISTING, help="Run the members of a recipe.toml."),
    click.option("--scores", "external", type=EXISTING, multiple=True, help=f"{EXTERNAL} joins the members."),
    click.option(
        "--fusion", help="Rule that combines members: fisher, mean, max_rank, min_zscore, weighted_fisher, ..."
    ),
    click.option(
        "--fpr",
        type=click.FloatRange(0, 1, min_open=True, max_open=True),
        help="False-alarm rate that sets the thresholds [0.1].",
    ),
    click.option(
        "--threshold",
        multiple=True,
        metavar="RULE|NUMBER|MACHINE/SECTION=NUMBER|FILE",
        help="quantile or gamma: the rule that sets thresholds from the scores of training clips; a number: the "
        "threshold of all sections, or of one; or a TOML file of such numbers.",
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
        "--tail",
        type=click.Choice(["spread", "none"]),
        help="Threshold of a domain with few training clips: by the spread of both domains, or (none) its own clips.",
    ),
    click.option(
        "--anomalies-at-most",
        type=click.FloatRange(0, 1, max_open=True),
        default=0.5,
        show_default=True,
        help="Largest share of anomalies that the drift check assumes.",
    ),
    click.option("--machine", "machines", multiple=True, help="Only this machine; may be given several times."),
    click.option(
        "--pool-sections",
        is_flag=True,
        help="Compare with the normal clips of the whole machine instead of its section.",
    ),
    click.option(
        "--group-by",
        help="Attribute that forms the groups of detectors with by=group; attributes: all of them together.",
    ),
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
