"""Plain files, done carefully: bounded reads that follow no link, and writes that appear whole or not at all."""

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
SPARE_BYTES = 1 << 20
"""Room left for manifests and directories when free space is checked before a write."""

_NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS)
# Non-blocking, so that a pipe planted under a known name cannot hang the reader; the flags are absent on Windows.
_READ_FLAGS = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
_CREATE_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)


def read_regular(path: Path, limit: int) -> bytes:
    """Content of a regular file of at most `limit` bytes.

    A link, pipe, device or longer file is a StoreError before anything is read; a missing file stays a
    FileNotFoundError, because only the caller knows what that means.
    """
    with _regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        if size > limit:
            raise StoreError(f"{path} has {size} bytes, a valid one at most {limit}")
        return file.read(size)


def read_part(path: Path, offset: int, size: int) -> bytes:
    """`size` bytes of a regular file from `offset` on (fewer where it ends), under the rules of `read_regular`."""
    with _regular(path) as file:
        file.seek(offset)
        return file.read(size)


@contextmanager
def _regular(path: Path) -> Iterator[BinaryIO]:
    """A regular file opened without following links."""
    try:
        with os.fdopen(os.open(path, _READ_FLAGS), "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise StoreError(f"{path} is not a regular file; the store is damaged or hostile")
            yield file
    except FileNotFoundError:
        raise
    except OSError as error:
        reason = "it is a symbolic link" if error.errno == errno.ELOOP else error.strerror
        raise StoreError(f"cannot read {path}: {reason}") from error


@contextmanager
def explained(what: str, needed: int, directory: Path) -> Iterator[None]:
    """Turn an OSError of the block into a ResourceError (no space) or a StoreError that names `what`."""
    try:
        yield
    except OSError as error:
        if error.errno in _NO_SPACE:
            raise no_space(what, needed, directory) from error
        raise StoreError(f"cannot write {what}: {error.strerror or error}") from error


def no_space(what: str, needed: int, directory: Path) -> ResourceError:
    """The error that names the bytes needed and the bytes there are."""
    return ResourceError(
        f"no space for {what}: needs {needed} bytes, {_free_bytes(directory)} are free in {directory}; "
        "free some space and run the same command again, nothing committed is lost"
    )


def check_space(what: str, needed: int, directory: Path) -> None:
    """Refuse a write that cannot fit before its first byte."""
    free = _free_bytes(directory)
    if free is not None and free < needed + SPARE_BYTES:
        raise no_space(what, needed + SPARE_BYTES, directory)


def _free_bytes(directory: Path) -> int | None:
    with suppress(OSError):
        return shutil.disk_usage(directory).free
    return None


def write_new(path: Path, data: bytes) -> None:
    """Write `path` durably under a temporary name, then rename it; no trace is left when any step fails."""
    temporary = _write_temporary(path, data)
    try:
        os.replace(temporary, path)  # noqa: PTH105
    except BaseException:
        _discard(temporary)
        raise
    sync_directory(path.parent)


def write_exclusive(path: Path, data: bytes) -> None:
    """Write `path` durably, appearing at once and whole; FileExistsError when it is already there."""
    temporary = _write_temporary(path, data)
    try:
        os.link(temporary, path)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        # A file system without hard links: exclusive still, and a torn manifest is skipped by its checksum.
        _write_bytes(path, data)
    finally:
        _discard(temporary)
    sync_directory(path.parent)


def link_new(source: Path, path: Path, size: int) -> None:
    """Give the regular file `source` (of `size` bytes) the second name `path`; FileExistsError when it is taken.

    Durable after `sync_directory`, once for many.
    """
    try:
        os.link(source, path, follow_symlinks=False)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        write_new(path, read_regular(source, size))  # a file system without hard links


def sync_directory(directory: Path) -> None:
    """Make the names in `directory` durable."""
    if os.name == "nt":
        return
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write_temporary(path: Path, data: bytes) -> Path:
    temporary = path.with_name(f"{path.name}.{secrets.token_hex(4)}{TEMPORARY_SUFFIX}")
    _write_bytes(temporary, data)
    return temporary


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
