"""The picture: well-formed, self-contained, and drawn at the right places."""

from xml.etree import ElementTree

import numpy as np
import pytest

from detectors.metrics.labels import Labels
from detectors.metrics.scores import ScoreTable
from ensemble.compare.chart import comparison_chart
from ensemble.compare.comparison import compared

SVG = "{http://www.w3.org/2000/svg}"


def chart_of(*quality, machine="fan"):
    section, target, anomaly, _ = (axis.ravel() for axis in np.indices((2, 2, 2, 10)))
    keys, rng = tuple(map(str, range(len(section)))), np.random.default_rng(0)
    domain = np.where(target, "target", "source")
    labels = Labels(keys, np.full(len(keys), machine), np.where(section, "01", "00"), domain, anomaly == 1)
    tables = {
        f"<q & {value}>": ScoreTable("x", keys, value * (anomaly == 1) + rng.normal(size=len(keys)))
        for value in quality
    }
    result = compared(tables, labels, 2023, baseline="<q & 0.0>", replicates=200)
    return result, ElementTree.fromstring(comparison_chart(result))


@pytest.fixture(scope="module")
def drawn():
    return chart_of(0.0, 0.1, 1.0, 4.0)


def test_every_system_has_a_dot_in_order_and_a_cell_per_section(drawn):
    result, root = drawn
    dots = list(root.iter(f"{SVG}circle"))[: len(result.rows)]
    assert [dot.get("class") for dot in dots] == ["apart", "apart", "close", "baseline"]
    x = np.array([float(dot.get("cx")) for dot in dots])
    scores = np.array([row.evaluation.score for row in result.rows])
    assert np.corrcoef(x, scores)[0, 1] == pytest.approx(1), "a linear axis"
    lines = [line for line in root.iter(f"{SVG}line") if line.get("class") == "line"]
    assert all(float(line.get("x1")) <= place <= float(line.get("x2")) for line, place in zip(lines, x, strict=True))
    cells = list(root.iter(f"{SVG}rect"))[1:]
    assert len(cells) == 2 * len(result.rows)


def test_names_are_text_and_nothing_is_loaded(drawn):
    _, root = drawn
    texts = [text.text for text in root.iter(f"{SVG}text")]
    assert "<q & 4.0>" in texts
    assert not any(name.endswith("href") for element in root.iter() for name in element.attrib)
    assert {element.tag.removeprefix(SVG) for element in root.iter()} == {
        "svg",
        "title",
        "style",
        "rect",
        "line",
        "circle",
        "text",
    }


def test_a_hostile_name_stays_within_the_picture():
    _, root = chart_of(0.0, 1.0, machine="\x1b[2J" + "m" * 300)
    assert all(len(text.text) < 80 for text in root.iter(f"{SVG}text"))


def test_the_highest_score_is_the_darkest(drawn):
    result, root = drawn
    cells = [cell.get("fill") for cell in root.iter(f"{SVG}rect")][1:]
    light = [sum(int(cell[i : i + 2], 16) for i in (1, 3, 5)) for cell in cells]
    values = [value for row in result.rows for value in row.sections().values()]
    assert np.argmin(light) == np.argmax(values)
    assert np.all(np.diff(np.array(light)[np.argsort(values)]) <= 0)
