#!/usr/bin/env python3
"""The tables of docs/systems.md and docs/systems_measured.md: print the pages, or --write them.

    python scripts/systems_page.py [--write]

Each table stands between two marks with its name. `systems` has every recipe: what was published, what was measured
here, and what differs. `small` has the settings of `bench_systems.py --small`. `measured NAME` has the rows of one data
set of docs/systems_measured.csv, to which `bench_systems.py --record` appends. Of several measurements of a system on
one data set, the last is shown. Data sets without marks are in the file only.
"""

import argparse
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from systems_measured import FACTS, Measured, cells, facts, header, line, read_measured, rule_line, score_text
from systems_small import SMALL, Small

from embedders import EMBEDDERS
from ensemble.systems.catalogue import System, find_system, names

ROOT = Path(__file__).resolve().parents[1]
PAGES = (ROOT / "docs" / "systems.md", ROOT / "docs" / "systems_measured.md")
MEASURED = ROOT / "docs" / "systems_measured.csv"
STARTS = re.compile(r"^<!-- (.+): written by scripts/systems_page.py -->$", re.MULTILINE)
OF_DATA_SET = "measured "
NOTHING = "Not measured yet.\n"
UNTRAINED_SHOWN = 6
"""Best views of the embeddings without training that a table shows."""


def marks(name: str) -> tuple[str, str]:
    """The lines before and after a written part."""
    return f"<!-- {name}: written by scripts/systems_page.py -->\n", f"<!-- end of {name} -->\n"


def with_part(page: str, name: str, text: str) -> str:
    """The page with a text between the marks of a part; ValueError where they are missing or repeated."""
    start, end = marks(name)
    if page.count(start) != 1 or page.count(end) != 1 or page.index(end) < page.index(start):
        raise ValueError(f"expected one line {start.strip()!r} and after it one line {end.strip()!r}")
    head, rest = page.split(start)
    return f"{head}{start}\n{text}\n{end}{rest.split(end)[1]}"


def written(page: str, rows: Sequence[Measured], systems: Sequence[System]) -> str:
    """The page with every part for which it has marks; ValueError for a mark that is unknown or not closed."""
    for name in STARTS.findall(page):
        page = with_part(page, name, _part(name, rows, systems))
    return page


def _part(name: str, rows: Sequence[Measured], systems: Sequence[System]) -> str:
    if name.startswith(OF_DATA_SET):
        of_set = [row for row in rows if row.dataset == name.removeprefix(OF_DATA_SET)]
        return measured_table(of_set) if of_set else NOTHING
    parts = {"systems": lambda: systems_table(systems, rows), "small": small_table}
    if name not in parts:
        raise ValueError(f"no part {name!r}; choose from {', '.join(parts)}, {OF_DATA_SET}NAME")
    return parts[name]()


def systems_table(systems: Iterable[System], rows: Sequence[Measured]) -> str:
    """A line for every system, oldest publication first."""
    ordered = sorted(systems, key=lambda system: (system.published.year, system.name))
    head = ["recipe", "system", "published", "measured here", "differs from the publication"]
    return "\n".join([line(head), rule_line(len(head)), *(line(_system(system, rows)) for system in ordered), ""])


def _system(system: System, rows: Sequence[Measured]) -> list[str]:
    last = {row.dataset: row for row in own_rows(rows) if row.system == system.name}
    here = "; ".join(f"{name} {score_text(row)}{_restriction(row)}" for name, row in last.items()) or "not yet"
    published = f"{system.published.figure} ({system.published.source})"
    texts = (system.title, published, here, system.differs or "nothing known")
    return [f"`{system.name}`", *(text.replace("|", "\\|") for text in texts)]


def _restriction(row: Measured) -> str:
    """What limits a score: the part of a note before its colon."""
    limit, colon, _ = row.note.partition(":")
    return f" ({limit})" if colon else ""


def small_table() -> str:
    """Small settings of every kind of network that exists."""
    head = ["embedder", "batch", "learning rate", "clips seen", "other settings"]
    kinds: dict[Small, list[str]] = {}
    for name, small in SMALL.items():
        if name in EMBEDDERS:
            kinds.setdefault(small, []).append(f"`{name}`")
    lines = [
        [", ".join(named), str(small.batch), _rate(small), f"{small.clips:,}", ", ".join(small.settings)]
        for small, named in {**kinds, Small(): ["others"]}.items()
    ]
    return "\n".join([line(head), rule_line(len(head)), *map(line, lines), ""])


def _rate(small: Small) -> str:
    return f"{small.learning_rate:g}" if small.learning_rate else "recipe"


def own_rows(rows: Iterable[Measured]) -> list[Measured]:
    """The first row of every system, data set and command, which is that of the system's own detector."""
    first: dict[tuple[str, str, str], Measured] = {}
    for row in rows:
        first.setdefault((row.dataset, row.system, row.command), row)
    return list(first.values())


def measured_table(rows: Sequence[Measured]) -> str:
    """Rows of one data set, with other detectors in one column, then the notes and the commands."""
    shown, own = _shown(rows), own_rows(rows)
    others = list(dict.fromkeys(row.detector for row in rows if row not in own))
    notes = list(dict.fromkeys(row.note for row in shown if row.note))
    by = list(dict.fromkeys(row.command for row in shown))
    head = ["system", *header(rows[0].rule), *(f"by `{other}`" for other in others), *FACTS, "command"]
    lines = []
    for row in shown:
        same = {r.detector: r for r in rows if (r.system, r.command) == (row.system, row.command) and r is not row}
        note = f" [{notes.index(row.note) + 1}]" if row.note else ""
        more = [score_text(same[other]) if other in same else "" for other in others]
        lines.append([_name(row) + note, *cells(row), *more, *facts(row), str(by.index(row.command) + 1)])
    text = "\n".join([line(head), rule_line(len(head)), *map(line, lines), ""])
    listed = "".join(f"[{i + 1}] {note}.\n" for i, note in enumerate(notes))
    commands = "".join(_command(i + 1, command) for i, command in enumerate(by))
    return "\n".join(part for part in (text, listed, "Commands:\n", commands) if part)


def _shown(rows: Sequence[Measured]) -> list[Measured]:
    """The last measurement of every system, and the best views of the embeddings without training."""
    last = list({row.system: row for row in own_rows(rows)}.values())
    recipes = [row for row in last if not _is_view(row)]
    views = sorted((row for row in last if _is_view(row)), key=lambda row: -row.score)
    return [*recipes, *views[:UNTRAINED_SHOWN]]


def _is_view(row: Measured) -> bool:
    return "@" in row.system


def _name(row: Measured) -> str:
    """Name of a system; embedders, which are no recipes, with their detector."""
    return row.system if row.system in names() else f"`{row.system}`, `{row.detector}`"


def _command(number: int, command: str) -> str:
    """A command as lines of an indented block, below its number, wrapped at its options."""
    lines, width = [f"    # {number}", "   "], 116
    for word in command.replace(" --", "\n--").split("\n"):
        if len(lines[-1]) + len(word) > width:
            lines[-1] += " \\"
            lines.append("       ")
        lines[-1] += f" {word}"
    return "\n".join(lines) + "\n"


def main() -> None:
    """Print or write the pages."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="write the pages")
    write, rows, systems = parser.parse_args().write, read_measured(MEASURED), [find_system(name) for name in names()]
    for path in PAGES:
        page = written(path.read_text(encoding="utf-8"), rows, systems)
        if write:
            path.write_text(page, encoding="utf-8")
        else:
            print(page, end="")


if __name__ == "__main__":
    main()
