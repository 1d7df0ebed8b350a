"""The whole page: one file, its parts in order, and all text of files escaped."""

import html
import json
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from markupsafe import Markup
from report_plant import RATE, RECIPE, plant, record, store_of

from ensemble.checks.copies import Copies
from ensemble.decision.drift import Drift
from ensemble.marks.file import Mark
from ensemble.page.items import Items
from ensemble.page.media import recordings
from ensemble.page.scored import Scored, scored_of
from ensemble.report import build
from ensemble.report.build import ReportOptions, read_selection, report_html, write_report
from ensemble.report.sounds import Heard
from ensemble.run import Detection, detect
from featstore.errors import DataError


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
    heard = Heard(recordings(record(root / "data", clips), RATE, "0"))
    rows = range(len(detection.clips))
    marks = {row: Mark(clip=words, mark="fault", who=words, when=words, note=words) for row in rows}
    scored = scored_of(detection, title=words, drifts=[shift], where=dict.fromkeys(rows, words))
    options = ReportOptions(words, top=4)
    return report_html(detection, options, scored=scored, heard=heard, selection=selection, marks=marks)


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


def test_the_page_has_charts_metrics_members_and_ranking(text: str, detection: Detection) -> None:
    assert text.count("ROC of fan section") == 4, "title and label of two charts"
    assert text.count('<article class="card event-card"') == 8
    assert text.count("<audio") == text.count('preload="none"') == text.count("data:audio/flac;base64,") == 16
    assert text.count("data:image/png;base64,") == 24, "clip, normal clip and difference of each card"
    captions = ("Official metrics", "False alarms among normal clips", "Members, fused by mean", "All clips by how far")
    for caption in captions:
        assert caption in text
    assert text.count("<table>") == text.count("<caption>") >= 4
    assert text.count("<svg") == text.count('role="img"')
    assert "[[member]]" in text
    order = [
        text.index(f'<section id="{part}">')
        for part in ("events", "sections", "metrics", "members", "ranking", "words", "recipe")
    ]
    assert order == sorted(order)
    assert re.search(r"percentile|\braced?\b", re.sub(r"base64,[A-Za-z0-9+/=]+", "", text)) is None, "unexplained words"


def test_the_tiles_come_before_the_events(detection: Detection, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bool] = []

    def tiles(scored: Scored, *, links: bool, found: Items, marked: Mapping[int, Mark] | None) -> Markup:
        assert found.scored is scored
        asked.append(links)
        return Markup("<p>tiles</p>")

    monkeypatch.setattr(build, "overview", tiles)
    text = report_html(detection, ReportOptions())
    assert text.index('<section id="overview">') < text.index("<p>tiles</p>") < text.index('<section id="events">')
    assert asked == [False], "a file has no page to link to"


def test_the_page_is_one_file_without_addresses(text: str) -> None:
    assert not re.search(r"<script[^>]+>", text), "scripts have neither an address nor a type"
    assert not re.search(r"https?:|//[a-z]|@import|<link", re.sub(r"base64,[A-Za-z0-9+/=]+", "", text))
    assert "default-src 'none'" in text


def test_without_labels_there_are_ranking_histograms_and_thresholds_only(tmp_path: Path) -> None:
    clips = [replace(clip, label="unknown", domain="unknown") for clip in plant()]
    text = report_html(detect(store_of(tmp_path / "s", clips), RECIPE), ReportOptions())
    assert "ROC" not in text.partition("<body>")[2]
    assert "Official" not in text
    assert "Outcome" not in text, "nothing to filter by"
    assert "real false-alarm rate" not in text
    assert text.count("Score histogram of") == 4
    assert "12 scored clips; 24 training clips" in text
    assert "Reported: clips with a score above" in text
    assert "--data DATA" in text


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


def test_tiles_follow_the_marks_and_lead_to_a_part_that_exists(tmp_path: Path) -> None:
    detection = detect(store_of(tmp_path / "store", plant()), RECIPE)
    row = int(detection.decision.argmax())
    page = report_html(detection, ReportOptions(), marks={row: Mark(clip=detection.clips.keys()[row], mark="fault")})
    assert "1 confirmed as a fault" in re.sub("<[^>]+>", "", page)
    targets = set(re.findall(r'href="#([^"]+)" data-machine', page))
    assert targets == {"events"}
    assert targets <= set(re.findall(r'id="([^"]+)"', page))


def test_reports_are_expected_at_the_rate_that_the_training_clips_allow(tmp_path: Path) -> None:
    clips = [clip for clip in plant() if clip.split == "test" or int(Path(clip.path).stem) < 4]
    page = report_html(detect(store_of(tmp_path / "store", clips), RECIPE), ReportOptions())
    text = re.sub("<[^>]+>", " ", page)
    # 1 in 5 of 24 clips, not the 10 % that was asked for
    assert re.search(r"reported clips expected if all were normal\s+5\s", text)


def test_the_false_alarms_of_copies_do_not_count(tmp_path: Path) -> None:
    detection = detect(store_of(tmp_path / "store", plant()), RECIPE)
    normal = detection.clips.where(label="normal")
    keys = [key for key, own in zip(detection.clips.keys(), normal.tolist(), strict=True) if own]
    copies = Copies(exact=dict.fromkeys(keys[1:], "fan/00/train/0.wav"))
    page = report_html(replace(detection, copies=copies), ReportOptions())
    rows = re.sub("<[^>]+>", " ", page[page.index("False alarms among normal clips") :])
    assert re.search(r"Copies of training clips are left out.*?fan\s+00\s+source\s+1\s", rows, re.DOTALL)


def test_the_histogram_says_how_many_clips_the_training_clips_count_as(tmp_path: Path) -> None:
    clips = [replace(clip, attributes={"day": str(i % 4)}) for i, clip in enumerate(plant())]
    page = report_html(detect(store_of(tmp_path / "store", clips), replace(RECIPE, group="day")), ReportOptions())
    assert "the 24 training clips, which count as 4 independent clips (95 % interval" in page
