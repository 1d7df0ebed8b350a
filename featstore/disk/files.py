"""Safe file access: size-limited reads that follow no link, and writes that appear whole or not at all."""

import errno
import os
import secrets
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from featstore.errors import ResourceError, StoreError

TEMPORARY_SUFFIX = ".tmp"
ASIDE_SUFFIX = ".aside"
"""End of the name of a shard that a writer takes for a leftover, until it has looked again."""
SPARE_BYTES = 1 << 20
"""Space that a write leaves free for manifests and directories."""

_NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS)
# Non-blocking: opening a named pipe must not hang the reader. Windows lacks some of these flags.
_READ_FLAGS = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
_CREATE_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)


def read_regular(path: Path, limit: int) -> bytes:
    """Content of a regular file of at most `limit` bytes.

    Raises StoreError for a link, pipe, device or longer file, before anything is read. A missing file raises
    FileNotFoundError, because its meaning depends on the caller.
    """
    with _open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        if size > limit:
            raise StoreError(f"{path} has {size} bytes; the limit is {limit}")
        return file.read(size)


def read_part(path: Path, offset: int, size: int) -> bytes:
    """`size` bytes of a regular file from `offset` (fewer at its end); raises the errors of `read_regular`."""
    with _open_regular(path) as file:
        file.seek(offset)
        return file.read(size)


@contextmanager
def _open_regular(path: Path) -> Iterator[BinaryIO]:
    """Open a regular file without following links."""
    try:
        with os.fdopen(os.open(path, _READ_FLAGS), "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise StoreError(f"{path} is not a regular file; the store is damaged or was tampered with")
            yield file
    except FileNotFoundError:
        raise
    except OSError as error:
        reason = "it is a symbolic link" if error.errno == errno.ELOOP else error.strerror
        raise StoreError(f"cannot read {path}: {reason}") from error


@contextmanager
def explained(what: str, needed: int, directory: Path) -> Iterator[None]:
    """Turn an OSError of the block into a ResourceError (disk full) or a StoreError that names `what`."""
    try:
        yield
    except OSError as error:
        if error.errno in _NO_SPACE:
            raise no_space(what, needed, directory, f" ({error.strerror})") from error
        raise StoreError(f"cannot write {what}: {error.strerror or error}") from error


def free_bytes(path: Path) -> int:
    """Free space of the file system of `path`, or of its nearest existing parent while `path` does not exist."""
    return shutil.disk_usage(_existing(path)).free


def is_full(path: Path, needed: int) -> bool:
    """Whether `needed` bytes do not fit into the folder `path`.

    False where nothing may be written: a file system that is mounted read-only has no free space either, and the write
    says why it fails.
    """
    return free_bytes(path) < needed and os.access(_existing(path), os.W_OK)


def _existing(path: Path) -> Path:
    while not path.exists():
        path = path.parent
    return path


def no_space(what: str, needed: int, directory: Path, reason: str = "") -> ResourceError:
    """The error for a full disk or a size limit, with the bytes needed and the bytes free."""
    free = "an unknown number"
    with suppress(OSError):
        free = str(free_bytes(directory))
    return ResourceError(
        f"no space for {what}{reason}: needs {needed} bytes, {free} are free in {directory}; "
        "free some space and run the same command again, committed data is safe"
    )


def check_space(what: str, needed: int, directory: Path) -> None:
    """Raise ResourceError when a write of `needed` bytes does not fit, before its first byte."""
    with suppress(OSError):  # free space unknown: try the write
        if is_full(directory, needed + SPARE_BYTES):
            raise no_space(what, needed + SPARE_BYTES, directory)


def write_checked(path: Path, data: bytes) -> None:
    """`write_new` with a check of the free space first, and every OSError explained."""
    check_space(path.name, len(data), path.parent)
    with explained(str(path), len(data), path.parent):
        write_new(path, data)


def write_new(path: Path, data: bytes) -> None:
    """Write or replace `path` durably: it appears whole, or is left as it was."""
    with _renamed(path) as temporary:
        _write_bytes(temporary, data)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """`write_new` for a block that writes the file itself, under the temporary path that it receives."""
    with _renamed(path) as temporary:
        yield temporary
        with temporary.open("r+b") as file:
            os.fsync(file.fileno())


@contextmanager
def _renamed(path: Path) -> Iterator[Path]:
    """Rename the temporary file that the block writes and syncs; remove it when any step fails."""
    temporary = _temporary(path)
    try:
        with _naming(path, temporary):
            yield temporary
            os.replace(temporary, path)  # noqa: PTH105
    except BaseException:
        _discard(temporary)
        raise
    sync_directory(path.parent)


@contextmanager
def _naming(path: Path, temporary: Path) -> Iterator[None]:
    """Errors of the block about the temporary file name the file that was to be written."""
    try:
        yield
    except OSError as error:
        unnamed = error.filename is None and error.errno is not None  # writing to an open file names none
        if unnamed or str(error.filename) == str(temporary):
            error.filename = str(path)
            error.filename2 = None
        raise


def create_checked(path: Path, data: bytes) -> None:
    """Create `path` in place, durably, with a check of the free space first; StoreError when it exists already.

    A crash may leave a part of it, so use it only for files that count when another file names them.
    """
    check_space(path.name, len(data), path.parent)
    with explained(str(path), len(data), path.parent):
        try:
            _write_bytes(path, data)
        except FileExistsError as error:
            raise StoreError(f"{path} was written by another process meanwhile; run the command again") from error
        try:
            sync_directory(path.parent)
        except BaseException:
            _discard(path)
            raise


def write_exclusive(path: Path, data: bytes) -> None:
    """Create `path` durably; it appears whole. Raises FileExistsError when it exists already."""
    temporary = _temporary(path)
    with _naming(path, temporary):
        _write_bytes(temporary, data)
    try:
        with _naming(path, temporary):
            os.link(temporary, path)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        # Without hard links the file is written in place: still exclusive, and a checksum exposes a partial manifest.
        _write_bytes(path, data)
    finally:
        _discard(temporary)
    sync_directory(path.parent)


def link_new(source: Path, path: Path, size: int) -> None:
    """Give the regular file `source` (of `size` bytes) the second name `path`, without copying it.

    Durable after `sync_directory`, which one call does for many links. Raises FileExistsError when `path` exists.
    """
    try:
        os.link(source, path, follow_symlinks=False)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        write_new(path, read_regular(source, size))  # a file system without hard links


def make_folder(path: Path) -> None:
    """Create a folder and its missing parents durably."""
    if path.is_dir():
        return
    make_folder(path.parent)
    path.mkdir(exist_ok=True)
    sync_directory(path.parent)


def sync_directory(directory: Path) -> None:
    """Make the file names in `directory` durable."""
    if os.name == "nt":
        return
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _temporary(path: Path) -> Path:
    return path.with_name(f"{path.name}.{secrets.token_hex(4)}{TEMPORARY_SUFFIX}")


def _write_bytes(path: Path, data: bytes) -> None:
    descriptor = os.open(path, _CREATE_FLAGS, 0o666)
    try:
        try:
            rest = memoryview(data)
            while rest:
                rest = rest[os.write(descriptor, rest) :]
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except BaseException:
        _discard(path)
        raise


def _discard(path: Path) -> None:
    with suppress(OSError):
        path.unlink()
