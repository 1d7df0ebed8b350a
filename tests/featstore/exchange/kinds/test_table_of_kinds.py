"""Every kind of file has a reader; every other one is refused with the accepted ones."""

import os
from importlib import import_module
from pathlib import Path

import pytest

from featstore.errors import DataError
from featstore.exchange.kinds import table

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
