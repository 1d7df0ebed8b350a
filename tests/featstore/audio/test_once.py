"""What was found out about a file is remembered until the file changes."""

from pathlib import Path

from featstore.audio import once as module
from featstore.audio.once import once


def test_a_file_is_examined_once_until_it_changes(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"1")
    for content, what, expected in ((b"1", "x", 1), (b"1", "x", 1), (b"1", "y", 2), (b"22", "x", 3), (b"22", "x", 3)):
        if (tmp_path / "a").read_bytes() != content:
            (tmp_path / "a").write_bytes(content)
        with (tmp_path / "a").open("rb", buffering=0) as file:
            assert once(file, what, lambda value=expected: value) == expected  # type: ignore[misc]
    with (tmp_path / "a").open("rb", buffering=0) as file:
        assert once(file, "x", lambda: 9) == 3
        for i in range(module.REMEMBERED):
            once(file, str(i), lambda: 0)
        assert once(file, "x", lambda: 9) == 9, "the oldest is forgotten"
