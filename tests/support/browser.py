"""A real headless Chromium, driven by WebDriver, that resolves no host name and records every request."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
DRIVER = shutil.which("chromedriver")

QUIET = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--hide-scrollbars",
    "--autoplay-policy=no-user-gesture-required",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)


@contextmanager
def browser(work: Path, *, size: tuple[int, int] = (1280, 900), dark: bool = False) -> "Iterator[Chrome]":
    """A browser with a new profile below `work`; skips where Chromium or its driver is missing."""
    if CHROMIUM is None or DRIVER is None:
        pytest.skip("needs chromium and chromedriver on the PATH")
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    # a window of Chromium is at least 500 pixels wide: the width of a phone is set by `resize`
    for argument in (*QUIET, f"--user-data-dir={work / 'profile'}", f"--window-size={max(500, size[0])},{size[1]}"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    try:
        resize(driver, *size, dark=dark)
        yield driver
    finally:
        driver.quit()


def resize(driver: "Chrome", width: int, height: int, *, dark: bool = False) -> None:
    """Set the size of the page in pixels, and its colours."""
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})


def until(driver: "Chrome", script: str) -> Any:
    """The value of a script, once it is neither false nor empty."""
    from selenium.webdriver.support.ui import WebDriverWait

    return WebDriverWait(driver, 30).until(lambda page: page.execute_script(f"return {script}"), script)


def requested(driver: "Chrome") -> list[str]:
    """Addresses that pages requested since the last call."""
    events: list[dict[str, Any]] = [json.loads(row["message"])["message"] for row in driver.get_log("performance")]
    return [event["params"]["request"]["url"] for event in events if event["method"] == "Network.requestWillBeSent"]


def complaints(driver: "Chrome") -> list[str]:
    """What the browser's console says since the last call: errors of scripts, and what the policy forbids."""
    return [row["message"] for row in driver.get_log("browser") if row["level"] in ("SEVERE", "WARNING")]


def violations(driver: "Chrome") -> list[str]:
    """Serious and critical violations that axe-core finds in the page as it is."""
    from axe_core_python.selenium import Axe

    found = Axe().run(driver)["violations"]
    return [
        f"{each['id']}: {each['help']}: {[node['html'][:120] for node in each['nodes'][:3]]}"
        for each in found
        if each["impact"] in ("serious", "critical")
    ]
