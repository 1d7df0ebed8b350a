"""The commands in the table of the page on imports run, and all give the same clips and vectors."""

import re
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

pytest.importorskip("pyarrow")
pytest.importorskip("torch")
pytest.importorskip("datasets")
from foreign_files import CLIPS, WINDOWS, X, write_all

from featstore.cli import main
from featstore.store import FeatureStore

PAGE = Path(__file__).parents[4] / "docs" / "howto" / "import.md"
PAGE_TEXT = PAGE.read_text(encoding="utf-8")
REFUSALS = re.findall(r"^\$ featstore (import store .*)\n(?:(?!error).*\n)?error: (.*)$", PAGE_TEXT, re.MULTILINE)
COMMANDS = re.findall(r"\| `featstore (import store .*?)` \|$", PAGE_TEXT, re.MULTILINE)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("files")
    write_all(folder)
    return folder


@pytest.fixture
def inside(files: Path, monkeypatch: pytest.MonkeyPatch, unsynced: None) -> Path:
    monkeypatch.chdir(files)
    return files


def test_the_page_has_a_command_for_every_kind() -> None:
    assert len(COMMANDS) == 15


@pytest.mark.parametrize("number", range(15))
def test_every_command_of_the_page_imports_the_same_rows(inside: Path, tmp_path: Path, number: int) -> None:
    words = COMMANDS[number].replace("import store", f"import {tmp_path / 'store'}").split()
    result = CliRunner().invoke(main, words, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    store = FeatureStore.open(tmp_path / "store")
    found = dict(zip(store.clips("mine").keys(), store.matrix("mine"), strict=True))
    whole = {clip.path: vector for clip, vector in zip(CLIPS, X, strict=True)}
    parts = {
        f"{path}#t={start:g},{end:g}": vector + shift
        for path, vector in whole.items()
        for shift, (start, end) in enumerate(WINDOWS)
    }
    expected = whole if len(found) == len(whole) else parts
    assert set(found) == set(expected)
    for key, vector in expected.items():
        np.testing.assert_allclose(found[key], vector, rtol=1e-3)
    places = {(clip.recording, clip.machine, clip.section, clip.split, clip.label) for clip in store.clips("mine")}
    assert places == {(clip.path, clip.machine, clip.section, clip.split, clip.label) for clip in CLIPS}


def test_the_refusals_of_the_page_say_what_is_shown(inside: Path, tmp_path: Path) -> None:
    import pyarrow as pa
    from pyarrow.parquet import write_table

    vectors, paths = X.tolist(), [clip.path for clip in CLIPS]
    write_table(pa.table({"path": paths, "vector": vectors, "other": vectors}), "two.parquet")
    write_table(pa.table({"path": [*paths[:3], paths[0], *paths[4:]], "vector": vectors}), "twice.parquet")
    write_table(pa.table({"path": paths, "vector": [*vectors[:5], [1.0, None, 1, 1], *vectors[6:]]}), "nan.parquet")
    assert len(REFUSALS) == 3
    for command, shown in REFUSALS:
        words = command.replace("import store", f"import {tmp_path / 'store'}").split()
        as_here = re.sub("'dev_data.*?'", repr(paths[0]), shown)
        result = CliRunner().invoke(main, words)
        assert result.exit_code == 1
        assert f"error: {as_here}\n" in result.output
