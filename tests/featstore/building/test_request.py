"""The options of a build: which anomalies they mean, and what a plan settles."""

from pathlib import Path
from typing import Any

import pytest

from featstore.building.request import BuildRequest
from featstore.clip import Windows
from featstore.errors import OptionError, RequestError


def request(**options: Any) -> BuildRequest:
    return BuildRequest(data=Path("data"), store=Path("store"), **options)


@pytest.mark.parametrize(
    ("options", "design"),
    [
        ({}, "auto"),
        ({"specs": ("logmel",)}, "none"),
        ({"specs": ("logmel",), "anomalies": "auto"}, "auto"),
        ({"anomalies": "none"}, "none"),
        ({"anomalies": "2:leak@0"}, "2:leak@0"),
    ],
)
def test_anomalies_are_generated_unless_embedders_are_named(options: dict[str, Any], design: str) -> None:
    assert request(**options).design == design
    assert request(**options).settled["anomalies"] == design


def test_options_that_need_others_are_refused() -> None:
    with pytest.raises(OptionError, match="--recorded-anomalies needs --anomalies auto or N"):
        request(specs=("logmel",), recorded_anomalies=Path("sounds"))
    assert request(recorded_anomalies=Path("sounds")).design == "auto"
    with pytest.raises(OptionError, match="give a single -e"):
        request(rename="mine")


def test_a_level_at_the_far_microphone_needs_one() -> None:
    assert request(anomalies="2@0~-10", channel="0,1").design == "2@0~-10"
    with pytest.raises(OptionError, match=r"--anomalies 2@0~-10: .* give --channel 0-1 or 0,1"):
        request(anomalies="2@0~-10", channel="mean")
    for text in ("2~", "2~-70", "2~1", "2~x", "2~-1.234", "2~nan"):
        with pytest.raises(OptionError, match=f"--anomalies {text}: expected auto"):
            request(anomalies=text, channel="0-1")


def test_pruning_is_for_all_machines() -> None:
    """A list of one machine would make the rows of all others look as if their recordings had gone."""
    assert request(prune=True).prune
    with pytest.raises(OptionError, match="--prune would drop the rows of all other machines"):
        request(prune=True, machines=("fan",))


def test_a_worker_takes_the_anomalies_of_the_plan() -> None:
    planned = request().settled
    worker = request(specs=("logmel", "twfr"))
    assert worker.settled_by("1", planned, {}).design == "auto"
    repeated = request(anomalies="auto")
    assert repeated.settled_by("1", planned, {"anomalies": "--anomalies"}).design == "auto"
    with pytest.raises(RequestError, match="--anomalies is 'none' here and 'auto' in plan 1"):
        request(anomalies="none").settled_by("1", planned, {"anomalies": "--anomalies"})


@pytest.mark.parametrize(("old", "design"), [("4@0", "4@0"), (None, "none")])
def test_a_plan_of_an_earlier_version_is_read(old: str | None, design: str) -> None:
    planned = {name: value for name, value in request().settled.items() if name != "anomalies"}
    assert request().settled_by("1", {**planned, "with_anomalies": old}, {}).design == design


def test_the_hop_is_half_a_window_unless_it_is_given() -> None:
    assert request(window=10.0).audio.length == "window:10,5"
    assert request(window=10.0, hop=2.5, length="native").audio.length == "window:10,2.5"
    assert request().audio.length == "native"
    assert request(length="crop:3").audio.length == "crop:3"
    assert request().with_windows(Windows(10, 5)) == request(window=10, hop=5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"hop": 1.0}, "give --window S with it"),
        ({"window": 1.0, "hop": 2.0}, "--window 1 --hop 2: expected seconds, the hop .* at most the window"),
        ({"window": 0.0}, "expected seconds"),
        ({"window": -1.0}, "expected seconds"),
        ({"window": float("nan")}, "expected seconds"),
        ({"window": 1.0, "hop": 0.0}, "the hop at least 0.01"),
        ({"window": 1.0, "length": "pad:3"}, "--length pad:3 and --window cannot be combined"),
        ({"length": "window:10,5"}, "windows are given as --window 10 --hop 5"),
        ({"window": 700.0}, "longer than --max-seconds 600"),
    ],
)
def test_windows_that_cannot_be_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        request(**options)
