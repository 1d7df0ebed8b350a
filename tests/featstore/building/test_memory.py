import subprocess
import sys

import pytest

from featstore.building import memory

MAPPED = """
import ctypes, sys
from featstore.building.memory import keep_freed_memory

class Info(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in "arena ordblks smblks hblks hblkhd r s fordblks u keep".split()]

libc = ctypes.CDLL(None)
if not hasattr(libc, "mallinfo2"):
    sys.exit("no mallinfo2")
libc.mallinfo2.restype = Info
if sys.argv[1] == "keep":
    assert keep_freed_memory()
before = libc.mallinfo2().hblks
block = bytearray(64 << 20)
print(libc.mallinfo2().hblks - before)
del block
info = libc.mallinfo2()
print(int(info.arena > 64 << 20))
"""


def mapped_and_kept(mode: str) -> list[str]:
    """Number of blocks mapped separately, and whether a freed block stays in the process."""
    done = subprocess.run([sys.executable, "-c", MAPPED, mode], check=False, capture_output=True, text=True)
    if "no mallinfo2" in done.stderr:
        pytest.skip("needs glibc 2.33 or newer")
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@pytest.mark.skipif(sys.platform != "linux", reason="glibc")
def test_a_freed_block_stays_with_the_process():
    assert mapped_and_kept("plain") == ["1", "0"]
    assert mapped_and_kept("keep") == ["0", "1"]


class Other:
    """A C library other than glibc, without `mallopt`."""


@pytest.mark.parametrize("platform", ["linux", "darwin", "win32"])
def test_without_glibc_nothing_is_changed(monkeypatch, platform):
    monkeypatch.setattr(memory.sys, "platform", platform)
    monkeypatch.setattr(memory.ctypes, "CDLL", lambda name: Other())
    assert not memory.keep_freed_memory()
