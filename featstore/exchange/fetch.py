"""Files over HTTP, and out of zip archives, carefully: resumed, checked, whole or not there, never outside a folder."""

import hashlib
import http.client
import re
import stat
import time
import urllib.error
import urllib.request
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from featstore.disk.files import free_bytes
from featstore.errors import DataError, ResourceError

CHUNK_BYTES = 1 << 20
RESERVE_BYTES = 64 << 20
TIMEOUT_S = 60.0
FAILURES = 5  # in a row without a new byte
GONE = {400, 401, 403, 404, 410}  # asking again would not help


@dataclass(frozen=True)
class Remote:
    """A file to fetch: its size in bytes and md5 (hex) are what its publisher states."""

    url: str
    size: int
    md5: str


Report = Callable[[int, int], None]
"""Bytes there, bytes in all."""


def fetch(remote: Remote, target: Path, report: Report = lambda done, total: None, *, pause_s: float = 2.0) -> None:
    """Bring a file to `target`, going on where an earlier try stopped.

    Bytes gather in TARGET.part; the name appears when size and md5 are right. A file that is already there is checked
    and never touched. Raises ResourceError before the disk would be full, DataError for everything the far side does.
    """
    if not remote.url.startswith(("https://", "http://")):
        raise DataError(f"{remote.url}: expected an http or https address")
    if target.exists():
        if target.stat().st_size != remote.size or md5_of(target) != remote.md5:
            raise DataError(f"{target}: is there with other content than {remote.url}; move it away to fetch it anew")
        return report(remote.size, remote.size)
    part = target.with_name(target.name + ".part")
    have = part.stat().st_size if part.exists() else 0
    refuse_full(target.parent, remote.size - have, target.name)
    target.parent.mkdir(parents=True, exist_ok=True)
    for fresh in (have == 0, True):
        _gather(remote, part, report, pause_s)
        if md5_of(part) == remote.md5:
            part.replace(target)
            return None
        part.unlink()
        if fresh:  # else what an earlier try left was wrong: once more from the start
            break
    raise DataError(f"{remote.url}: {remote.size:,} bytes came, but their md5 is not {remote.md5}; try again later")


def _gather(remote: Remote, part: Path, report: Report, pause_s: float) -> None:
    """Append to `part` until it has the stated size, asking again after every break."""
    failures = 0
    while (have := part.stat().st_size if part.exists() else 0) != remote.size:
        if have > remote.size:
            part.unlink()
            continue
        try:
            _receive(remote, part, have, report)
            reason = "the connection closed early"
        except urllib.error.HTTPError as error:
            if error.code in GONE:
                raise DataError(f"{remote.url}: HTTP {error.code} {error.reason}") from error
            reason = f"HTTP {error.code} {error.reason}"
        except (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError) as error:
            reason = str(error)
        grown = (part.stat().st_size if part.exists() else 0) > have
        failures = 0 if grown else failures + 1
        if failures >= FAILURES:
            raise DataError(f"{remote.url}: {reason}, {FAILURES} times in a row; run the same command to go on")
        if failures:
            time.sleep(pause_s * 2 ** (failures - 1))


def _receive(remote: Remote, part: Path, have: int, report: Report) -> None:
    """One request for what is missing; DataError when the server states, or sends, another size."""
    request = urllib.request.Request(remote.url, headers={"Range": f"bytes={have}-"} if have else {})
    with urllib.request.urlopen(request, timeout=TIMEOUT_S) as response:
        resumed = response.status == http.HTTPStatus.PARTIAL_CONTENT
        start = have if resumed else 0
        stated = _stated_size(response, start)
        if stated not in (None, remote.size):
            raise DataError(f"{remote.url}: expected {remote.size:,} bytes, the server offers {stated:,}")
        with part.open("r+b" if part.exists() else "wb") as file:
            file.truncate(start)
            file.seek(start)
            done = start
            while chunk := response.read(CHUNK_BYTES):
                done += len(chunk)
                if done > remote.size:
                    raise DataError(f"{remote.url}: sends more than the stated {remote.size:,} bytes; stopped")
                file.write(chunk)
                report(done, remote.size)


def _stated_size(response: Any, start: int) -> int | None:
    """Size of the whole file by the response's headers; DataError for a part that was not asked for."""
    span = response.headers.get("Content-Range")
    if response.status == http.HTTPStatus.PARTIAL_CONTENT:
        match = re.fullmatch(r"bytes (\d+)-\d+/(\d+)", span or "")
        if match is None or int(match[1]) != start:
            raise DataError(f"{response.url}: asked for bytes from {start}, got Content-Range {span!r}")
        return int(match[2])
    length = response.headers.get("Content-Length") or ""
    return int(length) if length.isdecimal() else None


def refuse_full(folder: Path, needed: int, what: str) -> None:
    """ResourceError if `needed` bytes and a reserve do not fit."""
    free = free_bytes(folder)
    if needed + RESERVE_BYTES > free:
        raise ResourceError(f"{folder}: {what} needs {needed:,} bytes and {free:,} are free; make room and try again")


def md5_of(path: Path) -> str:
    """Hex md5 of a file: what Zenodo publishes; it guards against accidents, not against forgers."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def unpack(archive: Path, folder: Path) -> int:
    """Unpack a zip below `folder`; the number of files in it.

    Every name is checked before the first byte is written: DataError for one that would lie outside `folder`, for
    links, and for a file that is already there with other content. Files appear whole; what is there already is kept.
    """
    try:
        with zipfile.ZipFile(archive) as source:
            members = [member for member in source.infolist() if not member.filename.endswith("/")]
            targets = [_inside(folder, member, archive) for member in members]
            missing = [pair for pair in zip(members, targets, strict=True) if not _is_there(*pair)]
            refuse_full(folder, sum(member.file_size for member, _ in missing), f"unpacking {archive.name}")
            for member, target in missing:
                _extract(source, member, target)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        # RuntimeError is how zipfile refuses what is encrypted
        raise DataError(f"{archive}: not a sound zip file ({error}); delete it and fetch it again") from error
    return len(members)


def _inside(folder: Path, member: zipfile.ZipInfo, archive: Path) -> Path:
    name = PurePosixPath(member.orig_filename)
    odd = not name.name or name.is_absolute() or ".." in name.parts or re.search(r"[\\:\0]", member.orig_filename)
    target = folder / name
    # The second test sees links that lie in the folder already.
    if odd or not target.resolve().is_relative_to(folder.resolve()):
        raise DataError(f"{archive}: {member.orig_filename!r} would lie outside {folder}; nothing was unpacked")
    if stat.S_ISLNK(member.external_attr >> 16):
        raise DataError(f"{archive}: {member.orig_filename!r} is a link; nothing was unpacked")
    return target


def _is_there(member: zipfile.ZipInfo, target: Path) -> bool:
    if not target.exists():
        return False
    if not target.is_file() or target.stat().st_size != member.file_size or _crc32(target) != member.CRC:
        raise DataError(f"{target}: is there with other content than in the archive; move it away and try again")
    return True


def _crc32(path: Path) -> int:
    crc = 0
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            crc = zlib.crc32(chunk, crc)
    return crc


def _extract(source: zipfile.ZipFile, member: zipfile.ZipInfo, target: Path) -> None:
    """Write one member under a temporary name, no further than its stated size, then rename."""
    # Without fsync, unlike `replacing`: there are thousands of members, and the next run checks each by its CRC.
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(target.name + ".part")
    with source.open(member) as packed, part.open("wb") as file:
        while chunk := packed.read(CHUNK_BYTES):
            file.write(chunk)
        if file.tell() != member.file_size:
            raise zipfile.BadZipFile(f"{member.filename!r} holds {file.tell():,} bytes, not {member.file_size:,}")
    part.replace(target)
