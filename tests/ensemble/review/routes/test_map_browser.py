"""Map and search in a real browser: points are drawn, clicked, chosen, hidden and listed, and nothing breaks."""

import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from browser import browser, complaints, resize, until, violations
from review_plant import served, session_of

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

pytestmark = pytest.mark.slow

COLOURED = """
const canvas = document.getElementById("map-canvas");
const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
let coloured = 0;
for (let i = 0; i < data.length; i += 4) {
  const parts = [data[i], data[i + 1], data[i + 2]];
  if (Math.max(...parts) - Math.min(...parts) > 60) coloured += 1;
}
return coloured;
"""
SEND = """
const canvas = document.getElementById("map-canvas");
const box = canvas.getBoundingClientRect();
const mouse = { pointerType: "mouse", pointerId: 1, button: 0, bubbles: true };
const send = (type, x, y) =>
  canvas.dispatchEvent(new PointerEvent(type, { clientX: box.left + x, clientY: box.top + y, ...mouse }));
"""
CLICK = f"""{SEND}
for (let y = 10; y < box.height - 50; y += 3) for (let x = 10; x < box.width; x += 3) {{
  send("pointermove", x, y);
  if (!document.getElementById("map-tip").hidden) {{
    send("pointerdown", x, y);
    send("pointerup", x, y);
    return document.getElementById("map-clip").textContent;
  }}
}}
return "";
"""
LASSO = f"""{SEND}
const [w, h] = [box.width - 2, box.height - 2];
send("pointerdown", 1, 1);
for (const [x, y] of [[w / 2, 1], [w / 2, h], [1, h]]) send("pointermove", x, y);
send("pointerup", 1, h);
"""


def text(driver: "Chrome", name: str) -> str:
    return str(driver.execute_script("return document.getElementById(arguments[0]).textContent", name))


def press(driver: "Chrome", name: str) -> None:
    driver.execute_script("document.getElementById(arguments[0]).click()", name)


def test_the_map_is_drawn_and_points_are_listed(tmp_path: Path) -> None:
    with served(session_of(tmp_path)) as address, browser(tmp_path) as driver:
        driver.get(f"{address}/#map")
        assert until(driver, "document.getElementById('map-state')?.textContent") == "72 clips shown."
        time.sleep(0.3)
        drawn = driver.execute_script(COLOURED)
        assert drawn > 72 * 8
        legend = driver.find_elements("css selector", "#map-legend button")
        assert [button.text for button in legend] == ["fan section 00 36", "fan section 01 36"]
        legend[0].click()
        time.sleep(0.3)
        assert legend[0].get_attribute("aria-pressed") == "false"
        assert driver.execute_script(COLOURED) < 0.7 * drawn
        press(driver, "map-view-list")
        assert "36 clips chosen" in text(driver, "map-list"), "hidden points are not chosen"
        legend[0].click()
        assert "section" in driver.execute_script(CLICK)
        press(driver, "map-lasso")
        driver.execute_script(LASSO)
        chosen = int(until(driver, "document.querySelector('#map-list h3').textContent").split()[0])
        rows = driver.find_elements("css selector", ".map-rows li")
        assert 0 < chosen == len(rows) < 72
        driver.find_element("id", "map-wrap").send_keys("-\ue006")
        assert until(driver, "document.activeElement.textContent") == "72 clips chosen"
        assert driver.execute_script("return document.title") == "Map · store", "no script of a file name ran"
        assert violations(driver) == []
        resize(driver, 375, 800, dark=True)
        assert driver.execute_script("return document.documentElement.scrollWidth") <= 375
        assert violations(driver) == []


def test_search_in_a_browser(tmp_path: Path) -> None:
    page = session_of(tmp_path)
    with served(page) as address, browser(tmp_path) as driver:
        driver.get(f"{address}/#search?clip=fan%2F00%2Ftrain%2F3.wav")
        assert until(driver, "document.querySelectorAll('.found li').length") == 12
        assert violations(driver) == []
        driver.find_element("css selector", ".found .links a").click()
        until(driver, "!document.querySelector('#search-found h3').textContent.includes('train/3.wav')")
        complaints(driver)
        file = tmp_path / "a.wav"
        file.write_bytes(b"no sound")
        driver.find_element("id", "search-file").send_keys(str(file))
        assert "a file cannot be embedded here" in until(driver, "document.getElementById('alert').textContent")
        driver.execute_script(
            "document.getElementById('alert').textContent = '';"
            "const dropped = new DataTransfer();"
            "dropped.items.add(new File(['no sound'], 'b.wav'));"
            "const event = new DragEvent('drop', { dataTransfer: dropped, bubbles: true, cancelable: true });"
            "document.getElementById('search-drop').dispatchEvent(event);"
        )
        assert "a file cannot be embedded here" in until(driver, "document.getElementById('alert').textContent")
        resize(driver, 375, 800)
        assert driver.execute_script("return document.documentElement.scrollWidth") <= 375
