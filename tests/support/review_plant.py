"""A small plant with recordings and its page: a session, a client that skips the guard, and windows of a recording."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from report_plant import RATE, RECIPE, plant, record, store_of

from ensemble.page.scored import scored_of
from ensemble.review.server.app import application
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


@contextmanager
def served(page: Session) -> Iterator[str]:
    """The address of the page without its guard, served by a thread."""
    import uvicorn

    config = uvicorn.Config(application(page), port=0, log_level="error", ws="none", timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            time.sleep(0.01)
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(30)


__all__ = ["RATE", "served", "session_of"]
