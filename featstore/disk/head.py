"""The head record: which manifest was published last, so that a missing one is noticed."""

from dataclasses import dataclass
from pathlib import Path

from featstore.disk.files import read_regular, write_checked
from featstore.disk.manifest import SHA256, Manifest
from featstore.disk.sealed import canonical, count, matching, seal, unseal
from featstore.errors import StoreError

FILE = "head.json"
FORMAT = "featstore-head"
VERSION = 1
MAX_BYTES = 4096


@dataclass(frozen=True)
class Head:
    """Number and checksum of the manifest that was published last."""

    number: int
    manifest: str


def read_head(root: Path) -> Head | None:
    """The head record of the store at `root`, None where it has none; StoreError when it is damaged."""
    path = root / FILE
    try:
        raw = unseal(read_regular(path, MAX_BYTES))
        if raw["format"] != FORMAT or raw["version"] != VERSION:
            raise ValueError(f"it is {raw['format']!r:.40} version {raw['version']!r:.20}, expected version {VERSION}")
        return Head(count(raw, "number"), matching(raw, "manifest", SHA256))
    except FileNotFoundError:
        return None
    except (ValueError, KeyError) as error:
        raise StoreError(f"{path} is damaged: {error}") from error


def write_head(root: Path, manifest: Manifest) -> None:
    """Record durably that `manifest` was published."""
    raw = {"format": FORMAT, "version": VERSION, "number": manifest.number, "manifest": manifest.checksum}
    write_checked(root / FILE, canonical(seal(raw)))
