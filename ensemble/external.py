"""Scores of other systems beside the store's own: fused transductively, because nothing else is known of them.

An external file has neither reference scores nor scores of generated anomalies, so it can be ranked only among the test
clips themselves, and nothing can choose or weigh it. Whoever may not use statistics of the test set may not use this.
"""

from collections.abc import Sequence

import numpy as np

from detectors.scores import ScoreTable
from ensemble.calibrate import transductive_rank
from featstore.table import ClipTable

NAME = "transductive mean rank"


def fuse_transductive(tables: Sequence[ScoreTable], clips: ClipTable) -> ScoreTable:
    """Mean over the systems of each clip's rank, in [0, 1], among the test clips of its section.

    ValueError names the first clip that a system has no score for.
    """
    if not tables:
        raise ValueError("a fusion needs the scores of at least one system")
    keys = clips.keys()
    scores = np.array([table.aligned(keys) for table in tables])
    fused = np.empty(len(keys))
    for machine, section in clips.sections():
        rows = clips.where(machine=machine, section=section)
        fused[rows] = np.mean([transductive_rank(of_system) for of_system in scores[:, rows]], axis=0)
    return ScoreTable(NAME, tuple(keys), fused)
