"""Fetches files over HTTP (resumed, checked by size and checksum) and unpacks zip archives (only below one folder)."""

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

from featstore.disk.files import free_bytes, is_full
from featstore.errors import DataError, ResourceError

CHUNK_BYTES = 1 << 20
RESERVE_BYTES = 64 << 20
TIMEOUT_S = 60.0
FAILURES = 5  # failed requests in a row without a new byte
PERMANENT = {400, 401, 403, 404, 410}  # HTTP errors that a retry does not change


@dataclass(frozen=True)
class Remote:
    """A file to fetch, with its size in bytes and a checksum (hex): the publisher's md5, or a known sha256."""

    url: str
    size: int
    md5: str = ""
    sha256: str = ""

    @property
    def checksum(self) -> tuple[str, str]:
        """Algorithm and hex digest: sha256 where it is known."""
        return ("sha256", self.sha256) if self.sha256 else ("md5", self.md5)

    def is_in(self, path: Path) -> bool:
        """Whether a file has the checksum."""
        algorithm, expected = self.checksum
        return digest_of(path, algorithm) == expected


Report = Callable[[int, int], None]
"""(bytes received, bytes in all)"""


def fetch(remote: Remote, target: Path, report: Report = lambda done, total: None, *, pause_s: float = 2.0) -> None:
    """Download a file to `target`; resumes after an interruption.

    Bytes are written to TARGET.part, which is renamed when size and checksum are right. An existing `target` is checked
    and never changed. ResourceError where the disk is too small, DataError for every failure of server or connection.
    """
    if not remote.url.startswith(("https://", "http://")):
        raise DataError(f"{remote.url}: expected an http or https address")
    if target.exists():
        if target.stat().st_size != remote.size or not remote.is_in(target):
            raise DataError(f"{target}: exists with other content than {remote.url}; move it away to fetch the file")
        return report(remote.size, remote.size)
    part = target.with_name(target.name + ".part")
    received = part.stat().st_size if part.exists() else 0
    refuse_full(target.parent, remote.size - received, target.name)
    target.parent.mkdir(parents=True, exist_ok=True)
    for from_start in (received == 0, True):
        _receive_all(remote, part, report, pause_s)
        if remote.is_in(part):
            part.replace(target)
            return None
        part.unlink()
        if from_start:  # otherwise the bytes of an earlier try may be wrong: fetch once more from the start
            break
    checksum = " is not ".join(remote.checksum)
    raise DataError(f"{remote.url}: received {remote.size:,} bytes whose {checksum}; try again later")


def _receive_all(remote: Remote, part: Path, report: Report, pause_s: float) -> None:
    """Append to `part` until it has the stated size, with a new request after every interruption."""
    failures = 0
    while (received := part.stat().st_size if part.exists() else 0) != remote.size:
        if received > remote.size:
            part.unlink()
            continue
        try:
            _receive(remote, part, received, report)
            reason = "the connection closed early"
        except urllib.error.HTTPError as error:
            if error.code in PERMANENT:
                raise DataError(f"{remote.url}: HTTP {error.code} {error.reason}") from error
            reason = f"HTTP {error.code} {error.reason}"
        except (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError) as error:
            reason = str(error)
        grown = (part.stat().st_size if part.exists() else 0) > received
        failures = 0 if grown else failures + 1
        if failures >= FAILURES:
            raise DataError(f"{remote.url}: {reason}, {FAILURES} times in a row; run the same command again to resume")
        if failures:
            time.sleep(pause_s * 2 ** (failures - 1))


def _receive(remote: Remote, part: Path, received: int, report: Report) -> None:
    """One request for the missing bytes; DataError where the server states or sends another size."""
    request = urllib.request.Request(remote.url, headers={"Range": f"bytes={received}-"} if received else {})
    with urllib.request.urlopen(request, timeout=TIMEOUT_S) as response:
        resumed = response.status == http.HTTPStatus.PARTIAL_CONTENT
        start = received if resumed else 0
        stated = _stated_size(response, start)
        if stated not in (None, remote.size):
            raise DataError(
                f"{remote.url}: expected {remote.size:,} bytes, the server states {stated:,}; try again later"
            )
        with part.open("r+b" if part.exists() else "wb") as file:
            file.truncate(start)
            file.seek(start)
            done = start
            while chunk := response.read(CHUNK_BYTES):
                done += len(chunk)
                if done > remote.size:
                    raise DataError(
                        f"{remote.url}: expected {remote.size:,} bytes, the server sends more; try again later"
                    )
                file.write(chunk)
                report(done, remote.size)


def _stated_size(response: Any, start: int) -> int | None:
    """Size of the whole file by the headers of the response; DataError where it is another part than requested."""
    content_range = response.headers.get("Content-Range")
    if response.status == http.HTTPStatus.PARTIAL_CONTENT:
        match = re.fullmatch(r"bytes (\d+)-\d+/(\d+)", content_range or "")
        if match is None or int(match[1]) != start:
            raise DataError(f"{response.url}: requested bytes from {start}, got Content-Range {content_range!r}")
        return int(match[2])
    length = response.headers.get("Content-Length") or ""
    return int(length) if length.isdecimal() else None


def refuse_full(folder: Path, needed: int, what: str) -> None:
    """ResourceError if `needed` bytes and a reserve do not fit."""
    if is_full(folder, needed + RESERVE_BYTES):
        free = free_bytes(folder)
        raise ResourceError(f"{folder}: {what} needs {needed:,} bytes and {free:,} are free; make room and try again")


def digest_of(path: Path, algorithm: str) -> str:
    """Hex digest of a file. An md5, as Zenodo publishes it, detects transmission errors, not manipulated files."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.new(algorithm, usedforsecurity=False)).hexdigest()


def unpack(archive: Path, folder: Path) -> int:
    """Unpack a zip archive below `folder` and return the number of its files.

    All names are checked before the first byte is written: DataError for a name that leads outside `folder`, for a
    link, and for an existing file with other content. Existing files with the same content are kept.
    """
    try:
        with zipfile.ZipFile(archive) as source:
            members = [member for member in source.infolist() if not member.filename.endswith("/")]
            targets = [_inside(folder, member, archive) for member in members]
            missing = [pair for pair in zip(members, targets, strict=True) if not _is_unpacked(*pair)]
            refuse_full(folder, sum(member.file_size for member, _ in missing), f"unpacking {archive.name}")
            for member, target in missing:
                _extract(source, member, target)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        # zipfile raises RuntimeError for encrypted members
        raise DataError(f"{archive}: cannot be unpacked ({error}); delete it and fetch it again") from error
    return len(members)


def _inside(folder: Path, member: zipfile.ZipInfo, archive: Path) -> Path:
    name = PurePosixPath(member.orig_filename)
    unsafe = not name.name or name.is_absolute() or ".." in name.parts or re.search(r"[\\:\0]", member.orig_filename)
    target = folder / name
    # resolve() also follows links that are already in the folder
    if unsafe or not target.resolve().is_relative_to(folder.resolve()):
        raise DataError(f"{archive}: {member.orig_filename!r} leads outside {folder}; nothing was unpacked")
    if stat.S_ISLNK(member.external_attr >> 16):
        raise DataError(f"{archive}: {member.orig_filename!r} is a link; nothing was unpacked")
    return target


def _is_unpacked(member: zipfile.ZipInfo, target: Path) -> bool:
    if not target.exists():
        return False
    if not target.is_file() or target.stat().st_size != member.file_size or _crc32(target) != member.CRC:
        raise DataError(f"{target}: exists with other content than in the archive; move it away and try again")
    return True


def _crc32(path: Path) -> int:
    crc = 0
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            crc = zlib.crc32(chunk, crc)
    return crc


def _extract(source: zipfile.ZipFile, member: zipfile.ZipInfo, target: Path) -> None:
    """Write one member to a temporary name, at most its stated size, then rename it."""
    # Without fsync, unlike `replacing`: there are thousands of members, and the next run checks each by its CRC.
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(target.name + ".part")
    with source.open(member) as packed, part.open("wb") as file:
        while chunk := packed.read(CHUNK_BYTES):
            file.write(chunk)
        if file.tell() != member.file_size:
            raise zipfile.BadZipFile(f"{member.filename!r} holds {file.tell():,} bytes, not {member.file_size:,}")
    part.replace(target)
