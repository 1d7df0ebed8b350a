"""What every design of artificial anomalies states: transforms, severities and seed."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class AnomalyDesign:
    """Anomalies to make: every pair of a transform and a severity. A subclass adds how many of each.

    transforms: empty means all default ones that the data allow. seed: of the random draws.
    """

    transforms: tuple[str, ...] = ()
    severities_db: tuple[float, ...]
    seed: int = 0

    def check(self, find: Callable[[str], object], count: int) -> None:
        """ValueError for a transform that `find` does not know, a `count` below 1, no severity or a negative seed."""
        for name in self.transforms:
            find(name)
        if count < 1 or not self.severities_db or self.seed < 0:
            raise ValueError(
                f"expected 1 or more anomalies, 1 or more severities and a seed from 0; got {count} anomalies, "
                f"{len(self.severities_db)} severities and the seed {self.seed}"
            )
