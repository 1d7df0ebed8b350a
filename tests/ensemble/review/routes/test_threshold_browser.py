"""The threshold in a real browser: a line is moved, refused, undone, lost with a word, and saved."""

import threading
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from browser import browser, resize, until, violations
from review_plant import served, session_of

from ensemble.review.routes import threshold
from ensemble.review.saved import saved_thresholds
from ensemble.review.whatif import Generated

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

pytestmark = pytest.mark.slow


def enter(driver: "Chrome", value: str) -> None:
    driver.execute_script(
        "const field = document.getElementById('threshold-value'); field.value = arguments[0];"
        "field.dispatchEvent(new Event('input'));",
        value,
    )


def able(driver: "Chrome", name: str) -> bool:
    return bool(driver.execute_script(f"return !document.querySelector('[data-role={name}]').disabled"))


def press(driver: "Chrome", name: str) -> None:
    driver.execute_script(f"document.querySelector('[data-role={name}]').click()")


def content(name: str) -> str:
    return f"document.querySelector('[data-role={name}]').textContent"


def test_only_a_moved_line_is_saved_and_none_is_lost_without_a_word(tmp_path: Path) -> None:
    session = session_of(tmp_path)
    with served(session) as address, browser(tmp_path) as driver:
        driver.get(f"{address}/#threshold?machine=fan&section=00")
        assert until(driver, f"document.querySelector('[data-role=reported]') && {content('reported')}").startswith(
            "would report"
        )
        assert not able(driver, "save")
        assert not able(driver, "reset")
        enter(driver, "0.5")
        assert until(driver, f"{content('ratio')}.includes('times the present threshold')")
        assert until(driver, content("normal")).endswith("training clips")
        assert able(driver, "save")
        assert session.scored.bounded
        enter(driver, "1.01")
        assert driver.execute_script(f"return {content('refusal')}").startswith("Enter a number above 0 and below 1")
        assert not able(driver, "save")
        assert "1.01" not in driver.execute_script(f"return {content('ratio')}")
        assert violations(driver) == []
        press(driver, "reset")
        assert driver.execute_script(f"return {content('refusal')}") == ""
        assert not able(driver, "save")
        enter(driver, "0.5")
        driver.execute_script("location.hash = '#verdicts'")
        assert until(driver, "document.getElementById('status').textContent") == (
            "The line at 0.5 for fan / 00 was not saved."
        )
        driver.execute_script("location.hash = '#threshold?machine=fan&section=00'")
        until(driver, "!document.getElementById('part-threshold').hidden")
        until(driver, "document.getElementById('threshold-value').value !== '0.5'")
        enter(driver, "0.5")
        press(driver, "save")
        assert until(driver, "document.getElementById('status').textContent.startsWith('Saved 0.5 for fan / 00')")
        until(driver, "!document.querySelector('[data-role=back]').hidden")
        assert saved_thresholds(session.results) == {("fan", "00"): 0.5}
        assert not able(driver, "save")
        resize(driver, 375, 800, dark=True)
        assert driver.execute_script("return document.documentElement.scrollWidth") <= 375
        assert violations(driver) == []


def test_a_number_that_is_typed_stays_while_anomalies_are_scored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = threading.Event()

    def slow(*args: object) -> dict[tuple[str, str], Generated]:
        done.wait(60)
        return {("fan", "00"): Generated(np.array([0.7]), ["leak"])}

    monkeypatch.setattr(threshold, "generated_scores", slow)
    with served(session_of(tmp_path)) as address, browser(tmp_path) as driver:
        driver.get(f"{address}/#threshold?machine=fan&section=00")
        assert (
            until(driver, f"document.querySelector('[data-role=generated]') && {content('generated')}") == "computing …"
        )
        enter(driver, "1.01")
        done.set()
        assert until(driver, f"{content('generated')}.includes('of 1 ')")
        assert driver.execute_script("return document.getElementById('threshold-value').value") == "1.01"
        assert driver.execute_script(f"return {content('refusal')}")
        assert not able(driver, "save")
