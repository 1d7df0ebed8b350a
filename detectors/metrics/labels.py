"""Labels of test clips, the type that the official metrics take; nothing that scores or chooses takes it."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from featstore.table import ClipTable


@dataclass(frozen=True, eq=False)
class Labels:
    """Labels of test clips in columns (n,): unique key, machine, section, domain, and whether it is an anomaly."""

    keys: tuple[str, ...]
    machine: np.ndarray
    section: np.ndarray
    domain: np.ndarray
    is_anomaly: np.ndarray

    def __post_init__(self) -> None:
        for name in ("machine", "section", "domain", "is_anomaly"):
            column = getattr(self, name)
            if column.shape != (len(self.keys),):
                raise ValueError(f"{len(self.keys)} clips need as many values of {name}, got shape {column.shape}")
        if self.is_anomaly.dtype != bool:
            raise ValueError(f"is_anomaly must be boolean, got {self.is_anomaly.dtype}")

    @classmethod
    def of(cls, clips: ClipTable) -> "Labels":
        """Labels of test clips; ValueError names the first clip whose label is unknown."""
        label = clips.column("label")
        unknown = np.flatnonzero((label != "normal") & (label != "anomaly"))
        if len(unknown):
            raise ValueError(
                f"{len(unknown)} of {len(clips)} clips have no label, first {clips[int(unknown[0])].key!r}; "
                "metrics need labelled test clips"
            )
        domain = clips.column("domain")
        return cls(tuple(clips.keys()), clips.column("machine"), clips.column("section"), domain, label == "anomaly")

    def sections(self) -> Iterator[tuple[str, str, np.ndarray]]:
        """Machine, section and rows of the clips of every section, sorted by machine and section."""
        groups: dict[tuple[str, str], list[int]] = {}
        for row, group in enumerate(zip(self.machine.tolist(), self.section.tolist(), strict=True)):
            groups.setdefault(group, []).append(row)
        for (machine, section), rows in sorted(groups.items()):
            yield machine, section, np.array(rows)

    def pooled(self) -> "Labels":
        """Join all sections of a machine, for the 2020 metrics that some papers pool over machine ids."""
        return replace(self, section=np.full(len(self.keys), "all"))
