"""Labels: the truth about test clips. Only the official figures take this type, so nothing else can see a label."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from featstore.table import ClipTable


@dataclass(frozen=True, eq=False)
class Labels:
    """Truth of every test clip, in columns (n,): unique keys, machine, section, domain, whether it is an anomaly."""

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
        """Labels of test clips; a clip whose label is unknown is an error that names it."""
        label = clips.column("label")
        unknown = np.flatnonzero((label != "normal") & (label != "anomaly"))
        if len(unknown):
            raise ValueError(
                f"{len(unknown)} of {len(clips)} clips have no label, first {clips[int(unknown[0])].key!r}; "
                "figures need labelled test clips"
            )
        domain = clips.column("domain")
        return cls(tuple(clips.keys()), clips.column("machine"), clips.column("section"), domain, label == "anomaly")

    def sections(self) -> Iterator[tuple[str, str, np.ndarray]]:
        """Every (machine, section) that occurs, sorted, with the rows of its clips."""
        groups: dict[tuple[str, str], list[int]] = {}
        for row, group in enumerate(zip(self.machine.tolist(), self.section.tolist(), strict=True)):
            groups.setdefault(group, []).append(row)
        for (machine, section), rows in sorted(groups.items()):
            yield machine, section, np.array(rows)

    def pooled(self) -> "Labels":
        """All sections of a machine as one, for the D2020 figures that some papers pool over machine ids."""
        return replace(self, section=np.full(len(self.keys), "all"))
