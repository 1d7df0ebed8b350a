"""The picture of a comparison, one SVG file that needs nothing else: scores with intervals beside a heat map."""

import numpy as np

from ensemble.compare.comparison import Comparison
from ensemble.page.charts import Plot, round_values
from ensemble.page.html import render
from featstore.terminal.shown import one_line

ROW, TOP, SPAN, CELL = 22, 60, 260, 46
"""Pixels: height of a row, of the head, width of the score axis, and of a cell of the heat map."""

LETTER, LONGEST = 6.7, 64
"""Width of a letter in pixels, and most letters of a name."""

LOW, HIGH = (247, 251, 255), (8, 69, 148)
"""Colours (red, green, blue) of the lowest and of the highest score."""

CHANCE = 0.5


def comparison_chart(comparison: Comparison) -> str:
    """The SVG text: a row for each system, the best first; a column for each machine and section."""
    names = [one_line(row.name, LONGEST) for row in comparison.rows]
    left = LETTER * max(map(len, names)) + 20
    limits = [row.limits.score for row in comparison.rows]
    span = max(min(each.low for each in limits) - 0.01, 0.0), min(max(each.high for each in limits) + 0.01, 1.0)
    axis = Plot(left, TOP, SPAN, ROW * len(names), x=span)
    heat = left + SPAN + 30
    values = [[row.sections()[section] for section in comparison.sections] for row in comparison.rows]
    lowest = min(CHANCE, float(np.min(values)))
    rows = []
    for i, (row, name, each) in enumerate(zip(comparison.rows, names, limits, strict=True)):
        x = [axis.at(value, 0)[0] for value in (each.low, each.value, each.high)]
        style = "baseline" if row.difference is None else "apart" if row.test and row.test.significant else "close"
        cells = [(heat + CELL * j, *_cell(value, lowest)) for j, value in enumerate(values[i])]
        rows.append((name, TOP + ROW * i, x, style, cells))
    titles = [
        (heat + CELL * (j + 0.5), one_line(machine, 7), one_line(section, 7))
        for j, (machine, section) in enumerate(comparison.sections)
    ]
    return str(
        render(
            "compare.svg",
            width=round(heat + CELL * len(comparison.sections) + 10),
            height=TOP + ROW * len(names) + 62,
            left=left,
            axis=axis,
            ticks=[(f"{100 * value:g}", axis.at(value, 0)[0]) for value in round_values(*span)],
            rows=rows,
            titles=titles,
            heat=heat,
            year=comparison.year,
            baseline=comparison.baseline,
            row_height=ROW,
            cell_width=CELL,
        )
    )


def _cell(value: float, lowest: float) -> tuple[str, str, str]:
    """Text, colour, and style of the text of a cell."""
    share = (value - lowest) / (1 - lowest) if lowest < 1 else 1.0
    colour = "#" + "".join(f"{round(a + share * (b - a)):02x}" for a, b in zip(LOW, HIGH, strict=True))
    return f"{100 * value:.1f}", colour, "light" if share > 0.55 else "dark"
