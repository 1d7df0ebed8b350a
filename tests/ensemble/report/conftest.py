"""The plant of the report, scored once, and its recordings."""

from pathlib import Path

import pytest
from report_plant import RATE, RECIPE, plant, record, store_of

from ensemble.page.media import recordings
from ensemble.report.build import ReportOptions, report_html
from ensemble.report.sounds import Heard
from ensemble.run import Detection, detect


@pytest.fixture(scope="session")
def detection(tmp_path_factory: pytest.TempPathFactory) -> Detection:
    return detect(store_of(tmp_path_factory.mktemp("s") / "store", plant()), RECIPE)


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return record(tmp_path_factory.mktemp("data"), plant())


@pytest.fixture(scope="session")
def text(detection: Detection, data: Path) -> str:
    options = ReportOptions("Report of <fan>", top=8, seconds=1.0)
    return report_html(detection, options, heard=Heard(recordings(data, RATE, "0")))
