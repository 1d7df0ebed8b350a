"""The results of a run on a store as a page shows them."""

from collections.abc import Mapping, Sequence
from typing import Any

from ensemble.decision.drift import Drift
from ensemble.inputs import evidence_of
from ensemble.page.kept import rows_digest
from ensemble.page.scored import Scored, scored_of
from ensemble.run import Detection
from ensemble.windows.times import recorded
from featstore.store import FeatureStore


def scored_of_run(
    store: FeatureStore,
    detection: Detection,
    *,
    where: Mapping[int, str],
    drifts: Sequence[Drift],
    metrics: Mapping[str, Any] | None = None,
    notes: Sequence[str] | None = None,
    warnings: Sequence[str] | None = None,
) -> Scored:
    """The results with lengths and times of the recordings, as the store knows them; the others as in `scored_of`."""
    embedding = evidence_of(store, detection.recipe).embedding
    recording = recorded(store, embedding, detection.clips)
    return scored_of(
        detection,
        title=store.path.resolve().name,
        seconds=recording.seconds,
        times=recording.times,
        time_source=recording.source,
        where=where,
        drifts=drifts,
        metrics=metrics,
        notes=notes,
        warnings=warnings,
        store=rows_digest(store, embedding),
    )
