"""The Clip record: one recording, or one generated variant of it, with its metadata."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal, get_args

from featstore.errors import DataError

Split = Literal["train", "test", "supplemental"]
Domain = Literal["source", "target", "unknown"]
Label = Literal["normal", "anomaly", "unknown"]

SPLITS: tuple[str, ...] = get_args(Split)
DOMAINS: tuple[str, ...] = get_args(Domain)
LABELS: tuple[str, ...] = get_args(Label)

VARIANT_MARK = "::"
"""Separates path and variant in a key; layouts reject paths that contain it."""


def key_of(path: str, variant: str) -> str:
    """The key of a recording, or of one of its generated variants."""
    return f"{path}{VARIANT_MARK}{variant}" if variant else path


def checked_path(path: str) -> str:
    """`path` itself; DataError where it contains VARIANT_MARK."""
    if VARIANT_MARK in path:
        raise DataError(f"{path!r}: {VARIANT_MARK!r} marks generated variants; rename the file or folder")
    return path


@dataclass(frozen=True, slots=True)
class Clip:
    """One recording.

    path: relative to the data root, with forward slashes. section: text ("00", "id_02"), because datasets number their
    sections differently. variant: empty for the recording itself, otherwise name, severity and seed of a generated
    anomaly.
    """

    path: str
    machine: str
    section: str
    split: Split
    domain: Domain = "unknown"
    label: Label = "unknown"
    attributes: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    variant: str = ""

    @property
    def key(self) -> str:
        """Path and variant; the same in every build, unique in one embedding of a store."""
        return key_of(self.path, self.variant)


def path_tail(key: str, machine: str = "") -> str:
    """The end of a clip's key for a table on the terminal: three parts, or more so that it names the machine."""
    parts = key.split("/")
    named = len(parts) - parts.index(machine) if machine in parts else 0
    return "/".join(parts[-max(3, named) :])
