"""The report in a real browser: it is drawn, its media play, no script runs and nothing is loaded."""

import base64
import json
import re
import shutil
import subprocess
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from queue import Queue
from threading import Thread
from typing import Any

import pytest
from report_plant import RATE, RECIPE, plant, record, store_of

from ensemble.page.media import recordings
from ensemble.report.build import ReportOptions, report_html
from ensemble.run import Detection, detect

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.fixture(scope="module")
def detection(tmp_path_factory: pytest.TempPathFactory) -> Detection:
    return detect(store_of(tmp_path_factory.mktemp("s") / "store", plant()), RECIPE)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return record(tmp_path_factory.mktemp("data"), plant())


@pytest.fixture(scope="module")
def text(detection: Detection, data: Path) -> str:
    options = ReportOptions("Report of <fan>", top=8, seconds=1.0)
    return report_html(detection, options, listen=recordings(data, RATE, "0"))


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
    assert all(size == [45, 112] for size in answer["images"])


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
