"""A small plant with recordings and its page: a session, a client that skips the guard, and windows of a recording."""

from pathlib import Path

from report_plant import RATE, RECIPE, plant, record, store_of

from ensemble.page.scored import scored_of
from ensemble.review.session import Session
from ensemble.run import detect
from ensemble.windows.findings import findings_of


def session_of(folder: Path, *, data: bool = True) -> Session:
    """The page of two sections of one machine, see `report_plant`; 12 of 24 test clips are anomalies."""
    clips = plant()
    store = store_of(folder / "store", clips)
    detection = detect(store, RECIPE)
    findings = findings_of(detection, store=store)
    scored = scored_of(detection, title="store", seconds=findings.seconds)
    recordings = record(folder / "data", clips) if data else None
    (folder / "results").mkdir()
    return Session(folder / "store", folder / "results", scored, data=recordings, who="tester")


__all__ = ["RATE", "session_of"]
