"""Names full of control characters, through every command: nothing that is printed, logged or drawn is a command."""

import contextlib
import json
import shutil
import unicodedata
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from click.testing import CliRunner, Result

from ensemble.cli import main as detect
from ensemble.page.html import SCRIPTS
from featstore.cli import main as featstore

pytestmark = pytest.mark.usefixtures("unsynced")

RATE = 16000
HOSTILE = "\x1b[31mRED\x1b[0m\x1b]0;title\x07\nforged line\r\x9b2J\u202egnp\u2066\u200b\u2028<script>alert(1)</script>"
FAN = "fan\x1b[2J\u202e"
"""A machine."""

NOT_UTF8 = "n\udcff\udc9b"


def sound(path: Path, seed: int, tone_hz: float = 0.0) -> None:
    """A second of noise, with a tone if there is one."""
    time_s = np.arange(RATE) / RATE
    wave = np.random.default_rng(seed).normal(0, 0.05, RATE) + 0.3 * np.sin(2 * np.pi * tone_hz * time_s)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        sf.write(file, wave, RATE, format="WAV", subtype="PCM_16")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A machine whose names, and those of its recordings, hold everything that a terminal acts on."""
    root = tmp_path_factory.mktemp("hostile") / "data\x1b[1m"
    for part, n in (("train/normal", 16), ("test/normal", 4)):
        for i in range(n):
            sound(root / FAN / part / f"{i}{HOSTILE.replace('/', '_') if i % 2 else NOT_UTF8}.wav", i)
    for i in range(4):
        sound(root / FAN / "test/abnormal" / f"a{i}{HOSTILE.replace('/', '_')}.wav", 100 + i, 900.0)
    (root / FAN / "test/abnormal" / f"bad{HOSTILE.replace('/', '_')}.wav").write_bytes(b"x")
    return root


def check(text: str) -> None:
    """Every character has a shape, or breaks a line."""
    categories = {c: unicodedata.category(c) for c in set(text) - {"\n"}}
    seen = [c for c, category in categories.items() if category[0] == "C" or category in {"Zl", "Zp"}]
    assert not seen, sorted(map(ascii, seen))
    assert not any(line.startswith("forged line") for line in text.splitlines())


def run(*words: object, code: int = 0) -> Result:
    """A command, whose whole output is harmless."""
    program = featstore if words[0] in featstore.list_commands(None) else detect  # type: ignore[arg-type]
    result = CliRunner().invoke(program, [str(word) for word in words])
    assert result.exit_code == code, (words, result.output, result.exception)
    check(result.stdout)
    check(result.stderr)
    return result


@pytest.fixture(scope="module")
def store(data: Path) -> Path:
    path = data.parent / "store\x1b[5m"
    built = run("build", data, path, "-e", "logmel", "--workers", 0, code=3)
    assert r"bad\x1b[31mRED" in built.stderr
    assert r"fan\x1b[2J\u202e" in built.stderr
    return path


@pytest.fixture(scope="module")
def model(store: Path) -> Path:
    path = store.with_name("plant\x1b.model")
    run("fit", store, "-d", "mahalanobis", "-e", "logmel@mean", "-o", path)
    return path


def test_the_case_is_hostile_and_its_data_stay_as_they_are(data: Path, store: Path) -> None:
    from featstore.store import FeatureStore

    paths = [clip.path for clip in FeatureStore.open(store).clips("logmel")]
    assert any("\n" in path for path in paths)
    assert any("\udcff" in path for path in paths)
    assert all((data / path).exists() for path in paths)


def test_info(store: Path) -> None:
    assert r"fan\x1b" in run("info", store).stdout
    assert r"\x1b]0;title\x07\nforged line" in run("info", store, "--rejected").stdout
    assert json.loads(run("info", store, "--json").stdout)["path"] == str(store)


def test_scan_and_a_dry_run(data: Path, store: Path) -> None:
    assert r"fan\x1b[2J" in run("scan", data).stdout
    run("build", data, store, "-e", "logmel", "--dry-run")
    run("build", data, store, "-e", "logmel", "--workers", 0)


def test_verify_and_repair_of_a_damaged_store(store: Path) -> None:
    copy = store.with_name("copy\x1b[2J")
    shutil.copytree(store, copy)
    run("verify", copy)
    shard = next((copy / "shards").iterdir())
    shard.write_bytes(shard.read_bytes()[:-1] + b"?")
    (copy / "shards" / "stray\x1b[2J\n.h5").write_bytes(b"?")
    assert "copy" in run("verify", copy, code=4).stdout + run("info", copy, code=4).stderr
    run("repair", copy)


def test_run_and_evaluate(store: Path, data: Path) -> None:
    out = store.with_name("results\x1b")
    shown = run(store, "-d", "mahalanobis", "-e", "logmel@mean", "-o", out, "--data", data, code=3)
    assert r"\x1b]0;title\x07\nforged line" in shown.stdout
    run("evaluate", out / "scores.csv", store, code=3)
    run("neighbours", store, next(iter((data / FAN / "test/abnormal").glob("a1*"))), "-e", "logmel@mean")
    run("neighbours", store, "gone\x1b[2J.wav", "-e", "logmel@mean", code=1)


class Reader(HTMLParser):
    """Collects what a browser would show, and every element."""

    def __init__(self) -> None:
        super().__init__()
        self.elements: list[str] = []
        self.handlers: list[str] = []
        self.texts: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(tag)
        self.handlers += [name for name, value in attrs if name.startswith("on") or (value or "").startswith("java")]
        self.texts += [value or "" for name, value in attrs if name not in {"src", "href", "style", "d"}]

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def test_report(store: Path, data: Path) -> None:
    page = store.with_name("report.html")
    run("report", store, "-d", "mahalanobis", "-e", "logmel@mean", "--data", data, "-o", page)
    text = page.read_text(encoding="utf-8")
    reader = Reader()
    reader.feed(text)
    assert reader.elements.count("script") == len(SCRIPTS), "those of the page itself"
    assert "audio" in reader.elements
    assert not reader.handlers
    shown = "".join(reader.texts)
    check(shown)
    assert r"\x1b[31mRED" in shown
    assert "<_script>" in shown or "<script>" in shown, "the name is there, as text"


def test_marks(store: Path, data: Path) -> None:
    clip = next(iter((data / FAN / "test/abnormal").glob("a2*"))).relative_to(data)
    run("mark", store, clip, "fault", "--who", "me\x1b[2J", "--note", "loud\u202e\nforged line")
    assert r"loud\u202e\nforged line" in run("marks", store).stdout
    run("mark", store, clip, "fault")
    run("mark", store, "gone\x1b[2J\n.wav", "fault", code=1)
    run("marks", store)
    run("marks", store, "--json")
    run("marks", store, "--csv", store.with_name("marks\x1b.csv"))


def test_score(model: Path, data: Path) -> None:
    folder = data / FAN / "test/abnormal"
    shown = run("score", model, folder, "--machine", FAN, "--section", "00", code=3)
    assert r"\x1b[31mRED" in shown.stdout
    assert "rejected: " in shown.stderr
    run("score", model, folder, "--machine", FAN, "--section", "00", "--json", code=3)
    run("score", model, folder, "--machine", "pump\x1b[2J", "--section", "00", "--json", code=1)
    raw = CliRunner().invoke(detect, ["score", str(model), str(folder), "--machine", FAN, "--section", "00", "--csv"])
    assert b"\x1b[31mRED" in raw.stdout_bytes, "a program that reads the CSV gets the names as they are"


def test_watch(model: Path, data: Path) -> None:
    log = model.with_name("watch.log")
    folder = data / FAN / "test"
    words = ["--machine", FAN, "--section", "00", "--once", "--settle", "0.01", "--interval", "0.01"]
    shown = run("watch", model, folder, *words, "--journal", model.with_name("journal"), "--log", log, code=3)
    check(log.read_text(encoding="utf-8"))
    assert any("\x1b[31mRED" in json.loads(line).get("file", "") for line in shown.stdout.splitlines())
    assert r"\x1b[31mRED" in log.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["info", "no\x1b[2J\nstore"], 2),
        (["info", "--\x1b[2J"], 2),
        (["--\x1b[2J\u202e", "info"], 2),
        (["bu\x1b[2J\nild"], 2),
        (["scan", ".", "--layout", "a\x1b[2J"], 1),
        (["build", ".", "x", "-e", "log\x1b[2J"], 2),
        (["build", ".", "x", "--unit-clips", "\x1b[2J"], 2),
        (["build", ".", "x", "--dtype", "\x1b[2J"], 2),
        (["build", ".", "x", "--channel", "\x1b[2J"], 1),
        (["build", ".", "x", "--anomalies", "\x1b[2J"], 2),
        (["watch", "no\x1b.model", "."], 2),
        (["archive", ".", ".", "--memory", "\x1b[2J"], 2),
        (["recipes", "\x1b[2J"], 1),
    ],
)
def test_usage_errors_repeat_arguments_as_escapes(words: list[str], code: int, tmp_path: Path) -> None:
    with contextlib.chdir(tmp_path):
        sound(tmp_path / "a.wav", 0)
        result = CliRunner().invoke(detect if words[0] in ("watch", "archive", "recipes") else featstore, words)
    assert result.exit_code in {1, 2}, result.output
    assert result.exit_code == code
    assert "\\x1b" in result.stderr
    check(result.stderr)
