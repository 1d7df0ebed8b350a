"""The report in a real browser: drawn, played, sorted and filtered; no other script runs and nothing is loaded."""

import base64
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from queue import Queue
from threading import Thread
from typing import Any

import numpy as np
import pytest
from report_plant import RATE

from ensemble.marks.file import Mark
from ensemble.page.media import recordings
from ensemble.page.scored import scored_of
from ensemble.report.build import ReportOptions, report_html
from ensemble.report.sounds import Heard
from ensemble.run import Detection

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


AUTOPLAY = "--autoplay-policy=no-user-gesture-required"

CHECK = """<script>
const out = {title: document.title, rows: document.querySelectorAll('tbody tr').length, audio: [], images: []};
const heard = [...document.querySelectorAll('audio')].map(a => new Promise(done => {
  a.addEventListener('canplaythrough', () => { out.audio.push(a.duration); done(); });
  a.addEventListener('error', () => { out.audio.push('error'); done(); });
  a.preload = 'auto'; a.load();
}));
const seen = [...document.querySelectorAll('image')].map(async i => {
  const image = new Image(); image.src = i.getAttribute('href'); await image.decode();
  out.images.push([image.naturalWidth, image.naturalHeight]);
});
const play = () => new Promise(done => {
  const player = document.querySelector('audio');
  player.addEventListener('ended', () => { out.heard_s = player.currentTime; done(); });
  player.muted = true; player.play().catch(error => { out.heard_s = String(error); done(); });
});
Promise.all([...heard, ...seen]).then(play).then(() => {
  fetch('/', {method: 'POST', body: JSON.stringify(out)});
});
</script></body>"""

LOOK = """<body><img src="URI"><script>
document.images[0].decode().then(() => {
  const canvas = document.createElement('canvas'), image = document.images[0];
  canvas.width = image.naturalWidth; canvas.height = image.naturalHeight;
  const context = canvas.getContext('2d');
  context.drawImage(image, 0, 0);
  const data = context.getImageData(0, 0, canvas.width, canvas.height).data, colours = new Set();
  let sum = 0;
  for (let i = 0; i < data.length; i += 4) {
    sum += data[i + 1];
    colours.add(data[i] * 65536 + data[i + 1] * 256 + data[i + 2]);
  }
  const out = {mean: 4 * sum / data.length, colours: colours.size};
  fetch('/', {method: 'POST', body: JSON.stringify(out)});
});
</script></body>"""


def chromium(work: Path, *options: str) -> list[str]:
    """Command of a headless Chromium with a new profile that resolves no host name."""
    if CHROMIUM is None:
        pytest.skip("needs chromium on the PATH")
    quiet = ("--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run")
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", *quiet, f"--user-data-dir={work / 'profile'}"]
    return [*command, "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1", *options]


def browse(page_path: Path, work: Path, *options: str) -> str:
    """Open a page; returns what Chromium prints with these options."""
    command = chromium(work, *options, page_path.as_uri())
    result = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert result.returncode == 0, result.stderr
    return result.stdout


def answer_of(page_text: str, work: Path) -> dict[str, Any]:
    """JSON that the script of a page posts. Runs in real time, because media do not load in Chromium's virtual time."""
    answers: Queue[dict[str, Any]] = Queue()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.end_headers()
            self.wfile.write(page_text.encode() if self.path == "/" else b"")

        def do_POST(self) -> None:
            answers.put(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        command = chromium(work, "--remote-debugging-port=0", AUTOPLAY, f"http://127.0.0.1:{server.server_port}/")
        browser = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            return answers.get(timeout=30)
        finally:
            browser.terminate()
            browser.wait(20)
            server.shutdown()


def requests(log: Path) -> set[str]:
    """Hosts that the page requested; hosts that Chromium itself requests are left out."""
    urls = re.findall(r'"url":"([a-z]+://[^"/]*)', log.read_text())
    return {url for url in urls if not re.search(r"\.google(apis)?\.com$", url) and not url.startswith("file:")}


def test_chromium_renders_the_page_and_plays_its_media(text: str, tmp_path: Path) -> None:
    path, log = tmp_path / "r.html", tmp_path / "net.json"
    path.write_text(text, encoding="utf-8")
    dom = browse(path, tmp_path, "--dump-dom", f"--log-net-log={log}")
    assert "<title>Report of &lt;fan&gt;</title>" in dom, "a hostile file name was executed"
    assert dom.count("<table>") == text.count("<table>")
    assert requests(log) == set()
    open_policy = re.sub(r"<meta http-equiv[^>]*>", "", text)
    answer = answer_of(open_policy.replace("</body>", CHECK), tmp_path)
    assert answer["title"] == "Report of <fan>"
    assert answer["rows"] > 24
    assert len(answer["audio"]) == 16
    assert all(duration == pytest.approx(1.0, abs=0.01) for duration in answer["audio"])
    assert answer["heard_s"] == pytest.approx(1.0, abs=0.01), "plays to the end"
    assert len(answer["images"]) == 24
    assert all(size == [30, 112] for size in answer["images"])


def test_the_network_check_can_fail(tmp_path: Path) -> None:
    path, log = tmp_path / "r.html", tmp_path / "net.json"
    path.write_text('<img src="http://report.invalid/x.png">', encoding="utf-8")
    browse(path, tmp_path, "--dump-dom", f"--log-net-log={log}")
    assert requests(log) == {"http://report.invalid"}


def test_the_page_is_not_blank_on_a_phone_in_dark_mode_and_in_print(text: str, tmp_path: Path) -> None:
    path = tmp_path / "r.html"
    path.write_text(text, encoding="utf-8")
    for dark, options in ((False, ("--window-size=390,800",)), (True, ("--window-size=1200,900", "--force-dark-mode"))):
        shot = tmp_path / "shot.png"
        browse(path, tmp_path, f"--screenshot={shot}", "--hide-scrollbars", *options)
        uri = f"data:image/png;base64,{base64.b64encode(shot.read_bytes()).decode()}"
        pixels = answer_of(LOOK.replace("URI", uri), tmp_path)
        assert pixels["colours"] > 200, "a blank page has 1"
        assert (pixels["mean"] < 120) == dark
    browse(path, tmp_path, f"--print-to-pdf={tmp_path / 'r.pdf'}")
    assert (tmp_path / "r.pdf").stat().st_size > 20_000


OTHER = "<script>document.title = 'owned'</script>"


def test_the_scripts_of_the_page_run_and_no_other(text: str, tmp_path: Path) -> None:
    path = tmp_path / "r.html"
    path.write_text(text.replace("</body>", f"{OTHER}</body>"), encoding="utf-8")
    dom = browse(path, tmp_path, "--dump-dom")
    assert "8 of 8 cards shown" in dom, "the page's own script has run"
    assert "<title>Report of &lt;fan&gt;</title>" in dom
    path.write_text(re.sub(r"<meta http-equiv[^>]*>", "", text).replace("</body>", f"{OTHER}</body>"), encoding="utf-8")
    assert "<title>owned</title>" in browse(path, tmp_path, "--dump-dom"), "the policy is what stops it"


@pytest.fixture(scope="module")
def driver() -> Iterator[Any]:
    """A Chromium that opens files."""
    webdriver = pytest.importorskip("selenium.webdriver")
    if CHROMIUM is None or shutil.which("chromedriver") is None:
        pytest.skip("needs chromium and chromedriver on the PATH")
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    # a page that scrolls smoothly is still moving when the driver clicks; this one scrolls at once for those who ask
    for option in ("--headless=new", "--no-sandbox", "--disable-gpu", AUTOPLAY, "--force-prefers-reduced-motion"):
        options.add_argument(option)
    browser = webdriver.Chrome(options=options, service=webdriver.ChromeService(shutil.which("chromedriver")))
    yield browser
    browser.quit()


@pytest.fixture(scope="module")
def written(detection: Detection, data: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The address of a page with all reported and missed clips, times that fall from row to row, and a mark."""
    scored = scored_of(detection, title="t", times=1.7e9 - 1000.0 * np.arange(24))
    marks = {row: Mark(clip="a", mark="fault", who="Ana") for row in (19, 22)}
    options = ReportOptions("Cards", top=30, seconds=1.0)
    heard = Heard(recordings(data, RATE, "0"))
    path = tmp_path_factory.mktemp("page") / "r.html"
    path.write_text(report_html(detection, options, scored=scored, heard=heard, marks=marks), encoding="utf-8")
    return path.as_uri()


@pytest.fixture
def opened(driver: Any, written: str) -> Any:
    """The browser with the page as it is when it is first opened."""
    driver.get("about:blank")
    driver.get(written)
    return driver


def cards(driver: Any, name: str) -> list[str]:
    """An attribute of every card that is displayed, in its order."""
    shown = "[...document.querySelectorAll('#cards > article')].filter(card => card.offsetHeight)"
    return list(driver.execute_script(f"return {shown}.map(card => card.dataset[{json.dumps(name)}])"))


def choose(driver: Any, selector: str, value: str) -> None:
    from selenium.webdriver.common.by import By
    from selenium.webdriver.support.select import Select

    Select(driver.find_element(By.CSS_SELECTOR, selector)).select_by_value(value)


def count(driver: Any) -> str:
    return str(driver.execute_script("return document.getElementById('cards-count').textContent"))


def test_cards_are_sorted_and_filtered(opened: Any) -> None:
    order = cards(opened, "order")
    assert order == [str(i) for i in range(len(order))]
    total = len(order)
    assert count(opened) == f"{total} of {total} cards shown"
    choose(opened, "#cards-sort", "time")
    times = [float(time) for time in cards(opened, "time")]
    assert times == sorted(times, reverse=True)
    assert cards(opened, "order") != order
    choose(opened, "#cards-sort", "place")
    assert cards(opened, "section") == sorted(cards(opened, "section"))
    choose(opened, "#cards-sort", "order")
    assert cards(opened, "order") == order
    choose(opened, "[data-filter=outcome]", "missed anomaly")
    missed = cards(opened, "outcome")
    assert set(missed) == {"missed anomaly"}
    assert count(opened) == f"{len(missed)} of {total} cards shown"
    choose(opened, "[data-filter=section]", "01")
    assert set(cards(opened, "section")) == {"01"}
    assert set(cards(opened, "outcome")) == {"missed anomaly"}, "both filters hold"
    opened.find_element("id", "cards-reset").click()
    assert cards(opened, "order") == order
    choose(opened, "[data-filter=mark]", "fault")
    assert set(cards(opened, "mark")) == {"fault"}
    opened.find_element("id", "cards-reset").click()
    opened.find_element("id", "cards-text").send_keys("ANA  <img src=x")
    assert cards(opened, "order") == [] or set(cards(opened, "mark")) == {"fault"}
    assert count(opened) == f"{len(cards(opened, 'order'))} of {total} cards shown"
    opened.find_element("id", "cards-reset").click()


def test_a_filter_has_a_name_and_works_by_keyboard(opened: Any) -> None:
    fields = "[...document.querySelectorAll('#cards-controls select, #cards-controls input')]"
    names = opened.execute_script(f"return {fields}.map(field => field.labels[0].innerText)")
    assert all(names)
    field = opened.find_element("id", "cards-text")
    field.send_keys("marked fault")
    assert opened.switch_to.active_element == field
    assert set(cards(opened, "mark")) == {"fault"}
    opened.find_element("id", "cards-reset").send_keys(" ")
    assert len(cards(opened, "order")) > 2


def test_a_card_that_is_filtered_away_falls_silent(opened: Any) -> None:
    audio = "document.querySelector('article[data-order=\"0\"] audio')"
    opened.execute_async_script(f"const a = {audio}; a.muted = a.loop = true; a.play().then(arguments[0])")
    paused = f"return {audio}.paused"
    assert opened.execute_script(paused) is False
    opened.find_element("id", "cards-text").send_keys("no card has this")
    assert opened.execute_script(paused) is True
    opened.find_element("id", "cards-reset").click()


def test_print_and_a_page_without_scripts_show_every_card(opened: Any) -> None:
    opened.find_element("id", "cards-text").send_keys("no card has this")
    assert cards(opened, "order") == []
    opened.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    printed = cards(opened, "order")
    assert len(printed) == opened.execute_script("return document.querySelectorAll('#cards > article').length")
    opened.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
    opened.find_element("id", "cards-reset").click()
    opened.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    opened.refresh()
    try:
        document = opened.execute_cdp_cmd("DOM.getDocument", {})["root"]["nodeId"]
        shown = opened.execute_cdp_cmd("DOM.querySelectorAll", {"nodeId": document, "selector": "#cards > article"})
        assert len(shown["nodeIds"]) == len(printed)
        hidden = opened.execute_cdp_cmd("DOM.querySelectorAll", {"nodeId": document, "selector": "[hidden]"})
        assert len(hidden["nodeIds"]) == 1, "only what sorts and filters is hidden"
    finally:
        opened.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
        opened.refresh()


def test_nothing_loads_before_it_is_played_and_a_phone_scrolls_only_down(opened: Any) -> None:
    states = opened.execute_script("return [...document.querySelectorAll('audio')].map(a => a.networkState)")
    assert states
    assert set(states) <= {0, 1}, "no player loads"
    size = {"width": 375, "height": 800, "deviceScaleFactor": 1, "mobile": True}
    opened.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    assert opened.execute_script("return document.documentElement.scrollWidth") == 375
    opened.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
