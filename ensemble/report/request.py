"""What `detect report` does with a request: score as `detect run` does, and explain the detection in one HTML file."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ensemble.checks.disk import data_root
from ensemble.decision.drift import Drift
from ensemble.deviation.locate import locator_of
from ensemble.deviation.of_detection import places
from ensemble.inputs import evidence_of
from ensemble.marks.apply import marked_rows
from ensemble.marks.file import Mark, read_marks
from ensemble.page.media import recordings
from ensemble.page.of_run import scored_of_run
from ensemble.page.scored import Scored
from ensemble.report.build import ReportOptions, read_selection, report_html, write_report
from ensemble.report.sounds import AROUND_S, Heard
from ensemble.request import RunRequest, Screen, ensemble_of
from ensemble.results import detection_of, drifts_of
from ensemble.run import Detection
from ensemble.windows.findings import findings_of
from featstore.errors import OptionError
from featstore.store import FeatureStore


@dataclass(frozen=True, kw_only=True)
class ReportRequest:
    """The options of `detect report` beside those of a run.

    data: folder of the recordings, None for that of the last build. top: most cards. seconds: longest part of a
    recording in a player. selection: a selection.json to show.
    """

    store: Path
    out: Path
    data: Path | None = None
    top: int = 20
    seconds: float = 60.0
    year: int | None = None
    selection: Path | None = None

    def __post_init__(self) -> None:
        """Raise OptionError for players that are no length of sound."""
        if not 0 < self.seconds < math.inf:
            raise OptionError(f"--seconds {self.seconds:g}: expected a number of seconds above 0")


def report_to(page: ReportRequest, request: RunRequest, screen: Screen) -> None:
    """Score the store as `detect run` does, and explain the detection in one HTML file; by default of `--ensemble`."""
    store = FeatureStore.open(page.store)
    page.out.parent.mkdir(parents=True, exist_ok=True)
    ensemble, _ = ensemble_of(store, request.or_ensemble(), screen)
    selection = read_selection(page.selection, ensemble.recipe) if page.selection else ensemble.selection
    detection = detection_of(store, ensemble, request, screen)
    title = f"Anomaly report: {page.store.resolve().name}"
    text = report_html(
        detection,
        ReportOptions(title, page.top, page.seconds, page.year),
        scored=_scored(store, detection, page, drifts_of(detection, request)),
        heard=_heard(store, detection, page, screen),
        selection=selection,
        findings=findings_of(detection, request.recording_score, store),
        marks=_marks(store, detection, request),
    )
    write_report(page.out, text)


def _scored(store: FeatureStore, detection: Detection, page: ReportRequest, drifts: tuple[Drift, ...]) -> Scored:
    """The results with the lengths of recordings, and where reported clips deviate."""
    return scored_of_run(store, detection, where=places(store, detection, page.data).sentences(), drifts=drifts)


def _heard(store: FeatureStore, detection: Detection, page: ReportRequest, screen: Screen) -> Heard | None:
    """The recordings of the named folder, or of that of the last build, which is said; None where it is gone."""
    root = data_root(store, page.data)
    if root is None:
        return None
    if page.data is None:
        screen.say(
            f"note: players and pictures are made from {root}, the folder of the last build; --data names another"
        )
    info = store.info(evidence_of(store, detection.recipe).embedding)
    longest_s = page.seconds + 2 * AROUND_S  # more than is shown, so that what is cut is known to be cut
    locator, _ = locator_of(store, detection.train, pool_sections=detection.recipe.pool_sections)
    return Heard(recordings(root, info.sample_rate_hz, info.channel, longest_s), locator, given=page.data is not None)


def _marks(store: FeatureStore, detection: Detection, request: RunRequest) -> Mapping[int, Mark]:
    """The marks of the store by row of the scored clips; none where the run ignores them."""
    return {} if request.no_marks else marked_rows(read_marks(store.path).items, detection.clips)
