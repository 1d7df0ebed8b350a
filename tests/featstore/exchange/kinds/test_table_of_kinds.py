"""Every kind of file has a reader; every other one is refused with the accepted ones."""

import os
from importlib import import_module
from pathlib import Path

import h5py
import numpy as np
import pytest
from safetensors.numpy import save_file

from featstore.errors import DataError
from featstore.exchange.kinds import table
from featstore.exchange.kinds.content import Source

pytestmark = pytest.mark.usefixtures("unsynced")
PAGE = Path(__file__).parents[4] / "docs" / "howto" / "import.md"


@pytest.mark.parametrize("kind", table.KINDS, ids=lambda kind: kind.suffixes[0])
def test_every_kind_has_a_reader_and_a_row_in_the_page(kind):
    module, _, name = kind.reader.partition(":")
    assert callable(getattr(import_module(f"featstore.exchange.kinds.{module}"), name))
    text = PAGE.read_text(encoding="utf-8")
    assert all(f"`{suffix}`" in text for suffix in kind.suffixes)


@pytest.mark.parametrize("with_manifest", [True, False])
@pytest.mark.parametrize("suffix", [*table.REFUSED, ".xyz", "", ".PKL"])
def test_other_kinds_name_the_accepted_ones(tmp_path, importing, manifest, suffix, with_manifest):
    (tmp_path / f"e{suffix}").write_bytes(b"x")
    with pytest.raises(DataError, match=r"accepted: \.npy, \.npz, \.parquet, .*np\.save\(path, array\)") as caught:
        importing(tmp_path / f"e{suffix}", manifest=manifest if with_manifest else None)
    assert table.REFUSED.get(suffix.lower(), "this is of no known kind") in str(caught.value)


def test_a_pipe_is_not_opened(tmp_path, importing):
    os.mkfifo(tmp_path / "x.npz")
    with pytest.raises(DataError, match="not a regular file; expected"):
        importing(tmp_path / "x.npz")


def test_a_folder_is_of_one_kind(tmp_path, importing):
    with pytest.raises(
        DataError, match=r"no \*_extract\.npz or \*\.birdnet\.embeddings\.txt below .*no hoplite\.sqlite"
    ):
        importing(tmp_path)
    (tmp_path / "a_extract.npz").touch()
    (tmp_path / "a.birdnet.embeddings.txt").touch()
    with pytest.raises(DataError, match=r"both \*_extract\.npz \(extracts of ASDKit\) and .* import them one by one"):
        importing(tmp_path)


def damaged(whole: bytes, seed: int) -> bytes:
    """The content of a file with some bytes changed, or cut short."""
    rng = np.random.default_rng(seed)
    content = bytearray(whole)
    for place in rng.integers(len(content), size=rng.choice([1, 2, 8])):
        content[place] = rng.choice([0, 255, 127, content[place] ^ 1])
    return bytes(content[: rng.integers(1, len(content))] if rng.random() < 0.1 else content)


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".parquet", ".csv", ".h5", ".safetensors", ".pt"])
@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_damaged_bytes_are_read_or_refused(tmp_path, suffix):
    path = tmp_path / f"x{suffix}"
    write(path)
    whole = path.read_bytes()
    refused = 0
    for seed in range(60):
        path.write_bytes(damaged(whole, seed))
        try:
            table.read_content(Source(path, None, tmp_path, tmp_path))
        except DataError as error:
            refused += path.name in str(error)
    assert 0 < refused <= 60


def write(path: Path) -> None:
    """Twenty vectors with their paths in the format of the suffix."""
    rows = np.random.default_rng(0).normal(size=(20, 8)).astype(np.float32)
    paths = [f"fan/{number}.wav" for number in range(20)]
    if path.suffix in (".npy", ".npz"):
        np.save(path, rows) if path.suffix == ".npy" else np.savez(path, e=rows, path=paths)
    elif path.suffix == ".parquet":
        parquet = pytest.importorskip("pyarrow.parquet")
        pa = pytest.importorskip("pyarrow")
        parquet.write_table(pa.table({"path": paths, "v": rows.tolist()}), path)
    elif path.suffix == ".csv":
        lines = [",".join(["path", *(f"e{i}" for i in range(8))])]
        lines += [",".join([name, *map(str, row)]) for name, row in zip(paths, rows.tolist(), strict=True)]
        path.write_text("\n".join(lines))
    elif path.suffix == ".h5":
        with h5py.File(path, "w") as file:
            file.create_dataset("e", data=rows, compression="gzip")
            file["path"] = paths
    elif path.suffix == ".safetensors":
        save_file({"e": rows}, path)
    else:
        torch = pytest.importorskip("torch")
        torch.save({"e": torch.tensor(rows), "path": paths}, path)
