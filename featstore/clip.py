"""The Clip record: one recording (or one generated variant of it) and what its dataset says about it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal, get_args

Split = Literal["train", "test", "supplemental"]
Domain = Literal["source", "target", "unknown"]
Label = Literal["normal", "anomaly", "unknown"]

SPLITS: tuple[str, ...] = get_args(Split)
DOMAINS: tuple[str, ...] = get_args(Domain)
LABELS: tuple[str, ...] = get_args(Label)

VARIANT_MARK = "::"
"""Separates path and variant in a key; layouts refuse paths that contain it."""


@dataclass(frozen=True, slots=True)
class Clip:
    """One recording.

    `path` is relative to the data root with forward slashes. `section` is text ("00", "id_02"), because datasets
    number differently. `variant` is empty for the recording itself, else the name, severity and seed of a generated
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
        """Path and variant: stable over rebuilds and unique in a store."""
        return f"{self.path}{VARIANT_MARK}{self.variant}" if self.variant else self.path


def path_tail(key: str) -> str:
    """The last three parts of a clip's key: enough to recognise the clip in a table on the terminal."""
    return "/".join(key.split("/")[-3:])
