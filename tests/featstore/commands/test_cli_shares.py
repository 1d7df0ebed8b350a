"""featstore plan, build --rank / --claim and commit as a user drives them."""

import json
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result
from fakes import write_clip
from shared_plant import assert_same_rows

from featstore.building.request import SETTLED
from featstore.cli import main
from featstore.commands.shares import ranges

pytestmark = pytest.mark.usefixtures("unsynced")


def run(*args: object, **env: str) -> Result:
    return CliRunner().invoke(main, [str(arg) for arg in args], env=env)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    for i in range(5):
        write_clip(tmp_path / "data", f"fan/normal/{i}.wav", i, samples=4000)
    return tmp_path / "data"


@pytest.fixture
def store(data: Path) -> Path:
    """A store with a plan of three units."""
    planned = run("plan", data, data.parent / "store", "-e", "logmel", "--unit-clips", 2)
    assert planned.exit_code == 0, planned.output
    assert "5 clips to read in 3 units" in planned.stdout
    return data.parent / "store"


def work(data: Path, store: Path, *more: object, **env: str) -> Result:
    return run("build", data, store, "-e", "logmel", "--workers", 0, *more, **env)


def test_a_build_shared_by_ranks_equals_a_plain_one(data: Path, store: Path) -> None:
    said = work(data, store, "--rank", 1, "--world", 2)
    assert said.exit_code == 0, said.output
    assert "rank 1 of 2: 1 unit, 2 clips, 0 rejected" in said.stdout
    half = run("commit", store)
    assert half.exit_code == 1
    assert "1 of 3 units published" in half.stdout
    assert "2 units of plan" in half.stderr
    assert "are missing: 0, 2; run workers and commit again" in half.stderr
    assert work(data, store, "--rank", "auto", RANK="0", WORLD_SIZE="2").exit_code == 0
    whole = run("commit", store)
    assert whole.exit_code == 0, whole.output
    assert "logmel holds 5 rows" in whole.stdout
    assert "did not finish" not in run("info", store).stdout
    assert work(data, data.parent / "plain", "--unit-clips", 2).exit_code == 0
    assert_same_rows(store, data.parent / "plain")
    assert "nothing is pending" in run("commit", store).stdout
    assert "nothing to embed" in run("plan", data, store, "-e", "logmel").stdout


def test_generated_anomalies_need_no_option_of_the_worker(data: Path, tmp_path: Path) -> None:
    options = ["-e", "logmel", "-e", "twfr", "--anomalies", "1:mix,squeal", "--unit-clips", 4]
    (data / "fan/normal/3.wav").write_bytes(b"broken")
    assert run("plan", data, tmp_path / "shared", *options).exit_code == 0
    assert "did not finish" in run("info", tmp_path / "shared").stdout
    said = run("build", data, tmp_path / "shared", "-e", "logmel", "-e", "twfr", "--claim", "--workers", 0, "--json")
    assert said.exit_code == 0, said.output
    assert json.loads(said.stdout)["clips"] > 5
    committed = run("commit", tmp_path / "shared", "--json")
    assert committed.exit_code == 3, "a recording was rejected"
    assert json.loads(committed.stdout)["plans"][0]["missing"] == []
    assert run("build", data, tmp_path / "plain", "--workers", 0, *options).exit_code == 3
    assert_same_rows(tmp_path / "shared", tmp_path / "plain")


@pytest.mark.parametrize(
    ("more", "code", "words"),
    [
        (["--claim", "--rank", "0"], 2, "--claim cannot be combined with"),
        (["--rank", "0"], 1, "expected two integers, or auto"),
        (["--rank", "2", "--world", "2"], 1, "expected a rank from 0 to 1"),
        (["--rank", "auto"], 1, "none of RANK"),
        (["--claim", "--dry-run"], 2, "--dry-run is for the plan"),
        (["--claim", "--unit-clips", "3"], 1, "--unit-clips is 3 here and 2 in plan"),
        (["--claim", "--machine", "fan"], 1, "--machine is ['fan'] here and [] in plan"),
        (["--claim", "--max-seconds", "5"], 1, "this worker has"),
        (["--claim", "--as", "other"], 1, "no plan for other (plans in the store: logmel)"),
        (["--claim", "-e", "twfr"], 1, "no plan for logmel, twfr"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_worker_that_does_not_fit_is_told_why(
    data: Path, store: Path, more: list[str], code: int, words: str
) -> None:
    said = work(data, store, *more)
    assert said.exit_code == code, said.output
    assert words in said.stderr
    assert "Traceback" not in said.output
    assert run("commit", store).exit_code == 1, "nothing was made"


def test_options_may_be_repeated_as_they_were_planned(data: Path, store: Path) -> None:
    said = work(data, store, "--claim", "--unit-clips", 2, "--layout", "auto")
    assert said.exit_code == 0, said.output


def test_a_kubernetes_pod_takes_its_share(data: Path, store: Path) -> None:
    said = work(data, store, "--rank", "auto", "--world", 3, JOB_COMPLETION_INDEX="2")
    assert "rank 2 of 3: 1 unit, 1 clip" in said.stdout


def test_a_list_of_recordings_is_shared_too(data: Path, tmp_path: Path) -> None:
    (data / "some.scp").write_text("a fan/normal/0.wav\nb fan/normal/4.wav\n")
    assert run("plan", data / "some.scp", tmp_path / "s", "-e", "logmel").exit_code == 0
    said = work(data / "some.scp", tmp_path / "s", "--claim")
    assert said.exit_code == 0, said.output
    assert "holds 2 rows" in run("commit", tmp_path / "s").stdout


def test_every_option_the_plan_settles_is_one_of_plan_and_build() -> None:
    for name in ("plan", "build"):
        assert set(SETTLED) <= {parameter.name for parameter in main.get_command(click.Context(main), name).params}


def test_unit_numbers_are_shown_as_ranges() -> None:
    assert ranges([0, 2, 3, 4, 9]) == "0, 2-4, 9"
    assert ranges(range(0, 100, 2), most=2) == "0, 2, ..."
    assert ranges([]) == ""
