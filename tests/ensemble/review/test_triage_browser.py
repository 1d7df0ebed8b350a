"""Triage in a real browser: played, compared, marked by keyboard, undone, marked again."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from browser import browser, resize
from report_plant import HOSTILE
from review_plant import served, session_of

from ensemble.review.session import Session

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

pytestmark = pytest.mark.slow


@pytest.fixture
def session(tmp_path: Path) -> Session:
    return session_of(tmp_path)


@pytest.fixture
def address(session: Session) -> Iterator[str]:
    with served(session) as own:
        yield f"{own}/"


def wait_for(condition: Callable[[], Any], seconds: float = 60) -> Any:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        value = condition()
        if value:
            return value
        time.sleep(0.05)
    raise AssertionError("it did not happen")


def audio(driver: "Chrome", kind: str, what: str) -> Any:
    return driver.execute_script(f"return document.querySelector('.player[data-kind={kind}] audio')?.{what}")


def text(driver: "Chrome", selector: str) -> str:
    return str(driver.execute_script(f"return document.querySelector({selector!r})?.textContent ?? ''"))


def shown(driver: "Chrome") -> str:
    return str(driver.execute_script("return document.querySelector('article.item')?.dataset.row ?? ''"))


def press(driver: "Chrome", key: str) -> None:
    driver.switch_to.active_element.send_keys(key)


def cursor(driver: "Chrome", kind: str) -> float:
    return float(
        driver.execute_script(f"return document.querySelector('.picture.{kind} line.cursor').getAttribute('x1')")
    )


def test_listen_mark_and_undo_by_keyboard(address: str, session: Session, tmp_path: Path) -> None:
    first, second = (item for item in session.items[:2])
    key = session.scored.keys[first.row]
    with browser(tmp_path) as driver:
        driver.get(f"{address}#triage")
        wait_for(lambda: shown(driver) == str(first.row))
        press(driver, "l")
        press(driver, " ")
        wait_for(lambda: not audio(driver, "clip", "paused") and audio(driver, "clip", "currentTime") > 0.1)
        wait_for(lambda: cursor(driver, "clip") > 40)
        assert cursor(driver, "difference") > 40
        assert "Hear the normal clip" in text(driver, "[data-do=switch]")
        press(driver, "a")
        assert "Hear this clip" in text(driver, "[data-do=switch]")
        press(driver, "1")
        assert "reduce" in text(driver, ".picture.large .enlarge")
        press(driver, "1")
        assert "enlarge" in text(driver, ".picture.clip .enlarge")
        wait_for(lambda: audio(driver, "clip", "paused") and not audio(driver, "normal", "paused"))
        wait_for(lambda: cursor(driver, "normal") > 40)
        press(driver, " ")
        wait_for(lambda: audio(driver, "normal", "paused"))

        press(driver, "f")
        wait_for(lambda: shown(driver) == str(second.row))
        assert [(mark.clip, mark.mark) for mark in session.marked.values()] == [(key, "fault")]
        assert "marked as fault" in text(driver, "#status")
        assert driver.switch_to.active_element.get_attribute("data-row") == str(second.row), "focus follows"
        press(driver, "u")
        wait_for(lambda: shown(driver) == str(first.row))
        assert not session.marked
        wait_for(lambda: "mark removed" in text(driver, ".history"))
        press(driver, "o")
        wait_for(lambda: session.marked)
        assert session.marked[first.row].mark == "normal"
        wait_for(lambda: shown(driver) == str(second.row))

        press(driver, "p")
        wait_for(lambda: shown(driver) == str(first.row))
        field = driver.find_element("css selector", "input[name=note]")
        field.send_keys("no fault if in")
        assert [mark.mark for mark in session.marks.items] == ["fault", "none", "normal"], "keys do not act in a field"
        assert shown(driver) == str(first.row)
        assert text(driver, "#alert") == ""
        assert [line for line in driver.get_log("browser") if line["level"] == "SEVERE"] == []  # type: ignore[no-untyped-call]


def test_filters_and_hostile_names_and_a_phone(address: str, session: Session, tmp_path: Path) -> None:
    row = next(row for row, key in enumerate(session.scored.keys) if HOSTILE in key)
    with browser(tmp_path) as driver:
        driver.get(f"{address}#triage?section=01&decision=all&clip={row}")
        wait_for(lambda: shown(driver) == str(row))
        assert driver.execute_script("return document.querySelectorAll('nav.items a').length") == 12
        assert driver.title != "owned"
        resize(driver, 375, 800)
        widths = driver.execute_script("return [document.documentElement.scrollWidth, innerWidth]")
        assert widths[0] <= widths[1] == 375
        driver.execute_script(
            "const field = document.querySelector('select[name=verdict]'); field.value = 'fault';"
            "field.dispatchEvent(new Event('change', {bubbles: true}))"
        )
        wait_for(lambda: "No item has this verdict." in text(driver, "nav.items"))
        assert driver.execute_script("return location.hash") == "#triage?decision=all&verdict=fault&section=01"
        driver.refresh()
        wait_for(lambda: "No item has this verdict." in text(driver, "nav.items"))
        assert driver.execute_script("return document.querySelector('select[name=verdict]').value") == "fault"


def change(driver: "Chrome", selector: str, value: str) -> None:
    """Choose a value in a field as a person does: the field has the focus."""
    driver.execute_script(
        "const [selector, value] = arguments, field = document.querySelector(selector); field.focus();"
        "if (field.type == 'checkbox') field.click(); else { field.value = value;"
        "field.dispatchEvent(new Event('change', {bubbles: true})); }",
        selector,
        value,
    )


def test_keys_act_after_a_field_was_changed(address: str, session: Session, tmp_path: Path) -> None:
    first = session.items[0]
    with browser(tmp_path) as driver:
        driver.get(f"{address}#triage")
        wait_for(lambda: shown(driver) == str(first.row))
        for field, value in (("rate", "2"), ("same", ""), ("advance", ""), ("verdict", "unmarked")):
            change(driver, f"[name={field}]", value)
            assert driver.switch_to.active_element.get_attribute("data-place") == "item", field
        wait_for(lambda: "verdict=unmarked" in driver.current_url and shown(driver) == str(first.row))
        press(driver, "f")
        wait_for(lambda: session.marked)
        assert session.marked[first.row].mark == "fault"
        driver.execute_script("document.querySelector('[name=advance]').focus()")
        press(driver, "?")
        wait_for(lambda: driver.execute_script("return document.querySelector('#keys').open"))


def test_a_note_stays_with_its_item_and_is_saved_with_its_mark(address: str, session: Session, tmp_path: Path) -> None:
    first, second = (item.row for item in session.items[:2])
    note = "document.querySelector('input[name=note]')"
    with browser(tmp_path) as driver:
        driver.get(f"{address}#triage")
        wait_for(lambda: shown(driver) == str(first))
        driver.find_element("css selector", "input[name=note]").send_keys("rattles\n")
        assert "saved with the mark" in text(driver, "#status")
        press(driver, "n")
        wait_for(lambda: shown(driver) == str(second))
        assert driver.execute_script(f"return {note}.value") == ""
        press(driver, "p")
        wait_for(lambda: shown(driver) == str(first))
        assert driver.execute_script(f"return {note}.value") == "rattles", "kept until there is a mark"
        change(driver, "[name=advance]", "")
        press(driver, "i")
        wait_for(lambda: session.marked)
        wait_for(lambda: "rattles" in text(driver, ".history"))
        press(driver, "f")
        wait_for(lambda: session.marked[first].mark == "fault")
        assert session.marked[first].note == "rattles", "another mark keeps the note"
        press(driver, "f")
        wait_for(lambda: "marked as fault" in text(driver, "#status"))
        driver.find_element("css selector", "input[name=note]").send_keys(" loudly\n")
        wait_for(lambda: session.marked[first].note == "rattles loudly")
        driver.find_element("css selector", "input[name=note]").send_keys("!")
        driver.execute_script(f"document.querySelector('a[data-row=\"{second}\"]').click()")
        wait_for(lambda: shown(driver) == str(second))
        wait_for(lambda: session.marked[first].note == "rattles loudly!")
        for holds in ("marked as fault again", "marked as fault again", "marked as ignore again", "is not marked"):
            press(driver, "u")
            wait_for(lambda holds=holds: holds in text(driver, "#status"))
            wait_for(lambda: not driver.execute_script("return document.querySelector('[aria-busy]')"))
            time.sleep(0.3)
        assert first not in session.marked
        assert text(driver, "#alert") == ""
