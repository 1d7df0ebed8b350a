"""What to know of the training clips before an ensemble is chosen: embeddings that tell nothing, and copies."""

from collections.abc import Sequence

import numpy as np

from ensemble.checks.flat import flat_warnings, is_flat
from ensemble.inputs import TrainingInputs, section_texts
from ensemble.recipe import Member, Recipe
from featstore.store import FeatureStore


def training_warnings(store: FeatureStore, candidates: Sequence[Member]) -> tuple[str, ...]:
    """Warnings on the views of the candidates, and notes on copies; DataError where no view tells anything."""
    views = list({member.source: member for member in candidates if not member.file}.values())
    if not views:
        return ()
    inputs = TrainingInputs(store, Recipe(tuple(views)), ())
    train = inputs.roles.train
    section = section_texts(inputs.clips[train], pool_sections=False)
    flat = np.zeros((len(views), len(train)), dtype=bool)
    for i, view in sorted(enumerate(views), key=lambda pair: pair[1].embedding):
        X = inputs.matrix(view)
        for text in np.unique(section).tolist():
            here = section == text
            flat[i, here] = is_flat(X[train[here]])
    warnings = flat_warnings([view.source for view in views], flat, section)
    return (*warnings, *inputs.copies.notes(left_out=True))
