"""What the commands say, and their exit codes, where a path or an option means nothing."""

from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from fakes import write_clip

from ensemble.cli import main as detect
from featstore.cli import main as featstore
from featstore.store import StoreWriter

pytestmark = pytest.mark.usefixtures("unsynced")


def run(program: object, *words: object) -> Result:
    return CliRunner().invoke(program, [str(word) for word in words])  # type: ignore[arg-type]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    for i in range(4):
        write_clip(tmp_path, f"data/fan/train/normal/{i}.wav", i, samples=8000)
    return tmp_path / "data"


@pytest.mark.parametrize(
    ("program", "words"),
    [
        (featstore, ["info", "gone"]),
        (featstore, ["build", "gone", "store"]),
        (featstore, ["scan", "gone"]),
        (featstore, ["export", "gone", "out.npz", "-e", "a"]),
        (featstore, ["import", "store", "gone.npz", "--as", "a"]),
        (detect, ["gone", "--default"]),
        (detect, ["score", "gone.model", "a.wav"]),
        (detect, ["score", __file__, "gone.wav"]),
        (detect, ["watch", "gone.model", "."]),
        (detect, ["report", "gone"]),
        (detect, ["evaluate", "gone.csv", "gone"]),
        (detect, ["archive", "gone", "gone"]),
    ],
)
def test_a_path_that_does_not_exist_is_a_usage_error(program: object, words: list[str]) -> None:
    result = run(program, *words)
    assert result.exit_code == 2, result.output
    assert "does not exist" in result.stderr or "No such command" in result.stderr


def test_a_folder_that_is_no_store_is_an_error_of_the_user_and_a_damaged_store_is_none(tmp_path: Path) -> None:
    for words in (["info"], ["verify"], ["commit"]):
        result = run(featstore, *words, tmp_path)
        assert result.exit_code == 1, result.output
        assert "is not a feature store" in result.stderr
    with StoreWriter(tmp_path / "store"):
        pass
    (tmp_path / "store/manifest/00000001.json").write_text("{}")
    assert run(featstore, "info", tmp_path / "store").exit_code == 4


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("4:leak@abc", "after @ come strengths in dB, such as -5,0, not 'abc'"),
        ("-3", "it starts with no whole number of anomalies per clip, such as 4"),
        ("leak", "it starts with no whole number of anomalies per clip"),
    ],
)
def test_anomalies_that_cannot_be_meant(data: Path, tmp_path: Path, text: str, said: str) -> None:
    result = run(featstore, "build", data, tmp_path / "store", "--anomalies", text)
    assert result.exit_code == 2
    assert f"--anomalies {text}: expected auto, none or N[:TRANSFORM,...][@DB,...][~DB]: {said}" in result.stderr


def test_an_unreadable_recording_counts_once_with_all_its_anomalies(data: Path, tmp_path: Path) -> None:
    (data / "fan/train/normal/2.wav").write_bytes(b"no sound")
    build = ["build", data, tmp_path / "store", "-e", "logmel", "--anomalies", "5", "--workers", "0"]
    result = run(featstore, *build)
    assert result.exit_code == 3
    assert "1 rejected; " in result.stderr
    assert result.stderr.count("not decodable as audio") == 1
    again = run(featstore, *build)
    assert "1 rejected earlier and unchanged since" in again.stderr
    result = run(featstore, *build, "--retry-rejected", "--json")
    assert result.stdout.count("not decodable as audio") == 1


def test_no_anomalies_on_a_store_that_has_some_is_told(data: Path, tmp_path: Path) -> None:
    build = ["build", data, tmp_path / "store", "-e", "logmel", "--workers", "0"]
    run(featstore, *build, "--anomalies", "2")
    note = "generated anomalies; no others are added"
    assert note in run(featstore, *build, "--anomalies", "none").stderr
    assert note not in run(featstore, *build).stderr, "without the option, nothing was asked for"
    other = ["build", data, tmp_path / "other", "-e", "logmel", "--workers", "0", "--anomalies", "none"]
    assert "generated anomalies" not in run(featstore, *other).stderr


def test_scan_counts_windows(data: Path) -> None:
    assert "4 clips" in run(featstore, "scan", data).stdout
    assert "12 clips" in run(featstore, "scan", data, "--window", "0.5").stdout
    assert "8 clips" in run(featstore, "scan", data, "--window", "0.5", "--hop", "0.5").stdout
    result = run(featstore, "scan", data, "--hop", "0.5")
    assert result.exit_code == 2
    assert "give --window S with it" in result.stderr
