"""`detect neighbours` as a user drives it."""

import json

import pytest
from click.testing import CliRunner, Result
from scored_plant import Plant

from ensemble.cli import main


def run(*args: object) -> Result:
    return CliRunner().invoke(main, ["neighbours", *map(str, args)])


def test_a_table_and_json_of_the_same_rows(plant: Plant) -> None:
    path = plant.files()[0]
    table = run(plant.store.path, path, "-k", 3, "--split", "train")
    assert table.exit_code == 0, table.output
    lines = table.stdout.splitlines()
    assert lines[0].split() == ["recording", "machine", "section", "split", "seconds", "cosine", "distance"]
    rows = json.loads(run(plant.store.path, path, "-k", 3, "--split", "train", "--json").stdout)
    assert len(rows) == len(lines) - 2 == 3
    for row, line in zip(rows, lines[2:], strict=True):
        assert line.split()[1:] == [row["machine"], row["section"], "train", "0-0.6", f"{row['distance']:.6f}"]
        assert row["clip"].endswith(line.split()[0])
        assert row["query"] is None


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        (["nowhere", "a.wav"], 2, "does not exist"),
        (["STORE"], 2, "Missing argument"),
        (["STORE", "a.wav"], 1, "a.wav: neither a clip of the store nor a file"),
        (["STORE", "a.wav", "-e", "logmle"], 1, "did you mean logmel?"),
        (["STORE", "a.wav", "-k", "0"], 2, "-k"),
        (["STORE", "a.wav", "--split", "tset"], 2, "test"),
    ],
)
def test_mistakes_are_answered_with_what_to_do(plant: Plant, args: list[str], code: int, words: str) -> None:
    result = run(*(str(plant.store.path) if arg == "STORE" else arg for arg in args))
    assert result.exit_code == code, result.output
    assert words in result.stderr
    assert "Traceback" not in result.output
