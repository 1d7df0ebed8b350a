"""Texts that no store can hold are refused by the list, with the clip, and not by a unit of the build."""

import json
from pathlib import Path

import numpy as np
import pytest
from fakes import write_clip

from featstore.clip import MAX_TEXT_BYTES
from featstore.errors import DataError
from featstore.exchange.embeddings import import_files
from featstore.layouts.recognise import find_clips


def listed(folder: Path, size: int) -> Path:
    """A list of two recordings; the attributes of the second have `size` bytes as JSON."""
    for name in ("a", "b"):
        write_clip(folder, f"{name}.wav", 1)
    rest = "x" * (size - len(json.dumps({"note": ""})))
    (folder / "list.csv").write_text(f"path,attr_note\na.wav,\nb.wav,{rest}\n")
    return folder / "list.csv"


def test_the_longest_attributes_are_read(tmp_path: Path) -> None:
    assert len(find_clips(listed(tmp_path, MAX_TEXT_BYTES)).clips) == 2


def test_longer_attributes_name_the_clip_and_the_limit(tmp_path: Path) -> None:
    file = listed(tmp_path, MAX_TEXT_BYTES + 1)
    words = r"b\.wav: attributes as JSON of 65,537 bytes; a store holds at most 65,536"
    with pytest.raises(DataError, match=words):
        find_clips(file)
    np.save(tmp_path / "x.npy", np.eye(2, dtype=np.float32))
    with pytest.raises(DataError, match=words):
        import_files(tmp_path / "store", [tmp_path / "x.npy"], "mine", manifest=file)
