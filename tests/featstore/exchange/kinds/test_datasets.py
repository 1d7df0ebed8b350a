"""Folders of Hugging Face: any data set with vectors, its splits, and folders that were changed to do harm."""

import json
from pathlib import Path

import numpy as np
import pytest

from featstore.errors import DataError
from featstore.exchange.kinds import table
from featstore.exchange.kinds.content import Source

datasets = pytest.importorskip("datasets")
pa = pytest.importorskip("pyarrow")
pytestmark = pytest.mark.usefixtures("unsynced")

X = np.arange(6, dtype=np.float32).reshape(2, 3)
ROWS = {"path": ["fan/a.wav", "fan/b.wav"], "vector": X.tolist()}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    datasets.Dataset.from_dict(ROWS).save_to_disk(tmp_path / "rows")
    return tmp_path / "rows"


def test_any_data_set_with_vectors(folder, importing):
    store = importing(folder)
    assert (store.clips("e").keys(), store.matrix("e").tolist()) == (ROWS["path"], X.tolist())


def test_the_splits_of_a_data_set_are_one_embedding(tmp_path, importing):
    rows = datasets.Dataset.from_dict(ROWS)
    datasets.DatasetDict(train=rows.select([1]), test=rows.select([0])).save_to_disk(tmp_path / "rows")
    assert importing(tmp_path / "rows").clips("e").keys() == ["fan/a.wav", "fan/b.wav"]


def test_views_are_lists_of_lists(tmp_path, importing):
    datasets.Dataset.from_dict({"path": ["a.wav"], "v": X.reshape(1, 3, 2).tolist()}).save_to_disk(tmp_path / "rows")
    assert importing(tmp_path / "rows").info("e").shape == (3, 2)


@pytest.mark.parametrize("name", ["../secret.arrow", "link.arrow", "absent.arrow", 3, "/etc/passwd"])
def test_only_files_of_the_folder_are_read(folder, importing, name):
    (folder / "link.arrow").symlink_to(next(folder.glob("data-*.arrow")))
    (folder / "state.json").write_text(json.dumps({"_data_files": [{"filename": name}]}))
    with pytest.raises(DataError, match=r"state\.json: expected the name of a file in its folder, got"):
        importing(folder)


@pytest.mark.parametrize("state", ["", "[]", "{}", '{"_data_files": 3}', '{"_data_files": []}', "[" * 100_000])
def test_a_damaged_state_is_an_error(folder, importing, state):
    (folder / "state.json").write_text(state)
    with pytest.raises(DataError, match=r"state\.json: "):
        importing(folder)


def test_compressed_batches_are_refused_before_they_expand(folder, importing):
    batch = pa.table({"path": ROWS["path"] * 500, "vector": X.tolist() * 500})
    path = next(folder.glob("data-*.arrow"))
    with pa.ipc.new_stream(path, batch.schema, options=pa.ipc.IpcWriteOptions(compression="zstd")) as writer:
        writer.write_table(batch)
    with pytest.raises(DataError, match=r"data-00000-of-00001.arrow: compressed; save the data set again"):
        importing(folder)


def test_damaged_bytes_are_read_or_refused(folder):
    path = next(folder.glob("data-*.arrow"))
    whole, refused = path.read_bytes(), 0
    for seed in range(60):
        rng, content = np.random.default_rng(seed), bytearray(whole)
        for place in rng.integers(len(content), size=rng.choice([1, 2, 8])):
            content[place] = rng.choice([0, 255, 127, content[place] ^ 1])
        path.write_bytes(content[: rng.integers(1, len(content))] if rng.random() < 0.1 else content)
        try:
            table.read_content(Source(folder / "state.json", None, folder, folder))
        except DataError:
            refused += 1
    assert 0 < refused <= 60
