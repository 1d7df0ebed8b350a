"""Every way in which a submission can break the rules is named."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml
from dcase_years import EVALUATION, names

from detectors.metrics.scores import ScoreTable
from ensemble.submission.authors import Stated
from ensemble.submission.check import check_submission
from ensemble.submission.check_meta import read_meta
from ensemble.submission.facts import SystemFacts
from ensemble.submission.meta import meta_path, write_meta
from ensemble.submission.package import write_submission
from featstore.clip import Clip
from featstore.errors import DataError
from featstore.table import ClipTable

LABEL = "Miller_EU_task2_1"
HOME = {"institution": "University", "department": None, "location": "Town"}
ADA = {"lastname": "Miller", "firstname": "Ada", "email": "a@b.c", "corresponding": True, "affiliation": HOME}
NEEDED = dict.fromkeys(("input_sampling_rate", "acoustic_features", "machine_learning_method"), "x")


def eval_clips(year: int) -> ClipTable:
    """The evaluation clips of a year."""
    clips = []
    for path in names(year):
        stage, _, machine, folder, name = path.split("/")
        if stage == "eval_data" and folder.endswith("test"):
            parts = name.split("_")
            section = f"id_{parts[1]}" if year == 2020 else parts[1]
            domain = parts[2] if year == 2021 else "unknown"
            clips.append(Clip(path, machine, section, "test", domain))
    return ClipTable.from_clips(clips)


def package(root: Path, year: int, label: str = LABEL) -> Path:
    """A submission that follows the rules."""
    clips = eval_clips(year)
    scores = ScoreTable("s", tuple(clips.keys()), np.random.default_rng(0).normal(size=len(clips)))
    folder = write_submission(root, clips, scores, np.arange(len(clips)) % 2 == 0, year=year, label=label)
    write_meta(folder, year, SystemFacts("Name", "N", NEEDED, 0), Stated(authors=(ADA,)))
    return folder


@pytest.fixture(scope="module")
def clips() -> ClipTable:
    return eval_clips(2026)


@pytest.mark.parametrize("year", EVALUATION)
def test_a_package_by_the_rules_has_no_problem(tmp_path: Path, year: int) -> None:
    found = check_submission(package(tmp_path, year), eval_clips(year), year)
    assert found.problems == ()
    later = {2020: "", 2021: "domain_adaptation_method, "}
    fields = later.get(year, "domain_adaptation_method, domain_generalization_method, ")
    attributes = "attribute_usage, " if year > 2021 else ""
    assert found.notes == (
        "meta.yaml: null, which is right only where a field does not apply: data_augmentation, front_end, embeddings, "
        f"aggregation_method, {fields}ensemble_method_subsystem_count, decision_making, {attributes}"
        "external_data_usage, development_data_usage, external_datasets, source_code, results.development_dataset",
    )


SCORES, DECISIONS = "anomaly_score_Sander_section_00_test.csv", "decision_result_Sander_section_00_test.csv"


def edited(name: str, change: Callable[[str], str]) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_text(change((folder / name).read_text()))


def renamed(old: str, new: str) -> Callable[[Path], object]:
    return lambda folder: (folder / old).rename(folder / new)


def first(text: str, value: str) -> str:
    """The lines with another value on the first."""
    head, _, rest = text.partition("\n")
    return f"{head.partition(',')[0]},{value}\n{rest}"


def without(text: str) -> str:
    return text.partition("\n")[2]


BREAKS: dict[str, tuple[Callable[[Path], object], str]] = {
    "no score file": (lambda folder: (folder / SCORES).unlink(), f"missing: 1 file, {SCORES}"),
    "no decisions": (lambda folder: (folder / DECISIONS).unlink(), f"missing: 1 file, {DECISIONS}"),
    "one digit": (
        renamed(SCORES, "anomaly_score_Sander_section_0_test.csv"),
        f"anomaly_score_Sander_section_0_test.csv: not the name of a file of this submission; did you mean {SCORES}?",
    ),
    "another machine": (
        lambda folder: (folder / "anomaly_score_fan_section_00_test.csv").write_text("a.wav,1\n"),
        "anomaly_score_fan_section_00_test.csv: not the name of a file",
    ),
    "a stray file": (lambda folder: (folder / "notes.txt").touch(), "notes.txt: not the name of a file"),
    "a folder": (lambda folder: (folder / "more").mkdir(), "more: not a plain file"),
    "a link": (lambda folder: (folder / "x.csv").symlink_to(folder / SCORES), "x.csv: not a plain file"),
    "a missing clip": (edited(SCORES, without), f"{SCORES}: 1 clip missing; first 'section_00_0000.wav'"),
    "a missing decision": (edited(DECISIONS, without), f"{DECISIONS}: 1 clip missing"),
    "an extra clip": (
        edited(SCORES, lambda text: f"{text}section_00_0009.wav,1\n"),
        f"{SCORES}: 1 clip not in the data; first 'section_00_0009.wav'",
    ),
    "a clip twice": (
        edited(SCORES, lambda text: text + text.partition("\n")[0]),
        f"{SCORES}: 1 clip on several lines; first 'section_00_0000.wav'",
    ),
    "digits of a clip": (
        edited(SCORES, lambda text: text.replace("section_00_0000", "section_00_000")),
        f"{SCORES}: 1 clip with another number of digits; first 'section_00_000.wav' for 'section_00_0000.wav'",
    ),
    "digits that make another clip": (
        edited(SCORES, lambda text: text.replace("section_00_0001", "section_00_0010")),
        f"{SCORES}: 1 clip not in the data; first 'section_00_0010.wav'",
    ),
    "a path": (edited(SCORES, lambda text: f"test/{text}"), "1 clip not in the data; first 'test/section_00_0000.wav'"),
    "NaN": (edited(SCORES, lambda text: first(text, "nan")), "1 line without a finite number"),
    "infinity": (edited(SCORES, lambda text: first(text, "-inf")), "1 line without a finite number"),
    "text": (
        edited(SCORES, lambda text: first(text, "high")),
        "1 line without a finite number; first 'section_00_0000",
    ),
    "an empty score": (edited(SCORES, lambda text: first(text, "")), "1 line without a finite number"),
    "a decimal comma": (edited(SCORES, lambda text: first(text, "0,5")), "1 line not of the form name,value"),
    "a decision of 2": (edited(DECISIONS, lambda text: first(text, "2")), f"{DECISIONS}: 1 line without 0 or 1"),
    "a decision of 1.0": (edited(DECISIONS, lambda text: first(text, "1.0")), "1 line without 0 or 1"),
    "a header": (edited(SCORES, lambda text: f"name,score\n{text}"), f"{SCORES}: line 1 is a header, 'name,score'"),
    "a byte order mark": (edited(SCORES, lambda text: f"\ufeff{text}"), f"{SCORES}: begins with a byte order mark"),
    "semicolons": (edited(SCORES, lambda text: text.replace(",", ";")), "lines not of the form name,value"),
    "an open quote": (edited(SCORES, lambda text: f'"{text}'), f"{SCORES}: cannot be read"),
    "an empty file": (edited(SCORES, lambda text: ""), f"{SCORES}: 4 clips missing"),
    "no metadata": (lambda folder: meta_path(folder).unlink(), "meta.yaml: missing"),
}


@pytest.mark.parametrize("name", BREAKS)
def test_every_break_of_the_rules_is_named(tmp_path: Path, clips: ClipTable, name: str) -> None:
    folder = package(tmp_path, 2026)
    change, expected = BREAKS[name]
    change(folder)
    problems = check_submission(folder, clips, 2026).problems
    assert any(expected in problem for problem in problems), problems
    assert len(problems) <= 2, "one break gives one problem, or one for each of two files"


@pytest.mark.parametrize(
    ("label", "expected"),
    [
        ("Miller_EU_task2_5", "N from 1 to 4"),
        ("Miller_EU_task2_0", "N from 1 to 4"),
        ("Miller_task2_1", "expected Lastname_Institute_task2_N"),
        ("Miller_EU_task1_1", "expected Lastname_Institute_task2_N"),
        ("Lastname_Institute_task2_1", "the label is still the default"),
    ],
)
def test_the_label_of_the_folder(tmp_path: Path, clips: ClipTable, label: str, expected: str) -> None:
    folder = package(tmp_path, 2026)
    other = folder.rename(folder.with_name(label))
    meta_path(other).with_name(f"{LABEL}.meta.yaml").rename(meta_path(other))
    problems = check_submission(other, clips, 2026).problems
    assert any(expected in problem for problem in problems), problems
    assert any("submission.label is 'Miller_EU_task2_1', but the folder is" in problem for problem in problems)


def test_a_system_outside_task2(tmp_path: Path, clips: ClipTable) -> None:
    folder = package(tmp_path, 2026).rename(tmp_path / LABEL)
    assert any("lies in a folder task2" in problem for problem in check_submission(folder, clips, 2026).problems)


def test_machines_and_sections_that_the_data_lack_or_have_too_many_of(tmp_path: Path) -> None:
    clips = eval_clips(2021)
    some = clips[~clips.where(machine="fan", section="04") & ~clips.where(machine="pump")]
    more = ClipTable.concatenate([some, ClipTable.from_clips([Clip("eval_data/x.wav", "saw", "00", "test", "source")])])
    problems = check_submission(package(tmp_path, 2021), more, 2021).problems
    assert "the data lack fan 04; pump 03, 04, 05 of the evaluation data of 2021" in problems
    assert "not in the evaluation data of 2021: saw 00" in problems


def test_domains_of_2021_and_ids_of_2020(tmp_path: Path) -> None:
    folder = package(tmp_path / "a", 2021)
    (folder / "anomaly_score_fan_section_03_source_test.csv").rename(folder / "anomaly_score_fan_section_03_test.csv")
    problems = check_submission(folder, eval_clips(2021), 2021).problems
    assert "missing: 1 file, anomaly_score_fan_section_03_source_test.csv" in problems
    folder = package(tmp_path / "b", 2020)
    (folder / "anomaly_score_fan_id_01.csv").rename(folder / "anomaly_score_fan_section_01_test.csv")
    (folder / "decision_result_fan_id_01.csv").write_text("id_01_00000000.wav,1\n")
    problems = check_submission(folder, eval_clips(2020), 2020).problems
    assert "missing: 1 file, anomaly_score_fan_id_01.csv" in problems
    assert any(problem.startswith("decision_result_fan_id_01.csv: not the name") for problem in problems)


def set_at(meta: dict, path: str, value: object) -> None:
    *above, last = path.split(".")
    for key in above:
        meta = meta[int(key)] if isinstance(meta, list) else meta[key]
    meta[last] = value


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        ("submission.name", None, "null, but every system has it, so fill it in: submission.name"),
        ("submission.authors.0.email", None, "fill it in: submission.authors[0].email"),
        ("submission.authors.0.affiliation", None, "submission.authors[0].affiliation.institution, submission.authors"),
        ("system.complexity", None, "fill it in: system.complexity.total_parameters"),
        ("system.description", {}, "system.description.input_sampling_rate, system.description.acoustic_features"),
        ("submission.authors", None, "submission.authors: expected a list of authors"),
        (
            "submission.authors",
            [ADA, {**ADA, "affiliation": dict(HOME)}],
            "expected one author with corresponding: true, found 2",
        ),
        ("submission.abbreviation", "eleven char", "submission.abbreviation has 11 characters; at most 10"),
        ("system.complexity.total_parameters", "many", "total_parameters is 'many'; expected a whole number"),
        ("system.complexity.total_parameters", True, "total_parameters is True; expected a whole number"),
    ],
)
def test_fields_of_the_metadata(tmp_path: Path, clips: ClipTable, path: str, value: object, expected: str) -> None:
    folder = package(tmp_path, 2026)
    meta = yaml.safe_load(meta_path(folder).read_text())
    set_at(meta, path, value)
    meta_path(folder).write_text(yaml.safe_dump(meta))
    (problem,) = check_submission(folder, clips, 2026).problems
    assert problem.startswith("meta.yaml: ")
    assert expected in problem


def test_unknown_fields_of_the_metadata_are_noted(tmp_path: Path, clips: ClipTable) -> None:
    folder = package(tmp_path, 2026)
    text = meta_path(folder).read_text().replace("front_end:", "frontend:")
    meta_path(folder).write_text(text)
    notes = check_submission(folder, clips, 2026).notes
    assert any("system.description.frontend: not known as a field of 2026; did you mean front_end?" in n for n in notes)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [", "not valid YAML"),
        ("a: !!python/object/apply:os.system ['true']", "not valid YAML"),
        ("a: &x [1]\nb: *x", "has a YAML alias"),
        ("just text", "not a table"),
        (f"a: {'[' * 3000}{']' * 3000}", "more than 200 brackets"),
        ("- " * 3000 + "x", "cannot be read"),
        ("a: 2024-13-45", "cannot be read"),
        (f"a: '{'x' * (1 << 20)}'", "cannot be read"),
        ("a: \x07", "not valid YAML"),
    ],
)
def test_metadata_that_cannot_be_read(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "meta.yaml"
    path.write_text(text)
    with pytest.raises(DataError, match=message):
        read_meta(path)
