"""A note on members whose reference scores are lower than those of new clips, because training clips are few."""

from collections import Counter

from detectors import parse_detector
from ensemble.groups import few
from ensemble.inputs import banks_of
from ensemble.recipe import Recipe
from featstore.table import ClipTable

CLIPS_PER_COMPONENT = 2
"""With fewer, distances on principal components change with every clip that joins the training clips."""

NEIGHBOURS = ("knn", "ldn", "lof")
"""Detectors whose real rate is then higher than stated; that of the others is lower (docs/decisions.md)."""


def few_clips_notes(recipe: Recipe, train: ClipTable) -> tuple[str, ...]:
    """One note where sections have fewer than CLIPS_PER_COMPONENT training clips for each component of a `pca`."""
    parsed = [parse_detector(member.detector) for member in recipe.members if not member.file]
    components = max((int(params.get("pca") or 0) for name, params in parsed if name in NEIGHBOURS), default=0)
    least = CLIPS_PER_COMPONENT * components
    counts = Counter(banks_of(train, recipe.pool_sections))
    short = [f"{machine} section {section}" for (machine, section), count in sorted(counts.items()) if count < least]
    if not short:
        return ()
    return (
        f"pca={components} of a nearest-neighbour detector needs {least} training clips for the stated false-alarm "
        f"rate; {few(short)} {'has' if len(short) == 1 else 'have'} fewer, and the real rate may be higher there",
    )
