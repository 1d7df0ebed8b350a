"""Rejected recordings, and the generated anomalies that were not made."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from featstore.anomalies.variants import Variant
from featstore.disk.shard import Rejection
from featstore.errors import DataError
from featstore.terminal.shown import counted


def of_recordings(rejections: Iterable[Rejection]) -> list[Rejection]:
    """The rejections of recordings, or windows of one, without those of generated anomalies; each path once."""
    once: dict[str, Rejection] = {}
    for item in rejections:
        if not item.variant:
            once.setdefault(item.path, item)
    return list(once.values())


@dataclass(frozen=True)
class Unmade:
    """Generated anomalies that were not made.

    of_rejected: number of those whose source or donor is a rejected recording. others: those with another reason.
    """

    of_rejected: int = 0
    others: Sequence[Rejection] = ()

    @classmethod
    def among(cls, rejections: Iterable[Rejection], rejected: Collection[str]) -> "Unmade":
        """The rejected variants, each once; rejected: paths of the rejected recordings."""
        variants = list({item.key: item for item in rejections if item.variant}.values())
        others = [item for item in variants if item.path not in rejected and _donor(item) not in rejected]
        return cls(len(variants) - len(others), others)

    def __len__(self) -> int:
        return self.of_rejected + len(self.others)

    def notes(self) -> list[str]:
        """A line for those of rejected recordings, and one for the others with the first reason."""
        lines = [f"{_not_made(self.of_rejected)} because of them"] if self.of_rejected else []
        if self.others:
            first = self.others[0]
            lines.append(f"{_not_made(len(self.others))}, first of {first.path}: {first.reason}")
        return lines


def _not_made(number: int) -> str:
    return f"{counted(number, 'generated anomaly was', 'generated anomalies were')} not made"


def _donor(item: Rejection) -> str:
    """The donor of a rejected variant; "" where it has none, or a package that is not installed made it."""
    try:
        return Variant.parse(item.variant).donor
    except DataError:
        return ""
