"""`detect score` as a user drives it: files, folders, the standard input; tables, JSON, CSV, Parquet; exit codes."""

import csv
import io
import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from scored_plant import RECIPE, Plant

from ensemble.cli import main
from ensemble.recipe import write_recipe
from ensemble.scoring.model import Model
from ensemble.scoring.output import COLUMNS
from ensemble.scoring.requests import STDIN_BLOCK_BYTES, ScoreRequest, score_to


@pytest.fixture(scope="module", autouse=True)
def _unsynced(unsynced: None) -> None:
    pass


def run(*args: object, stdin: bytes | None = None) -> Result:
    return CliRunner().invoke(main, ["score", *map(str, args)], input=stdin)


@pytest.fixture(scope="module")
def folder(plant: Plant, tmp_path_factory: pytest.TempPathFactory) -> Result:
    return run(plant.model, plant.root, "--csv", "--workers", 0)


def rows_of(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_a_folder_gives_the_numbers_of_scores_csv(plant: Plant, folder: Result, tmp_path: Path) -> None:
    assert folder.exit_code == 0, folder.output
    write_recipe(RECIPE, tmp_path / "recipe.toml")
    detected = CliRunner().invoke(
        main,
        [
            str(plant.store.path),
            "--recipe",
            str(tmp_path / "recipe.toml"),
            "-o",
            str(tmp_path / "out"),
            "--workers",
            "1",
        ],
    )
    assert detected.exit_code == 0, detected.output
    expected = {row["clip"]: row for row in rows_of((tmp_path / "out" / "scores.csv").read_text())}
    rows = {row["clip"]: row for row in rows_of(folder.stdout)}
    assert set(rows) == set(expected)
    assert len(rows) == 12
    for clip, row in rows.items():
        assert set(expected[clip]) - set(row) == {"domain"}
        for name in ("machine", "section", "decision", "nearest_normal", "where"):
            assert row[name] == expected[clip][name]
        texts = {"clip", "machine", "section", "domain", "decision", "nearest_normal", "where"}
        for name in set(expected[clip]) - texts:
            assert float(row[name]) == pytest.approx(float(expected[clip][name]), abs=1e-6), name
    assert tuple(rows_of(folder.stdout)[0])[: len(COLUMNS)] == COLUMNS
    reported = sum(row["decision"] == "1" for row in rows.values())
    assert f"{reported} of 12 clips reported" in folder.stderr
    assert "note: 36 training clips of the model were not scored" in folder.stderr


def test_json_csv_and_parquet_say_the_same(plant: Plant, folder: Result, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    lines = run(plant.model, plant.root, "--json", "--parquet", tmp_path / "a.parquet", "--workers", 0)
    assert lines.exit_code == 0, lines.output
    table = parquet.read_table(tmp_path / "a.parquet").to_pylist()
    records = [json.loads(line) for line in lines.stdout.splitlines()]
    assert len(records) == len(table) == 12
    for record, row, text in zip(records, table, rows_of(folder.stdout), strict=True):
        assert record["clip"] == row["clip"] == text["clip"]
        assert record["members"] == {member.name: row[member.name] for member in RECIPE.members}
        assert record["anomaly"] == bool(row["decision"]) == bool(int(text["decision"]))
        for name in (
            "score",
            "percentile",
            "p_value",
            "threshold",
            "target_probability",
            "nearest_distance",
            "start_s",
        ):
            assert record[name] == row[name] == float(text[name])
        assert record["nearest"] == row["nearest_normal"] == text["nearest_normal"]
        assert (row["where"], row["bands"]) == (text["where"], text["bands"]) == (record["sentence"], record["bands"])
        assert bool(row["bands"]) == record["anomaly"]


def test_files_are_shown_as_a_table_most_anomalous_first(plant: Plant) -> None:
    result = run(plant.model, *plant.files(), "--workers", 0)
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[0].split() == ["clip", "seconds", "percentile", "decision", "where"]
    percentiles = [float(line.split()[2]) for line in lines if ".wav" in line]
    assert percentiles == sorted(percentiles, reverse=True)
    assert len(percentiles) == 10
    assert "ANOMALY" in result.stdout


def test_anomalies_can_be_an_exit_code(plant: Plant, folder: Result) -> None:
    decided = {plant.root / row["clip"]: row["decision"] for row in rows_of(folder.stdout)}
    normal, reported = (next(path for path, value in decided.items() if value == wanted) for wanted in "01")
    assert run(plant.model, normal, "--fail-on-anomaly").exit_code == 0
    assert run(plant.model, reported, "--fail-on-anomaly").exit_code == 6
    assert run(plant.model, reported).exit_code == 0
    assert run(plant.model, normal, reported, "--fail-on-anomaly", "--json").exit_code == 6


def test_good_and_bad_files_in_a_folder(plant: Plant, tmp_path: Path) -> None:
    for path in (*plant.files()[:2], plant.files("train")[0]):
        shutil.copy(path, tmp_path)
    (tmp_path / "noise.wav").write_bytes(b"no sound")
    (tmp_path / "empty.wav").write_bytes(b"")
    (tmp_path / "notes.txt").write_text("no recording")
    usual = run(plant.model, tmp_path, "--workers", 0, "--machine", "fan", "--section", "00")
    assert usual.exit_code == 0, usual.output
    assert "2 " in next(line for line in usual.stderr.splitlines() if line.startswith("note: ")), "of another layout"
    options = ("--machine", "fan", "--section", "00", "--workers", 0, "--layout", "folder")
    result = run(plant.model, tmp_path, *options)
    assert result.exit_code == 3, result.output
    assert " of 2 clips reported" in result.stderr
    assert "note: 1 training clip of the model was not scored" in result.stderr
    assert "rejected: empty.wav: the file is empty (0 bytes)" in result.stderr
    assert "rejected: noise.wav: " in result.stderr
    lines = [json.loads(line) for line in run(plant.model, tmp_path, *options, "--json").stdout.splitlines()]
    assert [("score" in line, "rejected" in line) for line in lines].count((False, True)) == 2
    assert [("score" in line, "rejected" in line) for line in lines].count((True, False)) == 2
    assert len(rows_of(run(plant.model, tmp_path, *options, "--csv").stdout)) == 2


def test_a_training_clip_is_not_scored(plant: Plant) -> None:
    result = run(plant.model, plant.files("train")[0], "--json")
    assert result.exit_code == 0
    assert result.stdout == ""
    assert "note: 1 training clip of the model was not scored" in result.stderr
    content = plant.files("train")[0].read_bytes()
    piped = run(plant.model, "-", "--machine", "fan", "--section", "00", "--json", stdin=content)
    assert piped.stdout == ""
    assert "note: 1 training clip of the model was not scored" in piped.stderr


def test_the_standard_input_is_the_file(plant: Plant) -> None:
    path = plant.files()[0]
    options = ("--machine", "fan", "--section", "00", "--json")
    by_file, piped = run(plant.model, path, *options), run(plant.model, "-", *options, stdin=path.read_bytes())
    assert piped.exit_code == 0, piped.output
    expected: dict[str, Any] = json.loads(by_file.stdout)
    assert json.loads(piped.stdout) == expected | {"clip": "-"}
    both = run(plant.model, path, "-", *options, stdin=path.read_bytes())
    assert [json.loads(line)["clip"] for line in both.stdout.splitlines()] == [str(path), "-"]


def test_a_stream_that_does_not_know_its_length_is_scored_as_the_file(plant: Plant) -> None:
    path = plant.files()[0]
    content = bytearray(path.read_bytes())
    content[4:8] = content[40:44] = b"\xff\xff\xff\xff"
    options = ("--machine", "fan", "--section", "00", "--json")
    by_file, piped = run(plant.model, path, *options), run(plant.model, "-", *options, stdin=bytes(content))
    assert json.loads(piped.stdout) == json.loads(by_file.stdout) | {"clip": "-"}
    assert "note: 1 recording: length unknown (" in piped.stderr
    assert "length unknown" not in by_file.stderr


def test_the_standard_input_is_read_in_blocks(plant: Plant) -> None:
    content, sizes = io.BytesIO(plant.files()[0].read_bytes()), []

    class Stream(io.RawIOBase):
        def read(self, size: int = -1) -> bytes:
            sizes.append(size)
            return content.read(min(size, 1000))  # as a pipe gives less than was wanted

    request = ScoreRequest(paths=(Path("-"),), machine="fan", section="00")
    model = Model.load(plant.model)
    outcomes = list(score_to(model, request, stdin=Stream(), progress=lambda *_: None, say=print))  # type: ignore[arg-type]
    assert len(outcomes) == 1
    assert outcomes[0].verdict is not None
    assert set(sizes) == {STDIN_BLOCK_BYTES}


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "it is empty"),
        (b"no sound", "not decodable as audio: Format not recognised."),
        (b"RIFF\x24\0\0\0WAVEfmt ", "not decodable as audio: "),
    ],
)
def test_a_standard_input_that_is_no_sound_is_rejected(plant: Plant, content: bytes, reason: str) -> None:
    result = run(plant.model, "-", "--machine", "pump", stdin=content)
    assert result.exit_code == 3
    assert f"rejected: -: {reason}" in result.stderr
    assert "object at" not in result.stderr


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        (["MODEL"], 2, "Missing argument"),
        (["MODEL", "nowhere.wav"], 2, "Path 'nowhere.wav' does not exist"),
        (
            ["MODEL", "FILE", "--machine", "fam"],
            1,
            "the model knows no machine 'fam'; it knows fan, pump; did you mean fan?",
        ),
        (["MODEL", "FILE", "--machine", "fan", "--section", "10"], 1, "no section fan/10; it knows fan/00"),
        (["MODEL", "-"], 1, "which machine and section? Give --machine and --section"),
        (["MODEL", "EMPTY"], 1, "EMPTY"),
        (["FILE", "FILE"], 1, "is no model file"),
        (["EMPTY", "FILE"], 1, "it is no regular file"),
        (["nowhere", "FILE"], 2, "does not exist"),
        (["MODEL", "FILE", "--device", "gpu"], 2, "gpu"),
        (["MODEL", "FILE", "--layout", "dcaes"], 1, "dcase"),
        (["MODEL", "FILE", "--workers", "-1"], 2, "--workers"),
        (["MODEL", "FILE", "--parquet", "EMPTY"], 1, "EMPTY"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_mistakes_are_answered_with_what_to_do(
    plant: Plant, tmp_path: Path, args: list[str], code: int, words: str
) -> None:
    (tmp_path / "empty").mkdir()
    places = {"MODEL": plant.model, "FILE": plant.files()[0], "EMPTY": tmp_path / "empty"}
    if "dcaes" in args:
        places["FILE"] = plant.root
    result = run(*(places.get(arg, arg) for arg in args), stdin=b"")
    assert result.exit_code == code, result.output
    assert str(places.get(words, words)) in result.stderr
    assert "Traceback" not in result.output


def test_a_damaged_model_is_named(plant: Plant, tmp_path: Path) -> None:
    content = bytearray(plant.model.read_bytes())
    content[-1] ^= 1
    (tmp_path / "b.model").write_bytes(content)
    result = run(tmp_path / "b.model", plant.files()[0])
    assert result.exit_code == 1
    assert (
        f"error: {tmp_path / 'b.model'} is damaged: its checksum does not match its content; copy it again"
        in result.stderr
    )


def test_names_that_are_not_utf8(plant: Plant, tmp_path: Path) -> None:
    name = os.fsdecode(b"\xff\xe4.wav")
    shutil.copy(plant.files()[0], tmp_path / name)
    options = ("--machine", "fan", "--section", "00", "--workers", 0)
    lines = run(plant.model, tmp_path, *options, "--json")
    assert lines.exit_code == 0, lines.output
    assert json.loads(lines.stdout)["clip"] == name
    assert run(plant.model, tmp_path, *options).exit_code == 0
    assert (
        run(plant.model, tmp_path, *options, "--csv").stdout_bytes.splitlines()[1].startswith(b"\xff\xe4.wav,fan,00,")
    )
    parquet = pytest.importorskip("pyarrow.parquet")
    assert run(plant.model, tmp_path, *options, "--parquet", tmp_path / "a.parquet").exit_code == 0
    assert parquet.read_table(tmp_path / "a.parquet").to_pylist()[0]["clip"] == r"\xff\xe4.wav"


def test_help() -> None:
    text = run("--help").output
    for words in ("MODEL", "--fail-on-anomaly", "Exit with 6", "--json", "standard input"):
        assert words in text
