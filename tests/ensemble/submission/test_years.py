"""A submission of every year through the command line, from recordings to a package that follows the rules."""

import csv
import json
import zipfile
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result
from dcase_years import DEV, EVALUATION, TEST, record_year

from ensemble.cli import main
from ensemble.submission.clips import EVALUATION as RULES
from featstore.cli import main as featstore

AUTHORS = """
[[authors]]
lastname = "Miller"
firstname = "Ada"
email = "ada@example.org"
affiliation = { institution = "Example University", location = "Town" }
"""
LABEL = "Miller_EU_task2_1"
RESULTS = {
    2020: {"averaged_auc", "averaged_pauc"},
    2021: {"harmonic_mean_auc", "harmonic_mean_pauc"},
    2022: {"harmonic_mean_auc_source", "harmonic_mean_auc_target", "harmonic_mean_pauc"},
    **{year: {"auc_source", "auc_target", "pauc"} for year in range(2023, 2027)},
}


def run(*args: object) -> Result:
    return CliRunner().invoke(main, [str(arg) for arg in args])


@pytest.fixture(scope="module", params=EVALUATION)
def year(request: pytest.FixtureRequest) -> int:
    return int(request.param)


@pytest.fixture(scope="module")
def home(year: int, unsynced: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a store and a submission of it."""
    home = tmp_path_factory.mktemp(f"dcase{year}")
    data = record_year(home / f"dcase{year}", year)
    built = CliRunner().invoke(featstore, ["build", str(data), str(home / "s"), "-e", "logmel", "--workers", "0"])
    assert built.exit_code == 0, built.output
    (home / "authors.toml").write_text(AUTHORS)
    options = ("-d", "knn", "-e", "logmel@mean", "--format", "dcase", "--authors", home / "authors.toml")
    done = run(home / "s", *options, "--label", LABEL, "--year", year, "-o", home / "out")
    assert done.exit_code == 0, done.output
    assert "warning: Miller" not in done.stderr, done.stderr
    return home


def test_the_evaluation_data_are_those_of_the_rules(year: int) -> None:
    assert RULES[year] == {(machine, one) for machine, sections in EVALUATION[year].items() for one in sections}


def test_the_package_has_every_file_of_the_evaluation_data_and_no_other(home: Path, year: int) -> None:
    kinds = ["anomaly_score"] if year == 2020 else ["anomaly_score", "decision_result"]
    ends = {2020: ["_id_{}"], 2021: ["_section_{}_source_test", "_section_{}_target_test"]}.get(
        year, ["_section_{}_test"]
    )
    expected = {
        f"{kind}_{machine}{end.format(section)}.csv"
        for kind in kinds
        for machine, sections in EVALUATION[year].items()
        for section in sections
        for end in ends
    }
    folder = home / "out" / "dcase" / "task2" / LABEL
    assert {path.name for path in folder.iterdir()} == {*expected, f"{LABEL}.meta.yaml"}
    for name in expected:
        with (folder / name).open(newline="") as file:
            assert len(list(csv.reader(file))) == TEST
    with zipfile.ZipFile(home / "out" / "dcase" / "Miller_EU_task2.zip") as archive:
        assert archive.testzip() is None
        assert set(archive.namelist()) == {f"task2/{LABEL}/{name}" for name in (*expected, f"{LABEL}.meta.yaml")}


def test_the_metadata_have_the_results_of_the_development_data_in_the_names_of_the_year(home: Path, year: int) -> None:
    meta = yaml.safe_load((home / "out" / "dcase" / "task2" / LABEL / f"{LABEL}.meta.yaml").read_text())
    results = meta["results"]["development_dataset"]
    assert set(results) == {DEV}
    assert set(results[DEV]) == RESULTS[year]
    section = json.loads((home / "out" / "metrics.json").read_text())["sections"][0]
    if year == 2020:
        assert results[DEV]["averaged_auc"] == round(100 * section["auc"]["value"], 2)
    if year >= 2022:
        name = next(name for name in results[DEV] if name.endswith("auc_source"))
        assert results[DEV][name] == round(100 * section["auc_source"]["value"], 2)


def test_the_check_finds_nothing_and_another_year_does_not_fit(home: Path, year: int) -> None:
    package = home / "out" / "dcase"
    checked = run("submission", package, home / "s", "--year", year, "--json")
    assert checked.exit_code == 0, checked.output
    assert json.loads(checked.stdout)[LABEL]["problems"] == []
    other = 2025 if year != 2025 else 2020
    refused = run("submission", package, home / "s", "--year", other, "--json")
    assert refused.exit_code == 1
    assert any("in the evaluation data of" in problem for problem in json.loads(refused.stdout)[LABEL]["problems"])


def test_without_a_year_the_format_follows_the_machines(home: Path, year: int) -> None:
    done = run("submission", home / "out" / "dcase", home / "s")
    assert (done.exit_code == 0) == (year not in (2021, 2022)), "2021 and 2022 share machines and sections"


def test_evaluate_reads_the_package_with_the_truth(home: Path, year: int) -> None:
    machine, sections = next(iter(EVALUATION[year].items()))
    kind, digits = ("id", 8) if year == 2020 else ("section", 4)
    for domain in ("source", "target") if year == 2021 else ("",):
        place = f"{kind}_{sections[0]}{f'_{domain}_test' if domain else ''}"
        for folder, values in (("data", "0101"), ("domain", "0011")):
            name = f"ground_truth_{machine}_{place.removesuffix('_test')}_test.csv"
            path = home / "truth" / f"ground_truth_{folder}" / name
            if folder == "data" or year > 2021:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text("".join(f"{place}_{i:0{digits}d}.wav,{values[i]}\n" for i in range(TEST)))
    done = run(
        "evaluate",
        home / "out" / "dcase" / "task2" / LABEL,
        home / "s",
        "--ground-truth",
        home / "truth",
        "--json",
        "--year",
        year,
    )
    assert done.exit_code == 0, done.output
    (section,) = json.loads(done.stdout)["sections"]
    assert section["machine"] == machine
    assert sum(section["clips"].values()) == TEST * (2 if year == 2021 else 1)
