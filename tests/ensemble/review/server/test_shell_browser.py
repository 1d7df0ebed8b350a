"""The frame of the page in a real browser, with stand-ins for its parts: address, tabs, focus, keys, errors."""

import shutil
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("uvicorn")
pytest.importorskip("starlette")
pytest.importorskip("selenium")

from review_server import Running, running
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from ensemble.review.routes import page
from ensemble.review.server.app import protected
from ensemble.review.server.failures import handlers
from featstore.errors import DataError

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
TITLE = "<script>document.title='owned'</script>"

pytestmark = pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="no Chromium with its driver")

SCRIPT = """
import { say, fail } from "./api.js";
export const keys = [["n", "next <b>item</b>"]];
export async function show(section, params) {
  section.dataset.shown = Number(section.dataset.shown ?? 0) + 1;
  section.dataset.params = params.toString();
  if (params.has("say")) say(params.get("say"));
  if (params.has("fail")) fail(new Error(params.get("fail")));
  if (params.has("throw")) throw new Error("the part <i>failed</i>");
}
"""
failing: set[str] = set()


def part(request: Request) -> Response:
    name = request.path_params["name"]
    if name in failing:
        raise DataError("a.wav: cannot be read")
    return HTMLResponse(f'<h2>Part {name}</h2><input id="field-{name}">' if name != "map" else "<p>no heading</p>")


def script(request: Request) -> Response:
    return Response(SCRIPT, media_type="text/javascript")


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    scripts = [Route(f"/static/{name}.js", script) for name, _ in page.PARTS]
    app = Starlette(routes=[*scripts, Route("/parts/{name}", part), *page.routes()], exception_handlers=handlers())
    app.state.session = SimpleNamespace(scored=SimpleNamespace(title=TITLE, bounded=True, metrics={}))
    with running(lambda access: protected(app, access)) as started:
        yield started


@pytest.fixture(scope="module")
def browser(server: Running) -> Iterator[Any]:
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM or ""
    for word in ("--headless=new", "--no-sandbox", "--window-size=1280,800"):
        options.add_argument(word)
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    driver.get(server.access.address)
    yield driver
    driver.quit()


@pytest.fixture
def opened(browser: Any, server: Running) -> Any:
    """A page that has just been loaded."""
    failing.clear()
    browser.get("about:blank")
    browser.get(f"{server.origin}/")
    wait(browser, lambda: shown(browser, "overview") == 1)
    return browser


def wait(browser: Any, condition: Callable[[], object]) -> None:
    WebDriverWait(browser, 10, poll_frequency=0.02).until(lambda _: condition())


def section(browser: Any, name: str) -> Any:
    return browser.find_element(By.ID, f"part-{name}")


def shown(browser: Any, name: str) -> int:
    return int(section(browser, name).get_attribute("data-shown") or 0)


def go(browser: Any, address: str) -> None:
    """Follow an address of the page, and wait until its part has been shown once more."""
    name = address.partition("?")[0]
    before = shown(browser, name)
    browser.execute_script("location.hash = arguments[0]", address)
    wait(browser, lambda: shown(browser, name) == before + 1)


def visible(browser: Any) -> list[str]:
    return [each.get_attribute("id") for each in browser.find_elements(By.CSS_SELECTOR, "section.part:not([hidden])")]


def text(browser: Any, element: str) -> str:
    return str(browser.find_element(By.ID, element).get_property("textContent"))


def test_the_token_leaves_the_address_and_the_title_is_text(opened: Any, server: Running) -> None:
    assert opened.current_url == f"{server.origin}/"
    assert opened.title == f"Overview · {TITLE}"
    opened.delete_all_cookies()
    opened.get(f"{server.origin}/")
    assert "detect review has printed" in opened.find_element(By.TAG_NAME, "main").text
    opened.get(server.access.address)
    wait(opened, lambda: shown(opened, "overview") == 1)


def test_a_part_is_loaded_once_and_shown_each_time(opened: Any) -> None:
    go(opened, "triage?machine=fan&section=00")
    assert visible(opened) == ["part-triage"]
    assert section(opened, "triage").get_attribute("data-params") == "machine=fan&section=00"
    assert [link.text for link in opened.find_elements(By.CSS_SELECTOR, "nav a[aria-current=page]")] == ["Triage"]
    opened.find_element(By.ID, "field-triage").send_keys("kept")
    go(opened, "search")
    go(opened, "triage?clip=3")
    assert opened.find_element(By.ID, "field-triage").get_attribute("value") == "kept"
    assert section(opened, "triage").get_attribute("data-params") == "clip=3"


def test_the_heading_of_another_part_takes_the_focus(opened: Any) -> None:
    assert opened.switch_to.active_element.tag_name == "body"
    go(opened, "triage")
    assert opened.switch_to.active_element.text == "Part triage"
    opened.find_element(By.ID, "field-triage").click()
    go(opened, "triage?clip=1")
    assert opened.switch_to.active_element.get_attribute("id") == "field-triage"
    go(opened, "map")
    assert (opened.switch_to.active_element.tag_name, opened.switch_to.active_element.text) == ("h2", "Map")


def test_an_unknown_part_is_the_first_and_skipping_stays(opened: Any) -> None:
    go(opened, "triage")
    opened.execute_script("location.hash = 'main'")
    assert visible(opened) == ["part-triage"]
    opened.execute_script("location.hash = 'nothing'")
    wait(opened, lambda: visible(opened) == ["part-overview"])


def test_a_part_that_fails_says_why_and_can_be_tried_again(opened: Any) -> None:
    failing.add("search")
    opened.execute_script("location.hash = 'search'")
    wait(opened, lambda: opened.find_elements(By.CSS_SELECTOR, ".failed"))
    box = opened.find_element(By.CSS_SELECTOR, "#part-search .failed[role=alert]")
    assert box.find_element(By.TAG_NAME, "p").text == "a.wav: cannot be read"
    failing.clear()
    box.find_element(By.TAG_NAME, "button").click()
    wait(opened, lambda: shown(opened, "search") == 1)
    assert not opened.find_elements(By.CSS_SELECTOR, ".failed")
    go(opened, "search?throw=1")
    wait(opened, lambda: opened.find_elements(By.CSS_SELECTOR, ".failed"))
    assert "the part <i>failed</i>" in section(opened, "search").text
    assert "Part search" in section(opened, "search").text


def test_the_keys_of_the_part_are_listed(opened: Any) -> None:
    body = opened.find_element(By.TAG_NAME, "body")
    dialog = opened.find_element(By.ID, "keys")
    body.send_keys("?")
    wait(opened, dialog.is_displayed)
    rows = [row.text.split("\n") for row in dialog.find_elements(By.CSS_SELECTOR, "dl > div")]
    assert rows == [["n", "next <b>item</b>"], ["?", "show or hide this list"]]
    opened.switch_to.active_element.send_keys("?")
    wait(opened, lambda: not dialog.is_displayed())
    opened.find_element(By.ID, "words-open").click()
    assert opened.find_element(By.ID, "words").is_displayed()
    opened.switch_to.active_element.send_keys("?")
    assert not dialog.is_displayed(), "one dialog at a time"
    opened.switch_to.active_element.send_keys(Keys.ESCAPE)
    opened.find_element(By.ID, "keys-open").click()
    wait(opened, dialog.is_displayed)
    opened.switch_to.active_element.send_keys(Keys.ESCAPE)
    wait(opened, lambda: not dialog.is_displayed())
    field = opened.find_element(By.ID, "field-overview")
    field.send_keys("?")
    assert field.get_attribute("value") == "?"
    assert not dialog.is_displayed()


def test_messages_are_shown_and_closed(opened: Any) -> None:
    go(opened, "overview?say=Marked&fail=Not%20saved")
    assert (text(opened, "status"), text(opened, "alert")) == ("Marked", "Not saved")
    opened.find_element(By.ID, "alert-close").click()
    assert text(opened, "alert") == ""
    assert not opened.find_element(By.ID, "alert-close").is_displayed()
    go(opened, "overview?fail=again")
    go(opened, "triage")
    assert text(opened, "alert") == ""


def test_a_server_that_has_ended_is_said(opened: Any) -> None:
    opened.execute_script("window.fetch = () => Promise.reject(new TypeError('Failed to fetch'))")
    opened.execute_script("location.hash = 'verdicts'")
    wait(opened, lambda: "Is detect review still running?" in section(opened, "verdicts").text)


def test_too_large_a_file_is_not_sent(opened: Any) -> None:
    message = opened.execute_async_script("""
        const done = arguments[0];
        const sent = import("/static/api.js").then((api) => api.send("/search", { size: 65 * 2 ** 20 }));
        sent.catch((error) => done(error.message));
    """)
    assert message == "The file has 65 MiB; at most 64 MiB can be sent."


@pytest.mark.parametrize("width", [320, 375, 1280])
def test_no_width_scrolls_sideways(opened: Any, width: int) -> None:
    size = {"width": width, "height": 700, "deviceScaleFactor": 1, "mobile": width < 500}
    opened.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    go(opened, "overview?say=" + "x" * 200)
    assert opened.execute_script("return document.documentElement.scrollWidth") == width
    opened.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
