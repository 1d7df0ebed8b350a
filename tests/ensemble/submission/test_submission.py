"""Submission files: official names and lines, exact scores, clear refusals, and the packed archive."""

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from places import SHARED_DATA

from detectors.metrics.labels import Labels
from detectors.metrics.official import RULES, evaluate
from detectors.metrics.scores import ScoreTable
from ensemble.submission.package import FILES, file_rule, read_submission, write_submission
from featstore.clip import Clip
from featstore.errors import DataError
from featstore.table import ClipTable

NAMES = SHARED_DATA / "file_names"


def year_of_clips(section="00"):
    """Two machines in one section with two clips per domain and label, in an order that is not sorted."""
    return ClipTable.from_clips(
        [
            Clip(
                f"{machine}/test/section_{section}_{domain}_test_{label}_{i:04d}.wav",
                machine,
                section,
                "test",
                domain,
                label,
            )
            for machine in ("fan", "ToyCar")
            for domain in ("target", "source")
            for label in ("normal", "anomaly")
            for i in (1, 0)
        ]
    )


def random_scores(clips, seed=0):
    return ScoreTable("random", tuple(clips.keys()), np.random.default_rng(seed).normal(size=len(clips)) / 3)


def decided(clips):
    return np.arange(len(clips)) % 3 == 0


@pytest.mark.parametrize(
    ("year", "section", "files"),
    [
        (2020, "id_00", ["anomaly_score_ToyCar_id_00.csv", "anomaly_score_fan_id_00.csv"]),
        (
            2021,
            "03",
            [
                f"{kind}_{machine}_section_03_{domain}_test.csv"
                for kind in ("anomaly_score", "decision_result")
                for machine in ("ToyCar", "fan")
                for domain in ("source", "target")
            ],
        ),
        *(
            (
                year,
                "00",
                [
                    f"{kind}_{machine}_section_00_test.csv"
                    for kind in ("anomaly_score", "decision_result")
                    for machine in ("ToyCar", "fan")
                ],
            )
            for year in range(2022, 2027)
        ),
    ],
)
def test_official_names_of_every_year(tmp_path, year, section, files):
    clips = year_of_clips(section)
    folder = write_submission(tmp_path, clips, random_scores(clips), decided(clips), year=year, label="A_B_task2_2")
    assert folder == tmp_path / "task2" / "A_B_task2_2"
    assert sorted(path.name for path in folder.iterdir()) == files
    assert set(FILES) == set(RULES)


@pytest.mark.parametrize("year", FILES)
def test_reading_back_gives_identical_metrics(tmp_path, year):
    clips = year_of_clips()
    scores = random_scores(clips)
    folder = write_submission(tmp_path, clips, scores, decided(clips), year=year)
    back = read_submission(folder, clips, year=year)
    np.testing.assert_array_equal(back.aligned(scores.keys), scores.scores)
    assert evaluate(back, Labels.of(clips), year) == evaluate(scores, Labels.of(clips), year)


def test_lines_are_sorted_bare_names_with_every_digit(tmp_path):
    clips = year_of_clips()
    scores = random_scores(clips)
    folder = write_submission(tmp_path, clips, scores, decided(clips), year=2023)
    by_name = dict(zip(scores.keys, scores.scores.tolist(), strict=True))
    names = sorted(key for key in scores.keys if key.startswith("fan/"))
    expected = "".join(f"{name.removeprefix('fan/test/')},{by_name[name]!r}\n" for name in names)
    assert (folder / "anomaly_score_fan_section_00_test.csv").read_bytes() == expected.encode()
    reported = dict(zip(scores.keys, decided(clips).tolist(), strict=True))
    expected = "".join(f"{name.removeprefix('fan/test/')},{int(reported[name])}\n" for name in names)
    assert (folder / "decision_result_fan_section_00_test.csv").read_bytes() == expected.encode()


def test_the_order_of_clips_does_not_matter(tmp_path):
    clips = year_of_clips()
    order = np.random.default_rng(1).permutation(len(clips))
    first = write_submission(tmp_path / "a", clips, random_scores(clips), decided(clips), year=2024)
    second = write_submission(tmp_path / "b", clips[order], random_scores(clips), decided(clips)[order], year=2024)
    for path in first.iterdir():
        assert path.read_bytes() == (second / path.name).read_bytes()


def test_what_cannot_be_submitted_is_refused_and_nothing_is_written(tmp_path):
    clips = year_of_clips()
    scores = random_scores(clips)
    some = ScoreTable("some", scores.keys[1:], scores.scores[1:])
    more = ScoreTable("more", (*scores.keys, "x.wav"), np.append(scores.scores, 1.0))

    def attempt(message, table=clips, given=scores, decisions=None, year=2022, label="A_B_task2_1"):
        decisions = decided(table) if decisions is None else decisions
        with pytest.raises(DataError, match=message):
            write_submission(tmp_path / "out", table, given, decisions, year=year, label=label)

    attempt(r"some: no score for 'fan/test/section_00_target_test_normal_0001\.wav'", given=some)
    attempt(r"belong to no expected clip, first 'x\.wav'", given=more)
    attempt("no submission format for 2019; choose from 2020, 2021", year=2019)
    attempt("expected Lastname_Institute_task2_N", label="A_B_task2_5")
    attempt("expected Lastname_Institute_task2_N", label="../A_B_task2_1")
    attempt("letters without accents", label="M\u00fcller_B_task2_1")
    attempt("at most 100 characters", label=f"A_{'B' * 100}_task2_1")
    attempt("decisions must be 16 booleans, got int64", decisions=np.zeros(16, dtype=np.int64))
    attempt(r"16 booleans, got bool of shape \(3,\)", decisions=np.zeros(3, dtype=bool))
    for change, year, message in (
        ({"split": "train"}, 2022, r"is not a plain test recording \(train\)"),
        ({"variant": "clipping"}, 2022, "is not a plain test recording"),
        ({"domain": "unknown"}, 2021, "its domain is unknown"),
        ({"path": "fan/again/section_00_target_test_normal_0000.wav"}, 2022, "two test clips of fan section 00"),
        ({"path": "fan/test/two\nlines.wav"}, 2022, "a name with a line break"),
    ):
        table = ClipTable.from_clips([replace(clips[0], **change), *list(clips)[1:]])
        attempt(message, table, random_scores(table), year=year)
    empty = ClipTable.from_clips([])
    attempt("needs test clips; none", empty, ScoreTable("none", (), np.empty(0)))
    with pytest.raises(DataError, match="2022 needs decisions"):
        write_submission(tmp_path / "out", clips, scores, None, year=2022)
    assert not (tmp_path / "out").exists()


def test_a_name_with_a_comma_is_quoted_in_both_files(tmp_path):
    clips = ClipTable.from_clips([replace(clip, path=clip.path.replace("_0000", ", no 0")) for clip in year_of_clips()])
    scores = random_scores(clips)
    folder = write_submission(tmp_path, clips, scores, decided(clips), year=2023)
    np.testing.assert_array_equal(read_submission(folder, clips, year=2023).aligned(scores.keys), scores.scores)
    for kind in ("anomaly_score", "decision_result"):
        with (folder / f"{kind}_fan_section_00_test.csv").open(newline="") as file:
            assert {len(row) for row in csv.reader(file)} == {2}


def test_an_earlier_submission_is_not_mixed_in(tmp_path):
    clips = year_of_clips()
    write_submission(tmp_path, clips, random_scores(clips), None, year=2020)
    with pytest.raises(DataError, match="is not empty"):
        write_submission(tmp_path, clips, random_scores(clips), None, year=2020)


def test_damaged_submissions_are_named(tmp_path):
    clips = year_of_clips()
    folder = write_submission(tmp_path, clips, random_scores(clips), decided(clips), year=2023)
    path = folder / "anomaly_score_fan_section_00_test.csv"
    whole = path.read_text()
    path.write_text(whole.replace("source_test_normal_0000", "source_test_normal_9999"))
    with pytest.raises(
        DataError, match=r"anomaly_score_fan_section_00_test\.csv: .*no score for 'section_00_source_test_norm"
    ):
        read_submission(folder, clips, year=2023)
    path.write_text(whole + "extra.wav,1\n")
    with pytest.raises(DataError, match=r"first 'extra\.wav'"):
        read_submission(folder, clips, year=2023)
    path.write_text(whole)
    (folder / "anomaly_score_pump_section_00_test.csv").write_text("a.wav,1\n")
    with pytest.raises(DataError, match=r"anomaly_score_pump_section_00_test\.csv: no test clips"):
        read_submission(folder, clips, year=2023)
    path.unlink()
    with pytest.raises(DataError, match="No such file"):
        read_submission(folder, clips, year=2023)


@pytest.mark.parametrize("year", [2020, 2022, 2023, 2024, 2025, 2026])
def test_real_clip_names_go_out_and_come_back(tmp_path, year):
    listing = NAMES / f"dcase{year}.txt"
    if not listing.exists():
        pytest.skip(f"the list of real clip names is not here: {listing}")
    paths = [line for line in listing.read_text().split() if "/test/" in line]
    clips = ClipTable.from_clips(
        [Clip(path, path.split("/")[0], Path(path).stem.split("_")[2 if year == 2020 else 1], "test") for path in paths]
    )
    scores = random_scores(clips)
    folder = write_submission(tmp_path, clips, scores, decided(clips), year=year)
    np.testing.assert_array_equal(read_submission(folder, clips, year=year).aligned(scores.keys), scores.scores)
    assert len(list(folder.glob("anomaly_score_*"))) == len(clips.sections())


def test_unknown_years_list_the_known():
    with pytest.raises(DataError, match="choose from 2020, 2021, 2022, 2023, 2024, 2025, 2026"):
        file_rule(2027)
