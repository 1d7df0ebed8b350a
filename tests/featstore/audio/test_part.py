"""Views of files."""

import io
from pathlib import Path

import pytest

from featstore.audio.part import Part, in_memory, on_disk

CONTENT = bytes(range(100))


@pytest.mark.parametrize(
    ("where", "new"), [(0, b""), (10, b"ab"), (8, b"abcd"), (18, b"abcd"), (12, b"xyz"), (30, b"z")]
)
def test_a_part_is_a_file_of_its_own(where: int, new: bytes) -> None:
    expected = CONTENT[:where] + new + CONTENT[where + len(new) :]
    part = Part(io.BytesIO(CONTENT), 10, 20, (where, new))
    assert part.read() == expected[10:20]
    for offset in range(12):
        assert part.seek(offset) == part.tell() == offset
        assert part.read(3) == expected[10 + offset : min(13 + offset, 20)]
    assert part.seek(-4, io.SEEK_END) == 6
    assert part.seek(2, io.SEEK_CUR) == 8
    assert part.seek(-99, io.SEEK_CUR) == 0
    assert part.seekable()


def test_bytes_at_an_offset(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(CONTENT)
    with (tmp_path / "a").open("rb") as file:
        for at in (in_memory(CONTENT), on_disk(file, CONTENT[:10])):
            assert [at(0, 4), at(8, 4), at(98, 4), at(200, 4)] == [CONTENT[:4], CONTENT[8:12], CONTENT[98:], b""]
