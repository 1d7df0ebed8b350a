"""The same system with other seeds: what is random in it, and how much its official score varies.

A seed of a detector changes what the detector draws: the starts of k-means (`gmm` with several components, `knn` with
clusters), new clips (`smote`, `memmixup`), and whatever the `random_state` of a class of scikit-learn or PyOD decides.
Embeddings and trained networks are fixed in the store; another seed of a training is another embedding.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import fmean, stdev

from detectors import detector_spec, parameters, parse_detector
from ensemble.recipe import Member, Recipe

PARAMETERS = ("seed", "random_state")
"""Parameters of detectors that are seeds."""


@dataclass(frozen=True)
class Spread:
    """Official scores with several seeds, that of the system as it is named first."""

    scores: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Mean of the scores."""
        return fmean(self.scores)

    @property
    def deviation(self) -> float:
        """Standard deviation of the scores over the seeds."""
        return stdev(self.scores)

    @property
    def varies(self) -> bool:
        """Whether any seed gives another score."""
        return len(set(self.scores)) > 1


def with_seeds(name: str, recipe: Recipe, seeds: int) -> dict[str, Recipe]:
    """The recipe of a system with every seed of its detectors raised by 1 to `seeds` - 1, by name.

    Empty where no detector has a seed.
    """
    if not any(_seed_of(member) for member in recipe.members):
        return {}
    return {
        f"{name} (seed + {by})": replace(recipe, members=tuple(_raised(member, by) for member in recipe.members))
        for by in range(1, seeds)
    }


def seeds_note(recipes: Sequence[Recipe]) -> str:
    """What a seed changes in these recipes, and what it does not."""
    members = [member for recipe in recipes for member in recipe.members if _seed_of(member)]
    names = sorted({parse_detector(member.detector)[0] for member in members})
    changed = f"changes what {', '.join(names)} draw{'s' if len(names) == 1 else ''}" if names else "changes nothing"
    return (
        f"--seeds: a seed {changed}; embeddings and trained networks are fixed in the store. "
        "equal: every seed gives the same score; none: no detector has a seed"
    )


def _seed_of(member: Member) -> str:
    """The parameter that is the seed of a member's detector; empty where it has none."""
    if member.file:
        return ""
    known = parameters(parse_detector(member.detector)[0])
    return next((name for name in PARAMETERS if name in known), "")


def _raised(member: Member, by: int) -> Member:
    seed = _seed_of(member)
    if not seed:
        return member
    name, params = parse_detector(member.detector)
    value = params.get(seed, parameters(name)[seed])
    return replace(member, detector=detector_spec(name, {**params, seed: (value or 0) + by}))
