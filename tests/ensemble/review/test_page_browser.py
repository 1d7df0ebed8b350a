"""The page as its user meets it: the command is started, its address opened in a browser, a fault found and marked."""

import http.client
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
from browser import browser, complaints, requested, resize, until, violations
from dated_plant import Folders, Plan, dated_plant
from large_results import large_results
from running_page import running_page

from ensemble.marks.file import read_marks
from ensemble.marks.listing import opened

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

pytestmark = pytest.mark.slow

PARTS = ("overview", "triage", "map", "threshold", "search", "verdicts")
PLAN = Plan(
    machines=("fan", "gearbox"),
    clips=96,
    seconds=2,
    training=16,
    week=8,
    anomalies="none",
    faults={"gearbox": (5, 6, 7)},
)


@pytest.fixture(scope="module")
def plant(tmp_path_factory: pytest.TempPathFactory) -> Folders:
    return dated_plant(tmp_path_factory.mktemp("plant"), PLAN, ensemble=False)


@pytest.fixture(scope="module")
def address(plant: Folders) -> Iterator[str]:
    with running_page(plant.store, plant.results, plant.data, "--who", "anna") as printed:
        yield printed


@pytest.fixture(scope="module")
def driver(address: str, tmp_path_factory: pytest.TempPathFactory) -> "Iterator[Chrome]":
    with browser(tmp_path_factory.mktemp("browser")) as opened_browser:
        opened_browser.get(address)
        yield opened_browser


def show(driver: "Chrome", part: str, text: str = "") -> None:
    """Show a part and wait until it is filled."""
    driver.execute_script(f"location.hash = '#{part}{text}'")
    until(driver, f"document.querySelector('#part-{part}:not([hidden]) h2') && !document.querySelector('.loading')")


def press(driver: "Chrome", key: str) -> None:
    from selenium.webdriver.common.action_chains import ActionChains

    ActionChains(driver).send_keys(key).perform()


def answer(address: str, path: str, **headers: str) -> tuple[int, str]:
    parts = urlsplit(address)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=10)
    connection.request("GET", path, headers=headers)
    response = connection.getresponse()
    return response.status, response.read().decode()


def test_without_its_token_the_page_is_refused(address: str) -> None:
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/\?token=[\w-]{40,}", address)
    for path in ("/", "/?token=" + "x" * 43, "/items", "/parts/triage", "/sound/audio.wav?clip=a", "/static/app.js"):
        status, text = answer(address, path)
        assert status == 403, path
        assert "gearbox" not in text


def test_the_overview_says_where_to_look_first(driver: "Chrome") -> None:
    show(driver, "overview")
    text = until(driver, "document.querySelector('#part-overview').innerText")
    assert re.search(r"Look at gearbox section 00 first: \d reported clips", text)
    assert "token" not in driver.current_url, "the token leaves the address"


def test_a_fault_is_found_played_marked_taken_back_and_marked_again(driver: "Chrome", plant: Folders) -> None:
    show(driver, "triage")
    until(driver, "document.querySelector('.item[data-row]') && document.querySelectorAll('audio').length == 2")
    row = driver.execute_script("return document.querySelector('.item').dataset.row")
    assert "gearbox/" in driver.execute_script("return document.querySelector('.item h3').innerText")
    press(driver, " ")
    until(driver, "document.querySelector('audio').currentTime > 0.2")
    assert until(driver, "document.querySelector('audio').duration") == pytest.approx(2, abs=0.05)
    until(driver, "document.querySelector('.picture.clip line.cursor').getAttribute('visibility') != 'hidden'")
    press(driver, " ")
    press(driver, "f")
    press(driver, "u")  # at once: it waits for the mark
    assert [mark.mark for mark in wait_for_marks(plant.store, 2)] == ["fault", "none"]
    until(driver, f"document.querySelector('.item')?.dataset.row == '{row}' && !document.querySelector('[aria-busy]')")
    press(driver, "f")
    marks = wait_for_marks(plant.store, 3)
    assert [mark.mark for mark in marks] == ["fault", "none", "fault"]
    assert {mark.who for mark in marks} == {"anna"}
    (key, mark), *others = opened(plant.store).marked.items()
    assert (key.startswith("gearbox/"), mark.mark, others) == (True, "fault", [])
    show(driver, "verdicts")
    assert key in until(driver, "document.querySelector('#part-verdicts table')?.innerText")


def wait_for_marks(store: Path, count: int) -> list[Any]:
    for _ in range(100):
        marks = read_marks(store).items
        if len(marks) >= count:
            return list(marks)
        time.sleep(0.05)
    pytest.fail(f"{len(marks)} marks instead of {count}")


def test_every_part_on_a_phone_and_on_a_desk_light_and_dark(driver: "Chrome") -> None:
    for size, dark in (((1280, 900), False), ((375, 760), True)):
        resize(driver, *size, dark=dark)
        for part in PARTS:
            show(driver, part)
            wide = driver.execute_script("return document.documentElement.scrollWidth - innerWidth")
            assert wide <= 0, f"{part} scrolls sideways by {wide} pixels at {size[0]}"
            assert violations(driver) == [], f"{part} at {size[0]}, dark: {dark}"
    resize(driver, 1280, 900)


def test_nothing_leaves_the_machine_and_nothing_breaks(driver: "Chrome", address: str) -> None:
    """The last test of this page: everything that was asked for, and everything that went wrong."""
    own = f"http://{urlsplit(address).netloc}/"
    foreign = [url for url in requested(driver) if not url.startswith((own, "data:", "chrome:", "about:"))]
    assert foreign == []
    assert complaints(driver) == []


def test_ten_thousand_points_are_drawn(tmp_path: Path) -> None:
    store, results = large_results(tmp_path, 10_000)
    with running_page(store, results) as printed, browser(tmp_path / "browser") as driver:
        driver.get(printed)
        show(driver, "map")
        assert until(driver, "/1\\d,\\d{3} clips shown/.exec(document.querySelector('#part-map').innerText)?.[0]")
        drawn = """(() => { const canvas = document.getElementById('map-canvas');
            const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
            let n = 0; for (let i = 0; i < data.length; i += 4) n += Math.max(data[i], data[i+1], data[i+2]) -
            Math.min(data[i], data[i+1], data[i+2]) > 60; return n; })()"""
        assert until(driver, drawn) > 5000
