"""The tables of a comparison on the terminal: systems with tests, and the score of every section."""

from collections.abc import Sequence

from detectors.metrics.official import rule_of
from ensemble.compare.comparison import SIGNIFICANT, Comparison, Row
from ensemble.output import percent
from featstore.console import table
from featstore.terminal.shown import Block, block, counted

EQUAL, NONE = "equal", "none"
"""Stand for a spread over seeds that is 0, and for a system without a seed."""

BEST = "*"
"""Marks the highest score of a section."""


def comparison_text(comparison: Comparison) -> Block:
    """Both tables, with a line on how to read each; scores in percent, the best system first."""
    significant = sum(row.test is not None and row.test.significant for row in comparison.rows)
    tests = counted(len(comparison.rows) - 1, "comparison")
    return block(
        f"official score ({comparison.year} rule) and mean metrics of {comparison.clips:,} test clips in percent, with "
        "95 % intervals",
        _systems(comparison),
        f"difference: to {comparison.baseline}, on the same clips; p (Holm): corrected for {tests}, at most "
        f"{SIGNIFICANT:g} in {significant}",
        "",
        f"{rule_of(comparison.year).mean} mean of {', '.join(comparison.metrics)} by section ({BEST} the highest)",
        _sections(comparison),
    )


def _systems(comparison: Comparison) -> Block:
    seeds = [f"{comparison.seeds} seeds"] if comparison.seeds > 1 else []
    header = ["system", "official score", *comparison.metrics, "difference", "p", "p (Holm)", *seeds]
    rows = [
        [
            row.name,
            percent(row.limits.score),
            *(percent(row.limits.means[name]) for name in comparison.metrics),
            *_test_cells(row),
            *([seeds_text(row)] if seeds else []),
        ]
        for row in comparison.rows
    ]
    return table(header, rows, text_columns=1)


def _test_cells(row: Row) -> list[str]:
    """Difference with its interval, p-value, and this after correction."""
    if row.difference is None:
        return ["baseline", "", ""]
    if row.test is None:
        return [f"{100 * row.difference:+.2f}", "", ""]
    limits = f"[{100 * row.test.low:+.1f}, {100 * row.test.high:+.1f}]"
    return [f"{100 * row.difference:+.2f} {limits}", f"{row.test.p:.4f}", f"{row.test.p_holm:.4f}"]


def seeds_text(row: Row) -> str:
    """Mean and standard deviation over the seeds in percent, or why there is none."""
    if row.spread is None:
        return NONE
    if not row.spread.varies:
        return EQUAL
    return f"{100 * row.spread.mean:.2f} ± {100 * row.spread.deviation:.2f}"


def _sections(comparison: Comparison) -> Block:
    """Systems by sections, or the other way round where there are more sections."""
    sections, values = comparison.sections, [row.sections() for row in comparison.rows]
    best = {section: max(of_system[section] for of_system in values) for section in sections}
    cells = [
        [f"{100 * of_system[at]:.1f}{BEST if of_system[at] == best[at] else ' '}" for at in sections]
        for of_system in values
    ]
    names = [row.name for row in comparison.rows]
    if len(sections) <= len(names):
        titles = [f"{machine}\n{section}" for machine, section in sections]
        rows = [[name, *row] for name, row in zip(names, cells, strict=True)]
        return table(["system", *titles], rows, text_columns=1)
    columns: Sequence[tuple[str, ...]] = list(zip(*cells, strict=True))
    rows = [[machine, section, *row] for (machine, section), row in zip(sections, columns, strict=True)]
    return table(["machine", "section", *names], rows, text_columns=2)
