"""The report: charts agree with the official metrics, media decode, and all text is escaped."""

import base64
import html
import io
import json
import re
import struct
import subprocess
import sys
import tomllib
import zlib
from collections import Counter
from contextlib import suppress
from dataclasses import replace
from html.parser import HTMLParser
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from click.testing import CliRunner
from jinja2 import UndefinedError
from places import ROOT
from report_plant import RATE, RECIPE, plant, record, store_of

from detectors.metrics.auc import auc, pauc
from ensemble.cli import main
from ensemble.decision.conformal import surprise
from ensemble.decision.drift import Drift
from ensemble.page.charts import Axis, Panel, histogram_chart, nines, pauc_region, roc_points, round_values
from ensemble.page.html import name, page, render, share_bar, table
from ensemble.page.media import Sound, audio_uri, common_gain, png, recordings, spectrogram
from ensemble.recipe import Member
from ensemble.report.build import ReportOptions, read_selection, report_html, write_report
from ensemble.report.clips import DETECTED, FALSE_ALARM, MISSED, chosen_clips
from ensemble.report.selection import selection_part
from ensemble.run import Detection, detect
from featstore.clip import Clip
from featstore.errors import DataError
from featstore.table import ClipTable


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


def png_chunks(data: bytes) -> dict[bytes, bytes]:
    """Chunks of a PNG by name, their checksums verified."""
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    chunks, at = {}, 8
    while at < len(data):
        (length,), kind = struct.unpack(">I", data[at : at + 4]), data[at + 4 : at + 8]
        chunks[kind] = data[at + 8 : at + 8 + length]
        assert struct.unpack(">I", data[at + 8 + length : at + 12 + length]) == (zlib.crc32(kind + chunks[kind]),)
        at += 12 + length
    return chunks


def area(corners: list[tuple[float, float]]) -> float:
    """Area of a polygon, by the shoelace formula."""
    x, y = np.array(corners).T
    return float(abs(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("n_normal", [7, 40])
def test_the_roc_has_the_official_areas(seed: int, n_normal: int) -> None:
    """With ties; 0.1 is a false-alarm rate of 40 normal clips, between two rates of 7."""
    rng = np.random.default_rng(seed)
    normal, anomaly = rng.integers(0, 12, n_normal).astype(float), rng.integers(5, 20, 30).astype(float)
    x, y = roc_points(normal, anomaly)
    assert (x[0], y[0], x[-1], y[-1]) == (0, 0, 1, 1)
    assert np.trapezoid(y, x) == pytest.approx(auc(normal, anomaly))
    region = area(pauc_region(x, y, 0.1))
    assert 0.5 * (1 + (region - 0.005) / 0.095) == pytest.approx(pauc(normal, anomaly)), "McClish (1989)"


def test_the_shaded_region_of_a_small_roc_by_hand() -> None:
    """Two of four anomalies score above all five normal clips, then one normal clip and one anomaly are tied."""
    x, y = roc_points(np.array([5.0, 1, 1, 1, 1]), np.array([9.0, 8, 5, 0]))
    region = pauc_region(x, y, 0.1)
    np.testing.assert_allclose(region, [(0, 0), (0, 0.5), (0.1, 0.625), (0.1, 0), (0, 0)])
    assert area(region) == pytest.approx(0.1 * (0.5 + 0.625) / 2)


def test_the_roc_of_a_perfect_detector_is_a_corner() -> None:
    x, y = roc_points(np.arange(50.0), np.arange(50.0) + 100)
    np.testing.assert_array_equal(np.c_[x, y], [[0, 0], [0, 1], [1, 1]])


def test_spectrograms_show_a_tone_where_it_is() -> None:
    tone = Sound(np.sin(2 * np.pi * 1000 * np.arange(RATE) / RATE).astype(np.float32), RATE)
    S = spectrogram(tone)
    edges_hz = 700 * (10 ** (np.linspace(0, 2595 * np.log10(1 + 8000 / 700), len(S) + 1) / 2595) - 1)
    assert (edges_hz[S.mean(1).argmax()] - 20, edges_hz[S.mean(1).argmax() + 1] + 20) > (0, 1000)
    assert edges_hz[S.mean(1).argmax()] - 20 <= 1000 <= edges_hz[S.mean(1).argmax() + 1] + 20
    assert np.isfinite(spectrogram(Sound(np.zeros(10, np.float32), RATE))).all(), "shorter than a window"
    assert spectrogram(Sound(np.zeros(60 * RATE, np.float32), RATE)).shape[1] <= 400


def test_images_and_players_decode(rng: np.random.Generator) -> None:
    values = rng.integers(0, 256, (7, 5)).astype(np.uint8)
    values[0, :2] = 0, 255
    chunks = png_chunks(png(values))
    assert chunks[b"IHDR"] == struct.pack(">IIBBBBB", 5, 7, 8, 3, 0, 0, 0)
    rows = np.frombuffer(zlib.decompress(chunks[b"IDAT"]), np.uint8).reshape(7, 6)
    np.testing.assert_array_equal(rows, np.pad(values, ((0, 0), (1, 0))), "filter 0, then the palette indices")
    palette = np.frombuffer(chunks[b"PLTE"], np.uint8).reshape(256, 3)
    np.testing.assert_array_equal(palette[[0, 255]], [(0, 0, 4), (252, 253, 191)])
    assert (np.diff(palette.astype(int) @ (299, 587, 114)) >= 0).all(), "lightness rises, so grey prints are readable"
    wave = rng.uniform(-0.5, 0.5, RATE).astype(np.float32)
    uri = audio_uri(Sound(wave, RATE), 1.2, 0.25)
    decoded, rate = sf.read(io.BytesIO(base64.b64decode(uri.partition(",")[2])), dtype="int16")
    assert rate == RATE
    np.testing.assert_array_equal(decoded, (wave[:4000] * 1.2 * 32767).round())
    loud = sf.read(io.BytesIO(base64.b64decode(audio_uri(Sound(wave, RATE), 4, 1).partition(",")[2])), dtype="int16")[0]
    assert (loud.min(), loud.max()) == (-32767, 32767), "louder than full scale is clipped"


def test_a_pair_of_players_shares_one_gain_that_never_clips() -> None:
    loud, quiet = (Sound(np.array([peak, -peak / 2], np.float32), RATE) for peak in (0.5, 0.01))
    assert common_gain([loud, quiet]) == pytest.approx(1.4)
    assert common_gain([quiet]) == pytest.approx(70)
    assert common_gain([Sound(np.zeros(3, np.float32), RATE)]) == 1.0


def test_recordings_outside_the_data_folder_are_never_read(tmp_path: Path) -> None:
    record(tmp_path, [Clip("secret.wav", "fan", "00", "test"), Clip("data/ok.wav", "fan", "00", "test")])
    listen = recordings(tmp_path / "data", RATE, "0")
    assert listen("ok.wav") is not None
    assert listen("../secret.wav") is None
    assert listen(str(tmp_path / "secret.wav")) is None
    assert listen("missing.wav") is None


class Elements(HTMLParser):
    """The elements of a page as (tag, names of the attributes), as a browser reads them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.seen: Counter[tuple[str, tuple[str, ...]]] = Counter()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen[tag, tuple(name for name, _ in attrs)] += 1


def page_about(words: str, root: Path) -> str:
    """A page with `words` in every text that comes from a file: paths, names, notes, warnings, recipe, selection."""
    clips = [replace(clip, machine=words, section=words, path=f"{clip.path}{words}") for clip in plant()]
    recipe = replace(RECIPE, name=words)
    detection = replace(detect(store_of(root / "store", clips), recipe), remarks=(words,))
    shift = Drift(words, words, words, 8, 8, 0.5, 0.001, "lower", 0.0, 1.0, 0.5, 8.0, 8.0)
    assert words in shift.warning
    standing = {"name": words, "score": 0.5, "lead": 0.1, "low": 0.0, "high": 0.2}
    candidate = {"name": RECIPE.members[0].name, "score": 0.5, words: words}
    selection = {
        "reason": words,
        "warnings": [words],
        "standings": [standing],
        "pair_weights": {words: 0.5},
        "candidates": [candidate],
        words: words,
        f"{words}s": {words: words},
        f"{words}t": [{words: words}],
    }
    listen = recordings(record(root / "data", clips), RATE, "0")
    return report_html(detection, ReportOptions(words, top=4), drifts=[shift], listen=listen, selection=selection)


@pytest.mark.parametrize(
    "hostile", ["<script>alert(1)<|script>", "' onload='x", '" onload="x', "<b>&amp;", "{{ 7 * 7 }}{% x %}"]
)
def test_no_text_of_a_file_becomes_markup(hostile: str, tmp_path: Path) -> None:
    """The page about hostile text has the same elements and attributes as the page about harmless text."""
    text, plain = page_about(hostile, tmp_path / "hostile"), page_about("w" * len(hostile), tmp_path / "plain")
    assert Elements(text).seen == Elements(plain).seen
    shown = [
        html.unescape(page_text.partition('id="recipe"')[0]) for page_text in (text, plain)
    ]  # TOML escapes quotes itself
    assert shown[0].count(hostile) == shown[1].count("w" * len(hostile)) > 50


def test_templates_escape_and_refuse_unknown_names() -> None:
    sources = list(Path(str(files("ensemble.page"))).glob("templates/*.html"))
    assert {path.name for path in sources} >= {"report.html", "table.html", "charts.html", "clips.html"}
    assert not [path for path in sources if re.search(r"\|\s*safe|autoescape|Markup", path.read_text())]
    with pytest.raises(UndefinedError, match="'seconds' is undefined"):
        render("clips.html")
    assert "<script" not in table("<script>", ["<script>"], [["<script>"]])
    assert share_bar(0.25, 0.5).endswith('style="width:40px" aria-hidden="true"></span> 25.0')


def test_names_that_are_not_utf_8_show_their_bytes_as_escapes() -> None:
    page("a\udcff\ud800.wav", facts=[], warnings=[], notes=[], parts=[]).encode("utf-8")
    assert r"<h1>a\udcff\ud800.wav</h1>" in page("a\udcff\ud800.wav", facts=[], warnings=[], notes=[], parts=[])


def redecided(detection: Detection, reported: np.ndarray) -> Detection:
    return replace(detection, decided=replace(detection.decided, reported=reported))


def test_false_alarms_come_first_then_misses_then_the_rest(detection: Detection) -> None:
    anomaly = detection.clips.where(label="anomaly")
    flipped = redecided(detection, np.where(np.arange(len(anomaly)) % 3 == 0, ~anomaly, anomaly))
    chosen = chosen_clips(flipped, 8)
    kinds = [kind for kind, _ in chosen]
    assert kinds == [FALSE_ALARM] * 4 + [MISSED] + [DETECTED] * 3
    assert len(chosen_clips(flipped, 10_000)) == int((flipped.decision | anomaly).sum()), "true negatives have no card"
    percentiles = [flipped.percentile[i] for kind, i in chosen if kind == FALSE_ALARM]
    assert percentiles == sorted(percentiles, reverse=True)
    assert not any(kind == FALSE_ALARM for kind, _ in chosen_clips(redecided(detection, anomaly), 8))


def test_the_page_has_charts_metrics_members_and_ranking(text: str, detection: Detection) -> None:
    assert text.count("ROC of fan section") == 4, "title and label of two charts"
    assert text.count("<audio") == 16
    assert text.count("data:image/png;base64,") == 16
    captions = ("Official metrics", "False alarms among normal clips", "Members, fused by mean", "most anomalous of 24")
    for caption in captions:
        assert caption in text
    assert text.count("<table>") == text.count("<caption>") >= 4
    assert text.count("<svg") == text.count('role="img"')
    assert "[[member]]" in text


def test_the_page_is_one_file_without_scripts_or_addresses(text: str) -> None:
    assert "<script" not in text
    assert not re.search(r"https?:|//[a-z]|@import|<link", re.sub(r"base64,[A-Za-z0-9+/=]+", "", text))
    assert "default-src 'none'" in text


def test_without_labels_there_are_ranking_histograms_and_thresholds_only(tmp_path: Path) -> None:
    clips = [replace(clip, label="unknown", domain="unknown") for clip in plant()]
    text = report_html(detect(store_of(tmp_path / "s", clips), RECIPE), ReportOptions())
    assert "ROC" not in text.partition("<body>")[2]
    assert "Official" not in text
    assert "real false-alarm rate" not in text
    assert text.count("Score histogram of") == 4
    assert "12 scored clips; 24 training clips" in text
    assert "Reported: clips with a score above" in text
    assert "--data DATA" in text


def outlines(chart: str, style: str) -> list[list[tuple[float, float]]]:
    """Corners of each run of bars of a style."""
    shape = re.search(rf'd="([^"]+)" class="bars {style}"', chart)
    assert shape is not None
    runs = shape[1].removeprefix("M").split("M")
    return [[(float(x), float(y)) for x, y in (corner.split() for corner in run.split("L"))] for run in runs]


def test_histograms_count_every_score_once() -> None:
    scores = np.array([0.0, 0.1, 0.2, 50.0])
    chart = histogram_chart("h", [Panel("t", np.linspace(0, 1, 300), [("scored", scores)], 0.5)])
    assert 'class="threshold"' in chart
    runs = outlines(chart, "scored")
    assert len(runs) == 4, "four scores far apart have four separate bars"
    heights = [base - top for (_, base), (_, top), *_ in runs]
    assert heights == pytest.approx([heights[0]] * 4, abs=0.11)
    assert runs[-1][-1][0] == pytest.approx(12 + 436), "a score beyond the axis is counted in its last bin"


def test_score_axes_have_round_marks() -> None:
    assert round_values(0.0145, 1.01) == [0.2, 0.4, 0.6, 0.8, 1.0]
    assert round_values(-3, 4) == [-2, 0, 2, 4]
    assert round_values(12_300, 12_900) == [12_400, 12_600, 12_800]
    assert nines(0.3, 0.985) == [0.5, 0.8, 0.9, 0.95, 0.98]
    for low, high in ((0, 1), (-1e-9, 1e-9), (5, 5.0001), (1e6, 9e6)):
        marks = round_values(low, high)
        assert 3 <= len(marks) <= 7
        assert low <= marks[0] < marks[-1] <= high


def test_the_axis_of_fused_scores_is_stretched_near_one() -> None:
    """On this axis 0.9, 0.99 and 0.999 have equal distances."""
    scores = np.array([0.0, 0.9, 0.99, 0.999])
    chart = histogram_chart("h", [Panel("t", scores, [("scored", scores)], 0.95)], Axis(surprise, nines))
    left = [run[0][0] for run in outlines(chart, "scored")]
    assert np.diff(left) == pytest.approx(np.diff(left).mean(), abs=436 / 28 + 0.2), "to a bin"
    marks = re.findall(r'<text x="([^"]+)" y="[^"]+" class="tick middle">([\d.]+)<', chart)
    at = {float(value): float(x) for x, value in marks}
    assert at[0.99] - at[0.9] == pytest.approx(at[0.999] - at[0.99], abs=0.02)


def test_the_command_writes_the_page(tmp_path: Path, data: Path) -> None:
    store_of(tmp_path / "store", plant())
    selection = {"rho": 0.8123456, "pairs": [{"pair": "<i>tone</i>", "rho": 0.5}], "weights": {"tone@0": 0.25}}
    (tmp_path / "sel.json").write_text(json.dumps({**selection, "candidates": [{"name": "e knn", "score": 0.7}]}))
    args = ["report", tmp_path / "store", "-d", "knn", "-e", "e", "--data", data, "--top", "3"]
    args += ["-o", tmp_path / "a" / "r.html"]
    result = CliRunner().invoke(main, [str(arg) for arg in [*args, "--selection", tmp_path / "sel.json"]])
    assert result.exit_code == 0, result.output
    assert "wrote" in result.stderr
    text = (tmp_path / "a" / "r.html").read_text()
    assert text.count("<audio") == 6
    assert "0.8123" in text
    assert "&lt;i&gt;tone" in text
    assert "Official score of the members on generated and on real anomalies" in text
    assert "Rank correlation" not in text, "a single member has no rank correlation"
    wrong = CliRunner().invoke(main, [str(arg) for arg in [*args, "--data", tmp_path / "store"]])
    assert wrong.exit_code == 1
    assert "none of the recordings is below --data" in wrong.stderr


def test_members_are_compared_on_generated_and_real_anomalies(detection: Detection) -> None:
    names = [member.name for member in detection.recipe.members]
    more = replace(
        detection,
        recipe=replace(RECIPE, members=(*detection.recipe.members, Member("e", "gmm"))),
        member_percentiles=np.vstack([detection.member_percentiles, detection.clips.where(label="normal") * 1.0]),
    )
    scores = zip([*names, "e gmm"], (0.55, 0.6, 0.9), strict=True)
    candidates = [{"name": member, "score": score} for member, score in scores]
    text = selection_part({"candidates": candidates}, more, 2023)
    assert text.count('class="dot"') == 3
    assert '<td class="number">90.0</td><td class="number">0.0</td>' in text
    assert "over these 3 members: -0.50" in text, "generated 1 2 3, real 2 3 1"
    assert selection_part(None, more, 2023) == ""
    assert "real anomalies" not in selection_part({"candidates": candidates}, more, None)


def test_members_are_compared_where_all_are_perfect(detection: Detection) -> None:
    perfect = np.tile(detection.clips.where(label="anomaly") * 1.0, (3, 1))
    members = tuple(Member("e", method) for method in ("knn", "lof", "gmm"))
    three = replace(detection, recipe=replace(RECIPE, members=members), member_percentiles=perfect)
    candidates = [{"name": member.name, "score": 1.0} for member in members]
    text = selection_part({"candidates": candidates}, three, 2023)
    assert text.count('cx="286" cy="10" r="4" class="dot"') == 3, "at the top right of an axis from 0.9 to 1"
    assert "undefined, one of them is the same for all members" in text


def test_members_are_compared_in_the_sections_that_the_rule_measures(tmp_path: Path) -> None:
    """Section 01 has no domains, so the rule of 2023 measures section 00 alone."""
    clips = [replace(clip, domain="unknown") if clip.section == "01" else clip for clip in plant()]
    detection = detect(store_of(tmp_path / "s", clips), RECIPE)
    candidates = [{"name": member.name, "score": 0.5} for member in RECIPE.members]
    text = report_html(detection, ReportOptions(year=2023), selection={"candidates": candidates})
    assert "Official score of the members on generated and on real anomalies" in text


def test_a_selection_of_other_members_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "selection.json"
    path.write_text('{"candidates": [{"name": "beats knn"}]}')
    with pytest.raises(DataError, match=r"selection\.json: lists no member of this recipe, for example not"):
        read_selection(path, RECIPE)
    path.write_text(json.dumps({"candidates": [{"name": "beats knn"}, {"name": RECIPE.members[0].name}]}))
    assert len(read_selection(path, RECIPE)["candidates"]) == 2
    chosen = [{"embedding": member.embedding, "view": "", "detector": member.detector} for member in RECIPE.members]
    path.write_text(json.dumps({"candidates": [{"name": "beats knn"}], "members": chosen}))
    assert read_selection(path, RECIPE)["members"] == chosen, "the fixed default need not be among the candidates"


ODD_SELECTIONS = (
    '{"candidates": 7, "members": 1, "standings": {"a": 1}, "pair_weights": [1]}',
    '{"candidates": [7], "members": [1], "standings": [1], "pair_weights": {"a": "b"}}',
    '{"candidates": [{"name": ["e knn:k=1"], "score": 0.5}], "standings": [{}], "pair_weights": {"a": NaN}}',
    '{"candidates": [{"name": "e knn:k=1", "score": "x"}], "standings": [{"name": 1, "score": "x"}], "failed": [[]]}',
    '{"candidates": [{"name": "e knn:k=1", "score": Infinity}], "pair_weights": {"a": Infinity, "b": 1}}',
    '{"standings": [{"name": 1, "score": 1%s, "lead": 0, "low": 0, "high": 0}], "warnings": 3}' % ("0" * 400),
    '{"standings": [{"name": [1], "score": 1, "lead": 0, "low": 0, "high": 0}], "reason": "\\ud800"}',
)


@pytest.mark.parametrize("odd", ODD_SELECTIONS)
def test_a_selection_file_of_odd_values_still_makes_a_page(odd: str, tmp_path: Path, detection: Detection) -> None:
    path = tmp_path / "selection.json"
    path.write_text(odd)
    with suppress(DataError):  # it may be refused
        read_selection(path, RECIPE)
    report_html(detection, ReportOptions(top=1), selection=json.loads(odd)).encode("utf-8")


def test_a_selection_file_that_is_no_selection_is_named(tmp_path: Path) -> None:
    for text in ("[" * 100_000, "{", '{"a": 1%s}' % ("0" * 5000)):
        (tmp_path / "s.json").write_text(text)
        with pytest.raises(DataError, match=r"s\.json: not a readable selection"):
            read_selection(tmp_path / "s.json", RECIPE)
    (tmp_path / "s.json").write_text("[]")
    with pytest.raises(DataError, match=r"s\.json: expected a JSON object, found list"):
        read_selection(tmp_path / "s.json", RECIPE)


def test_a_selection_is_shown_in_words_and_percent(detection: Detection) -> None:
    standing = {"name": "best <3>", "score": 0.875, "lead": 0.031, "low": -0.002, "high": 0.06}
    selection = {
        "reason": "it leads",
        "warnings": ["too easy"],
        "members": [{"embedding": "e", "fingerprint": "f" * 64}],
        "standings": [standing],
        "pair_weights": {"leak@-5": 0.25, "squeal@0": 0.75, "clip@0": 0.0},
        "candidates": [{"name": "e knn", "figure": 0.75, "score": 0.5}],
        "per_machine": None,
        "news": 3,
    }
    text = selection_part(selection, detection, 2023)
    assert "Why this choice: it leads." in text
    assert '<p class="warning">too easy</p>' in text
    assert "f" * 64 not in text
    assert "best &lt;3&gt;" in text
    assert "87.5" in text
    assert "+3.1 [-0.2, +6.0]" in text
    assert "The 1 best of 1 candidates" in text
    assert '<th scope="col" class="number">rank</th>' in text
    assert "figure" not in text
    assert "2 of 3 anomaly types and strengths separate the candidates" in text
    assert text.index("squeal@0") < text.index("leak@-5")
    assert "clip@0" not in text
    assert "per machine" not in text
    assert '<td class="text">news</td><td class="text">3</td>' in text


def test_unknown_values_of_a_selection_are_shown_without_interpretation(detection: Detection) -> None:
    odd = {"standings": [{"name": "a", "points": 0.5}], "pair_weights": "none", "candidates": 7, "members": 1}
    text = selection_part(odd, detection, None)
    assert "points" in text
    assert "0.5" in text


def test_the_ranking_shows_the_outcome_of_each_decision(text: str, detection: Detection) -> None:
    ranking = text[text.index('id="ranking"') : text.index('id="recipe"')]
    anomaly = detection.clips.where(label="anomaly")
    for outcome, rows in (
        (FALSE_ALARM, ~anomaly & detection.decision),
        (MISSED, anomaly & ~detection.decision),
        (DETECTED, anomaly & detection.decision),
        ("normal", ~anomaly & ~detection.decision),
    ):
        cell = outcome.replace(" ", "\N{NO-BREAK SPACE}")
        assert ranking.count(f'<td class="text">{cell}</td>') == rows.sum() > 0
    unlabelled = replace(
        detection, clips=ClipTable.from_clips([replace(clip, label="unknown") for clip in detection.clips])
    )
    assert (
        report_html(unlabelled, ReportOptions(top=1)).count('<td class="text">reported</td>')
        == detection.decision.sum()
    )


def test_long_names_break_between_their_parts() -> None:
    assert name("a/b_c.wav") == '<bdi class="name">a/<wbr>b_<wbr>c.wav</bdi>'
    assert name("fan") == '<bdi class="name">fan</bdi>'
    assert name("") == '<bdi class="name"></bdi>'
    assert name("<b>/&") == '<bdi class="name">&lt;b&gt;/<wbr>&amp;</bdi>'


def test_cards_name_machine_section_and_domain(text: str) -> None:
    machine, section = (f'<bdi class="name">{words}</bdi>' for words in ("fan", "00"))
    assert f'<p class="muted">{machine} section {section}, target domain</p>' in text


def test_a_missing_recording_is_named_and_no_recording_at_all_is_an_error(detection: Detection, data: Path) -> None:
    listen = recordings(data, RATE, "0")
    keys = detection.clips.keys()
    worst = chosen_clips(detection, 1)[0][1]
    text = report_html(detection, ReportOptions(top=1), listen=lambda p: None if p == keys[worst] else listen(p))
    assert text.count("<audio") == 1
    assert "This clip: recording not found" in text
    with pytest.raises(DataError, match="none of the recordings"):
        report_html(detection, ReportOptions(top=1), listen=lambda _: None)


def test_the_page_is_written_whole(tmp_path: Path, detection: Detection) -> None:
    write_report(tmp_path / "deep" / "r.html", report_html(detection, ReportOptions(top=2)))
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["r.html"]
    assert (tmp_path / "deep" / "r.html").read_text().endswith("</html>\n")


def test_help_loads_neither_jinja2_nor_soundfile() -> None:
    code = """
import sys
import ensemble.report.build, ensemble.page.media
from ensemble.cli import main
for command in ([], ["report"]):
    main([*command, "--help"], standalone_mode=False)
print("loaded:", sorted({"jinja2", "soundfile"} & set(sys.modules)))
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.endswith("loaded: []\n")


def test_every_template_is_package_data() -> None:
    """Tests run from the source tree, where a template that the wheel lacks is not missed."""
    patterns = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]
    folder = ROOT / "ensemble" / "page"
    packed = {path for pattern in patterns["ensemble.page"] for path in folder.glob(pattern)}
    assert {path for path in folder.rglob("*") if path.suffix in {".html", ".css", ".js"}} <= packed
