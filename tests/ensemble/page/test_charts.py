"""Charts agree with the official metrics, and show every score and every threshold."""

import re

import numpy as np
import pytest

from detectors.metrics.auc import auc, pauc
from ensemble.decision.conformal import surprise
from ensemble.page.charts import (
    Axis,
    Panel,
    histogram_chart,
    nines,
    pauc_region,
    roc_points,
    round_values,
    spectrogram_chart,
)


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


def test_a_panel_shows_each_threshold_that_decides_its_clips() -> None:
    scores = np.linspace(0, 1, 50)
    groups = [("unknown", scores)]
    assert histogram_chart("h", [Panel("t", scores, groups, 0.5)]).count('class="threshold"') == 1
    both = histogram_chart("h", [Panel("t", scores, groups, 0.5, (0.75,))])
    left = [float(x) for x in re.findall(r'd="M([\d.]+) [^"]*" class="threshold"', both)]
    assert len(left) == 2
    assert left[1] > left[0]
    none = histogram_chart("h", [Panel("t", scores, groups, float("inf"), (float("inf"),))])
    assert 'class="threshold"' not in none
    stretched = histogram_chart("h", [Panel("t", scores[:-1], groups, 0.5, (0.75,))], Axis(surprise, nines))
    assert stretched.count('class="threshold"') == 2


def test_a_spectrogram_has_its_event_and_a_cursor_on_its_time_axis() -> None:
    chart = spectrogram_chart("s", "data:,", 10.0, 16_000, start_s=20.0, event=(22.0, 27.0))
    place = {key: float(value) for key, value in re.findall(r'data-(left|width|start|end)="([^"]+)"', chart)}
    assert (place["start"], place["end"]) == (20.0, 30.0)
    marked = re.search(r'<rect x="([^"]+)" [^>]*width="([^"]+)" [^>]*class="event"', chart)
    assert marked is not None
    assert float(marked[1]) == pytest.approx(place["left"] + 0.2 * place["width"])
    assert float(marked[2]) == pytest.approx(0.5 * place["width"])
    assert 'class="event"' not in spectrogram_chart("s", "data:,", 10.0, 16_000, event=(0.0, 10.0)), "the whole picture"
    assert "0:30" in chart
    assert place["left"] + place["width"] + 12 <= 400, "the last tick is not cut off"
