"""Charts as inline SVG: ROC with the pAUC region, score histograms with the threshold, spectrograms with axes.

Colours are classes of page.css, which has a light, a dark and a print version.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

from ensemble.page.html import macros
from ensemble.windows.screen import clock
from featstore.mel import htk_mel

BINS = 28
PANEL = 96
MAX_POINTS = 300


@dataclass(frozen=True)
class Plot:
    """A rectangle in pixels and the ranges of values that it shows."""

    left: float
    top: float
    width: float
    height: float
    x: tuple[float, float] = (0.0, 1.0)
    y: tuple[float, float] = (0.0, 1.0)

    def at(self, x: float, y: float) -> tuple[float, float]:
        """Position of a point in pixels."""
        right = (x - self.x[0]) / (self.x[1] - self.x[0])
        up = (y - self.y[0]) / (self.y[1] - self.y[0])
        return self.left + right * self.width, self.top + (1 - up) * self.height

    def path(self, points: Iterable[tuple[float, float]]) -> str:
        """The points as an SVG path in pixels."""
        pixels = (self.at(x, y) for x, y in points)
        return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in pixels)


def roc_points(normal: np.ndarray, anomaly: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """False-alarm and hit rates at the corners of the ROC, from (0, 0) to (1, 1)."""
    levels = np.unique(np.concatenate([normal, anomaly]))[::-1]
    above = [1 - np.searchsorted(np.sort(scores), levels) / len(scores) for scores in (normal, anomaly)]
    rates = np.array([np.append(0.0, rate) for rate in above])
    steps = np.diff(rates, axis=1)
    straight = (steps[:, 1:] == 0) & (steps[:, :-1] == 0)  # on a vertical or horizontal run
    keep = np.concatenate([[True], ~straight.any(axis=0), [True]])
    return rates[0, keep], rates[1, keep]


def pauc_region(x: np.ndarray, y: np.ndarray, max_fpr: float) -> list[tuple[float, float]]:
    """Corners of the area under the ROC (x, y) up to `max_fpr`: along the curve and back along the x axis."""
    inside = x <= max_fpr
    curve = zip(x[inside].tolist(), y[inside].tolist(), strict=True)
    return [*curve, (max_fpr, float(np.interp(max_fpr, x, y))), (max_fpr, 0.0), (0.0, 0.0)]


@dataclass(frozen=True, eq=False)
class Curve:
    """An ROC: the scores of the normal clips and of the anomalies; `style` is a class of page.css."""

    style: str
    normal: np.ndarray
    anomaly: np.ndarray


def roc_chart(label: str, curves: Sequence[Curve], operating: tuple[float, float], max_fpr: float) -> Markup:
    """ROC curves, with the pAUC region under the first one. `operating`: false-alarm and hit rate at the threshold."""
    points = [roc_points(curve.normal, curve.anomaly) for curve in curves]
    lines = [(curve.style, _thinned(x, y)) for curve, (x, y) in zip(curves, points, strict=True)]
    region = pauc_region(*points[0], max_fpr)
    return Markup(macros("charts.html").roc(label, Plot(46, 10, 240, 240), lines, region, max_fpr, operating))


def scatter_chart(label: str, points: Sequence[tuple[float, float]], x_name: str, y_name: str) -> Markup:
    """Points on axes of the same range, and the diagonal of equal values."""
    high = float(np.ceil(10 * np.max(points)) / 10)
    low = min(float(np.floor(10 * np.min(points)) / 10), high - 0.1)
    plot = Plot(46, 10, 240, 240, x=(low, high), y=(low, high))
    return Markup(macros("charts.html").scatter(label, plot, points, (low, (low + high) / 2, high), x_name, y_name))


def _thinned(x: np.ndarray, y: np.ndarray) -> list[tuple[float, float]]:
    keep = np.unique(np.linspace(0, len(x) - 1, min(len(x), MAX_POINTS)).round().astype(int))
    return list(zip(x[keep].tolist(), y[keep].tolist(), strict=True))


@dataclass(frozen=True, eq=False)
class Panel:
    """One row of a histogram: a title, the reference scores, and groups (style, scores) in front of them.

    more: further thresholds, where not all clips of the row have the same one.
    """

    title: str
    reference: np.ndarray
    groups: Sequence[tuple[str, np.ndarray]]
    threshold: float
    more: tuple[float, ...] = ()

    @property
    def thresholds(self) -> list[float]:
        """All finite thresholds."""
        return [value for value in (self.threshold, *self.more) if np.isfinite(value)]


def round_values(low: float, high: float) -> list[float]:
    """Three to seven round numbers from low to high."""
    rough = (high - low) / 5
    size = 10.0 ** np.floor(np.log10(rough))
    step = size * next(factor for factor in (1, 2, 5, 10) if factor * size >= rough * 0.999)
    return [float(f"{n * step:.12g}") for n in range(int(np.ceil(low / step)), int(np.floor(high / step)) + 1)]


def nines(low: float, high: float) -> list[float]:
    """Ticks from low to high for scores in (0, 1), denser towards 1."""
    return [tick for tick in (0.1, 0.5, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.998, 0.999) if low <= tick <= high]


@dataclass(frozen=True)
class Axis:
    """Maps scores to positions on the axis; `ticks` gives the marked scores of a range."""

    place: Callable[[np.ndarray], np.ndarray] = np.asarray
    ticks: Callable[[float, float], Sequence[float]] = round_values


LINEAR = Axis()


def histogram_chart(label: str, panels: Sequence[Panel], scale: Axis = LINEAR) -> Markup:
    """Panels over a common score axis; bars are shares of their group's clips, so that small groups are visible."""
    values = scale.ticks(*_score_range(panels))
    panels = [_on_axis(panel, scale) for panel in panels]
    low, high = _score_range(panels)
    edges = np.linspace(low, high, BINS + 1)
    drawn_panels = [_panel(panel, edges, 24 + PANEL * row) for row, panel in enumerate(panels)]
    height = PANEL * len(panels) + 44
    axis = Plot(12, 0, 436, height - 44, x=(low, high))
    places = [(value, axis.at(float(scale.place(np.array(value))), 0)[0]) for value in values]
    ticks = [(value, x) for value, x in places if axis.left <= x <= axis.left + axis.width]
    return Markup(macros("charts.html").histogram(label, height, drawn_panels, ticks))


def _on_axis(panel: Panel, scale: Axis) -> Panel:
    groups = [(style, scale.place(scores)) for style, scores in panel.groups]
    placed = [float(scale.place(np.array(value))) for value in panel.thresholds] or [panel.threshold]
    return Panel(panel.title, scale.place(panel.reference), groups, placed[0], tuple(placed[1:]))


def _score_range(panels: Sequence[Panel]) -> tuple[float, float]:
    """Range of the axis: 1 to 99 % of all scores, and all thresholds."""
    scores = np.concatenate([np.concatenate([p.reference, *(scores for _, scores in p.groups)]) for p in panels])
    thresholds = [value for panel in panels for value in panel.thresholds]
    low = min(float(np.quantile(scores, 0.01)), *thresholds, float("inf"))
    high = max(float(np.quantile(scores, 0.99)), *thresholds, float("-inf"))
    margin = 0.02 * (high - low) or abs(high) * 0.02 or 1.0
    return low - margin, high + margin


def _panel(panel: Panel, edges: np.ndarray, top: int) -> tuple[str, Plot, list[tuple[str, str]], list[float]]:
    """Title, plot, outline of the bars of each (style, group), and thresholds."""
    groups = [("reference", panel.reference), *panel.groups]
    shares = [(style, _shares(scores, edges)) for style, scores in groups]
    highest = max(float(share.max(initial=0)) for _, share in shares) or 1.0
    plot = Plot(12, top, 436, PANEL - 28, x=(edges[0], edges[-1]), y=(0, highest * 1.05))
    return panel.title, plot, [(style, _outline(plot, edges, share)) for style, share in shares], panel.thresholds


def _shares(scores: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Share of the scores in each bin; scores beyond the axis are counted in the outermost bins."""
    counts = np.histogram(np.clip(scores, edges[0], edges[-1]), edges)[0]
    return np.asarray(counts / max(1, len(scores)))


def _outline(plot: Plot, edges: np.ndarray, share: np.ndarray) -> str:
    """Outline of the bars; a separate one for each run of bins that are not empty."""
    filled = np.concatenate([[0], share > 0, [0]])
    starts, ends = np.flatnonzero(np.diff(filled) == 1), np.flatnonzero(np.diff(filled) == -1)
    shapes = []
    for start, end in zip(starts, ends, strict=True):
        x = np.repeat(edges[start : end + 1], 2)
        y = np.concatenate([[0.0], np.repeat(share[start:end], 2), [0.0]])
        shapes.append(plot.path(zip(x.tolist(), y.tolist(), strict=True)))
    return "".join(shapes)


def spectrogram_chart(
    label: str,
    uri: str,
    seconds: float,
    rate_hz: int,
    *,
    start_s: float = 0.0,
    event: tuple[float, float] | None = None,
) -> Markup:
    """A spectrogram image with its axes in seconds and kHz.

    start_s: time of its first column in the recording. event: start and end of what is reported, marked where it is
    not the whole picture. A line of class `cursor` is for a script to move.
    """
    end_s = start_s + seconds
    plot = Plot(34, 6, 346, 150, x=(start_s, end_s), y=(0, float(htk_mel(np.array(rate_hz / 2)))))
    shown_khz = [khz for khz in (0.5, 1, 2, 4, 8, 16) if khz * 1000 <= rate_hz / 2]
    heights = [(khz, plot.at(start_s, float(htk_mel(np.array(1000 * khz))))[1]) for khz in shown_khz]
    ticks = round_values(start_s, end_s) if seconds > 0 else [start_s]
    times = [(clock(t), plot.at(t, 0)[0]) for t in ticks]
    marked = None
    if event and (event[0] > start_s + 0.05 or event[1] < end_s - 0.05):
        marked = tuple(plot.at(min(max(t, start_s), end_s), 0)[0] for t in event)
    return Markup(macros("charts.html").spectrogram(label, plot, uri, heights, times, marked))
