"""A run writes a system whole or not at all, several systems stand side by side, and a zip holds those of a team."""

import errno
import zipfile
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from selection_store import selection_store

from ensemble.cli import main
from ensemble.output import PACKAGE
from ensemble.recipe import Member, Recipe
from ensemble.run import Detection, detect
from ensemble.submission import package
from ensemble.submission.clips import EVALUATION
from ensemble.submission.submit import Submission, Submitted, write_package
from featstore.errors import DataError
from featstore.store import FeatureStore

LABEL = "Miller_EU_task2_{}"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> FeatureStore:
    return selection_store(tmp_path_factory.mktemp("output") / "store")


@pytest.fixture(scope="module")
def detection(store: FeatureStore) -> Detection:
    return detect(store, Recipe((Member("emb", "knn", "good"),)))


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def run(*args: object) -> Result:
    return CliRunner().invoke(main, [str(arg) for arg in args])


def submitted(store: FeatureStore, out: Path, *more: object) -> Result:
    return run(store.path, "-d", "knn", "-e", "emb@good", "-o", out, "--format", "dcase", *more)


def test_a_system_is_replaced_whole_or_not_at_all(
    store: FeatureStore, detection: Detection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write(year: int = 2023) -> Submitted:
        return write_package(store, detection, tmp_path, Submission(year))

    folder, archive = write().files
    assert folder == tmp_path / PACKAGE / "task2" / "Lastname_Institute_task2_1"
    assert archive == tmp_path / PACKAGE / "Lastname_Institute_task2.zip"
    before = contents(tmp_path)
    (folder / "stale.csv").touch()
    assert write().files == (folder, archive)
    assert contents(tmp_path) == before
    with pytest.raises(DataError, match="no submission format for 1999"):
        write(1999)

    def full(path: Path, data: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    for module in (package, "ensemble.submission.meta", "ensemble.submission.archive"):
        with monkeypatch.context() as patch:
            where = module if isinstance(module, str) else module.__name__
            patch.setattr(f"{where}.write_new", full)
            with pytest.raises(OSError, match="No space left"):
                write()
        assert contents(tmp_path) == before
        assert [path.name for path in tmp_path.iterdir()] == [PACKAGE]


def test_four_systems_of_a_team_in_one_zip(store: FeatureStore, tmp_path: Path) -> None:
    for number in (1, 2, 3, 4):
        done = submitted(store, tmp_path, "--label", LABEL.format(number))
        assert done.exit_code == 0, done.output
    task = tmp_path / PACKAGE / "task2"
    assert sorted(path.name for path in task.iterdir()) == [LABEL.format(number) for number in (1, 2, 3, 4)]
    archive = tmp_path / PACKAGE / "Miller_EU_task2.zip"
    files = {f"task2/{name}" for name in contents(task)}
    assert len(files) == 4 * 5, "two sections with scores and decisions, and metadata"
    with zipfile.ZipFile(archive) as packed:
        assert set(packed.namelist()) == files
        for name in files:
            assert packed.read(name) == (task.parent / name).read_bytes()
    same = archive.read_bytes()
    assert submitted(store, tmp_path, "--label", LABEL.format(2)).exit_code == 0
    assert archive.read_bytes() == same, "equal files give equal bytes"
    fifth = submitted(store, tmp_path, "--label", LABEL.format(5))
    assert fifth.exit_code == 2
    assert "N from 1 to 4" in fifth.stderr


def test_another_team_is_named_and_stays_out_of_the_zip(store: FeatureStore, tmp_path: Path) -> None:
    assert submitted(store, tmp_path, "--label", "Other_X_task2_1").exit_code == 0
    done = submitted(store, tmp_path, "--label", LABEL.format(1), "--year", 2023)
    assert "task2 holds systems of 2 teams, Miller_EU_task2, Other_X_task2" in done.stderr
    with zipfile.ZipFile(tmp_path / PACKAGE / "Miller_EU_task2.zip") as packed:
        assert {name.split("/")[1] for name in packed.namelist()} == {LABEL.format(1)}


def test_the_check_packs_edited_files_and_the_report_but_no_links(
    store: FeatureStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert submitted(store, tmp_path, "--label", LABEL.format(1)).exit_code == 0
    root = tmp_path / PACKAGE
    refused = run("submission", root, store.path, "--zip")
    assert refused.exit_code == 1
    assert f"{LABEL.format(1)}: 2 problems" in refused.stdout
    assert "no technical report (.pdf)" in refused.stdout
    (root / "task2" / "report.pdf").write_bytes(b"%PDF")
    (root / "task2" / "secret.pdf").symlink_to("/etc/hostname")
    monkeypatch.setitem(EVALUATION, 2023, frozenset(FAN))
    meta = root / "task2" / LABEL.format(1) / f"{LABEL.format(1)}.meta.yaml"
    text = meta.read_text().replace("total_parameters: !!null", "total_parameters: 0")
    meta.write_text(text.replace(": !!null", ": stated"))
    done = run("submission", root, store.path, "--zip")
    assert done.exit_code == 0, done.output
    assert f"{LABEL.format(1)}: follows the rules" in done.stdout
    inside = root / "task2" / LABEL.format(1)
    monkeypatch.chdir(inside.parent)
    (root / "Miller_EU_task2.zip").unlink()
    assert run("submission", inside.name, store.path, "--zip").exit_code == 0
    monkeypatch.chdir(inside)
    assert f"{inside.name}: follows the rules" in run("submission", ".", store.path).stdout
    with zipfile.ZipFile(root / "Miller_EU_task2.zip") as packed:
        assert packed.read("task2/report.pdf") == b"%PDF"
        assert "task2/secret.pdf" not in packed.namelist()
        assert packed.read(f"task2/{LABEL.format(1)}/{meta.name}") == meta.read_bytes()


FAN = {("fan", "00"), ("fan", "01")}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--label", "Miller"), "expected Lastname_Institute_task2_N"),
        (("--label", "M\u00fcller_EU_task2_1"), "without accents"),
        (("--label", "../x_task2_1"), "expected Lastname_Institute_task2_N"),
    ],
)
def test_labels_are_refused_before_anything_is_computed(
    store: FeatureStore, tmp_path: Path, options: tuple[str, ...], message: str
) -> None:
    refused = submitted(store, tmp_path / "out", *options)
    assert refused.exit_code == 2
    assert message in refused.stderr
    assert not (tmp_path / "out").exists()


def test_authors_are_read_before_anything_is_computed(store: FeatureStore, tmp_path: Path) -> None:
    (tmp_path / "authors.toml").write_text("[[authors]]\nname = 'Ada'\n")
    refused = submitted(store, tmp_path / "out", "--authors", tmp_path / "authors.toml")
    assert refused.exit_code == 1
    assert "authors.toml: unknown field of authors[0]: 'name'" in refused.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("option", [("--label", "Miller_EU_task2_1"), ("--authors", "."), ("--fill-missing",)])
def test_options_of_a_submission_need_one(store: FeatureStore, tmp_path: Path, option: tuple[str, ...]) -> None:
    refused = run(store.path, "-d", "knn", "-e", "emb@good", "-o", tmp_path / "out", *option)
    assert refused.exit_code == 2
    assert f"{option[0]} is about a submission; give --format dcase with it" in refused.stderr


def test_a_folder_without_a_system_is_refused(store: FeatureStore, tmp_path: Path) -> None:
    refused = run("submission", tmp_path, store.path)
    assert refused.exit_code == 1
    assert "no system of a submission" in refused.stderr
