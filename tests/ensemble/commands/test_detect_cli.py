"""The detect command as a user drives it: simulated plant to ranked list, submission files and figures."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from fitted_plant import listed, store_of

from detectors import create
from ensemble.cli import main
from ensemble.commands.catalogue import PUBLISHED
from featstore.cli import main as featstore


def run(*args: object) -> Result:
    return CliRunner().invoke(main, [str(arg) for arg in args])


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two simulated machines, embedded twice."""
    root = tmp_path_factory.mktemp("plant")
    made = ["simulate", str(root / "data"), "--clips", "80", "--machines", "fan,valve", "--seconds", "2"]
    assert CliRunner().invoke(featstore, made).exit_code == 0
    built = ["build", str(root / "data"), str(root / "store"), "-e", "logmel", "-e", "twfr", "--workers", "0"]
    result = CliRunner().invoke(featstore, built)
    assert result.exit_code == 0, result.output
    return root / "store"


def test_the_ensemble_from_store_to_files(store: Path, tmp_path: Path) -> None:
    result = run(store, "--ensemble", "-o", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert "official score (2023 rule)" in result.stdout
    assert " of 32 clips reported. At a 10 % false-alarm rate about 3 would be expected if all were" in result.stdout
    assert "The 10 most anomalous (percentile: share of the " in result.stdout
    with (tmp_path / "out" / "scores.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 32
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert {row["machine"] for row in metrics["sections"]} == {"fan", "valve"}
    again = run(store, "--recipe", tmp_path / "out" / "recipe.toml", "-o", tmp_path / "again")
    assert again.exit_code == 0, again.output
    assert (tmp_path / "again" / "scores.csv").read_bytes() == (tmp_path / "out" / "scores.csv").read_bytes()


def test_one_detector_on_one_view(store: Path, tmp_path: Path) -> None:
    result = run(store, "-d", "knn", "-e", "twfr@r0.9", "-o", tmp_path)
    assert result.exit_code == 0, result.output
    assert 'detector = "knn"' in (tmp_path / "recipe.toml").read_text()
    with (tmp_path / "scores.csv").open(newline="") as file:
        assert all(0 <= float(row["score"]) <= 2 for row in csv.DictReader(file)), "raw cosine distances"


def test_submission_files_give_the_same_figures(store: Path, tmp_path: Path) -> None:
    result = run(store, "-d", "knn", "-e", "twfr", "-o", tmp_path, "--format", "dcase", "--json")
    assert result.exit_code == 0, result.output
    names = sorted(path.name for path in (tmp_path / "dcase").rglob("*.csv"))
    assert names == [
        f"{kind}_{m}_section_00_test.csv" for kind in ("anomaly_score", "decision_result") for m in ("fan", "valve")
    ]
    found = json.loads(result.stdout)["metrics"]["official_score"]["value"]
    evaluated = json.loads(run("evaluate", tmp_path / "scores.csv", store, "--json").stdout)
    assert evaluated["official_score"]["value"] == pytest.approx(found, abs=1e-12)


def test_thresholds_change_without_changing_scores(store: Path, tmp_path: Path) -> None:
    decisions = []
    for rate in (0.02, 0.3):
        assert run(store, "-d", "knn", "-e", "twfr", "-o", tmp_path / str(rate), "--fpr", rate).exit_code == 0
        with (tmp_path / str(rate) / "scores.csv").open(newline="") as file:
            rows = {row["clip"]: row for row in csv.DictReader(file)}
        decisions.append(sum(int(row["decision"]) for row in rows.values()))
        scores = {clip: row["score"] for clip, row in rows.items()}
    assert decisions[0] < decisions[1]
    with (tmp_path / "0.02" / "scores.csv").open(newline="") as file:
        assert {row["clip"]: row["score"] for row in csv.DictReader(file)} == scores


def test_thresholds_by_hand_are_kept_in_the_recipe(store: Path, tmp_path: Path) -> None:
    def rows(out: str, *words: object) -> dict[str, dict[str, str]]:
        result = run(store, *words, "-o", tmp_path / out)
        assert result.exit_code == 0, result.output
        with (tmp_path / out / "scores.csv").open(newline="") as file:
            return {row["clip"]: row for row in csv.DictReader(file)}

    def without(row: dict[str, str]) -> dict[str, str]:
        return {name: value for name, value in row.items() if name not in ("threshold", "decision", "where")}

    ruled = rows("ruled", "-d", "knn", "-e", "twfr")
    limit = sorted(float(row["score"]) for row in ruled.values() if row["machine"] == "fan")[-3]
    by_hand = rows("hand", "-d", "knn", "-e", "twfr", "--threshold", f"fan/00={limit!r}")
    fan = [row for row in by_hand.values() if row["machine"] == "fan"]
    assert {row["threshold"] for row in fan} == {repr(limit)}
    assert sum(int(row["decision"]) for row in fan) == 2
    for clip, row in ruled.items():
        assert (row if row["machine"] != "fan" else without(row)) == (
            by_hand[clip] if row["machine"] != "fan" else without(by_hand[clip])
        )
    alarms = json.loads((tmp_path / "hand" / "metrics.json").read_text())["false_alarms"]
    assert {(row["machine"], row["nominal"]) for row in alarms} == {("fan", None), ("valve", 0.1)}
    assert rows("again", "--recipe", tmp_path / "hand" / "recipe.toml") == by_hand
    assert rows("rule", "--recipe", tmp_path / "hand" / "recipe.toml", "--threshold", "quantile") == ruled
    unknown = run(store, "-d", "knn", "-e", "twfr", "--threshold", "fan/0=1", "-o", tmp_path / "no")
    assert unknown.exit_code == 1
    assert "'fan/0' names no section; it has fan/00, valve/00; did you mean fan/00?" in unknown.output


def test_the_chosen_ensemble_runs_where_nothing_is_named(store: Path, tmp_path: Path) -> None:
    plain, named = (run(store, *options, "-o", tmp_path / "out") for options in ((), ("--ensemble",)))
    assert (plain.exit_code, plain.stdout) == (0, named.stdout)
    assert "nearest normal clip" in plain.stdout


def test_detectors_are_listed_with_their_parameters() -> None:
    shown = run("detectors").stdout
    for name in ("knn", "gmm", "mahalanobis", "ldn", "lof"):
        assert name in shown
    assert "standardize=False" in shown
    assert "sklearn:CLASS[,key=value,...]  EllipticEnvelope, IsolationForest, LocalOutlierFactor" in shown
    for spec, _, paper in PUBLISHED:
        assert create(spec)
        assert spec in shown
        assert paper in shown


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        (["STORE", "-d", "knn"], 2, "needs one -e"),
        (["STORE", "-d", "knn", "--threshold", "quantil"], 2, "did you mean quantile?"),
        (["STORE", "-d", "knn", "--threshold", "3", "--fdr", "0.1"], 2, "with no threshold by hand"),
        (["STORE", "-d", "knnn", "-e", "twfr"], 2, "did you mean knn?"),
        (["STORE", "-d", "knn:kk=3", "-e", "twfr"], 2, "choose from"),
        (["STORE", "-d", "knn", "-e", "tfwr"], 1, "did you mean twfr?"),
        (["STORE", "-d", "knn", "-e", "twfr@r7"], 1, "its views: r1.1,"),
        (["STORE", "--ensemble", "--fusion", "median"], 2, "min_zscore"),
        (["STORE", "--ensmble"], 2, "--ensemble"),
        (["evalute", "x", "y"], 2, "Did you mean 'evaluate'?"),
        (["nowhere", "--ensemble"], 2, "does not exist"),
        (["STORE", "--recipe", "STORE/lock"], 1, "at least one member"),
    ],
)
def test_mistakes_are_answered_with_what_to_do(
    store: Path, tmp_path: Path, args: list[str], code: int, words: str
) -> None:
    result = run(*(arg.replace("STORE", str(store)) for arg in args), *([] if "evalute" in args else ["-o", tmp_path]))
    assert result.exit_code == code, result.output
    assert words in result.stderr
    assert "Traceback" not in result.output


def test_a_folder_of_unlabelled_recordings_is_ranked(tmp_path: Path) -> None:
    import numpy as np
    import soundfile as sf

    (tmp_path / "archive").mkdir()
    rng = np.random.default_rng(0)
    for i in range(20):
        wave = (0.15 if i == 13 else 0.1) * rng.normal(size=8000)
        sf.write(tmp_path / "archive" / f"{i:02d}.wav", wave, 16_000)
    command = [
        sys.executable,
        "-m",
        "featstore.cli",
        "build",
        str(tmp_path / "archive"),
        str(tmp_path / "s"),
        "-e",
        "logmel",
    ]
    assert subprocess.run(command, capture_output=True, check=False).returncode == 0
    result = run(tmp_path / "s", "--ensemble", "-o", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert "ranked among themselves" in result.stderr
    with (tmp_path / "out" / "scores.csv").open(newline="") as file:
        assert next(csv.DictReader(file))["clip"] == "13.wav"


def test_folders_with_faults_but_no_held_out_normals_get_a_figure(tmp_path: Path) -> None:
    import numpy as np
    import soundfile as sf

    rng = np.random.default_rng(0)
    for kind, n, level in (("normal", 16, 0.1), ("abnormal", 4, 0.2)):
        (tmp_path / "plant" / "fan" / kind).mkdir(parents=True)
        for i in range(n):
            sf.write(tmp_path / "plant" / "fan" / kind / f"{i}.wav", level * rng.normal(size=8000), 16_000)
    built = CliRunner().invoke(
        featstore, ["build", str(tmp_path / "plant"), str(tmp_path / "s"), "-e", "logmel", "--workers", "0"]
    )
    assert built.exit_code == 0
    result = run(tmp_path / "s", "-d", "mahalanobis", "-e", "logmel@mean", "-o", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert "auc against training clips" in result.stdout
    assert "100.00" in result.stdout
    assert "official score" not in result.stdout
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    row = {"machine": "fan", "section": "00", "anomalies": 4, "training_clips": 16, "auc": 1.0}
    assert metrics["separation"] == [row]
    assert metrics["ensemble"] == {"kind": "named", "reason": "named by -d"}


def test_scores_of_other_systems_are_found_by_file_name_or_refused(store: Path, tmp_path: Path) -> None:
    assert run(store, "-d", "knn", "-e", "twfr", "-o", tmp_path, "--format", "dcase").exit_code == 0
    package = next((tmp_path / "dcase" / "task2").iterdir())
    by_path = json.loads(run("evaluate", tmp_path / "scores.csv", store, "--json").stdout)["official_score"]
    by_folder = json.loads(run("evaluate", package, store, "--json").stdout)["official_score"]
    assert by_folder == by_path
    one = next(package.glob("anomaly_score_fan*.csv"))
    refused = run("evaluate", one, store)
    assert refused.exit_code == 1
    assert "16 of 32 clips have none" in refused.stderr, "its names are found; the other machine's clips are missing"
    (tmp_path / "short.csv").write_text("\n".join((tmp_path / "scores.csv").read_text().splitlines()[:5]) + "\n")
    refused = run("evaluate", tmp_path / "short.csv", store)
    assert refused.exit_code == 1
    assert "no score for" in refused.stderr


def test_earlier_results_do_not_mix_with_new_ones(store: Path, tmp_path: Path) -> None:
    assert run(store, "-d", "knn", "-e", "twfr", "-o", tmp_path, "--format", "dcase").exit_code == 0
    again = run(store, "-d", "knn", "-e", "logmel@mean", "-o", tmp_path)
    assert again.exit_code == 0
    assert "is the package of an earlier run" in again.stderr
    assert "the results of an earlier run in" in again.stderr
    assert run(store, "-d", "knn", "-e", "twfr", "-o", tmp_path, "--format", "dcase").exit_code == 0


def test_one_machine_alone(store: Path, tmp_path: Path) -> None:
    result = run(store, "-d", "knn", "-e", "twfr", "-o", tmp_path, "--machine", "fan")
    assert result.exit_code == 0, result.output
    with (tmp_path / "scores.csv").open(newline="") as file:
        assert {row["machine"] for row in csv.DictReader(file)} == {"fan"}
    refused = run(store, "-d", "knn", "-e", "twfr", "-o", tmp_path, "--machine", "fam")
    assert refused.exit_code == 1
    assert "it has fan, valve" in refused.stderr


def test_a_place_that_cannot_be_written_is_found_out_before_anything_is_computed(store: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    result = run(store, "-d", "knn", "-e", "twfr", "-o", tmp_path / "file")
    assert result.exit_code == 2
    assert "Traceback" not in result.output
    assert "members" not in result.stderr


@pytest.fixture(scope="module")
def dated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of imported embeddings whose file names have days."""
    root, rng = tmp_path_factory.mktemp("dated"), np.random.default_rng(0)
    splits = ["train"] * 40 + ["test"] * 5
    lines = [f"fan/2024-05-0{1 + i % 4}_{i}.wav,fan,{split}" for i, split in enumerate(splits)]
    (root / "clips.csv").write_text("path,machine,split\n" + "\n".join(lines) + "\n")
    offsets = 5 + rng.normal(size=(4, 6))
    np.save(root / "e.npy", (offsets[np.arange(45) % 4] + 0.5 * rng.normal(size=(45, 6))).astype(np.float32))
    made = ["import", root / "store", root / "e.npy", "--as", "e", "--manifest", root / "clips.csv"]
    result = CliRunner().invoke(featstore, [str(arg) for arg in made])
    assert result.exit_code == 0, result.output
    return root / "store"


def test_days_are_proposed_and_then_left_out_as_a_whole(dated: Path, tmp_path: Path) -> None:
    options = ("-d", "knn", "-e", "e", "-o")
    plain = run(dated, *options, tmp_path / "plain")
    assert plain.exit_code == 0, plain.output
    assert "note: the training clips of one section are of 4 days" in plain.stderr
    assert "--group day leaves out whole days" in plain.stderr
    by_day = run(dated, *options, tmp_path / "day", "--group", "day")
    assert by_day.exit_code == 0, by_day.output
    assert "leaves out whole days" not in by_day.stderr
    assert 'group = "day"' in (tmp_path / "day" / "recipe.toml").read_text()
    again = run(dated, "--recipe", tmp_path / "day" / "recipe.toml", "-o", tmp_path / "again")
    assert again.exit_code == 0, again.output
    first, second, third = ((tmp_path / name / "scores.csv").read_bytes() for name in ("plain", "day", "again"))
    assert second == third != first


def test_a_group_that_no_clip_has_is_answered_with_the_known_ones(dated: Path, store: Path, tmp_path: Path) -> None:
    wrong = run(dated, "-d", "knn", "-e", "e", "-o", tmp_path, "--group", "shift")
    assert wrong.exit_code
    assert "no training clip has the attribute 'shift'; choose recording, day" in wrong.stderr
    no_day = run(store, "-d", "knn", "-e", "twfr", "-o", tmp_path, "--group", "day")
    assert no_day.exit_code
    assert "no training clip has a day, such as 2024-01-31" in no_day.stderr


def test_a_choice_by_days_is_a_recipe_with_days(dated: Path, tmp_path: Path) -> None:
    chosen = run("select", dated, "--perturb", "--group", "day", "-o", tmp_path / "recipe.toml", "--replicates", "20")
    assert chosen.exit_code == 0, chosen.output
    assert 'group = "day"' in (tmp_path / "recipe.toml").read_text()


def test_notes_hold_no_control_characters_of_names(tmp_path: Path) -> None:
    store_of(tmp_path / "s", listed(12, 1, machines=["fan\n\x1b[31m"]))
    options = ["-d", "knn", "-e", "v@low", "-o", str(tmp_path / "r"), "--workers", "1"]
    result = CliRunner().invoke(main, ["run", str(tmp_path / "s"), *options])
    assert result.exit_code == 0, result.output
    assert r"fan\n\x1b[31m section 00: no anomaly clips" in result.stderr
    assert "\x1b" not in result.output
