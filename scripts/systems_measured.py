"""Rows of measured systems, for bench_systems.py and systems_page.py: their CSV file, and their cells in a table.

A file is only appended to, so several benchmarks can record into it. The last row of a dataset, system, detector and
command is valid.
"""

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

TEXTS = ("dataset", "system", "detector", "note", "command")
WHOLE = ("rule", "seeds", "kept", "epochs", "parameters")
PARTS = {"auc": "AUC", "auc_source": "AUC_s", "auc_target": "AUC_t", "pauc": "pAUC"}


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One system on one data set; metrics and shares in percent, None where unknown.

    rule: year of the official score. spread: standard deviation over the training seeds, of which there are `seeds`.
    low, high: 95 % interval for the clips, with the first seed. auc ... pauc: parts of the official score. The facts
    from `kept` on are those of the first seed; losses are of the first and of the last epoch. ids: share of clips whose
    machine and section is predicted correctly. command: the command line that measured it.
    """

    dataset: str
    system: str
    detector: str
    rule: int = 2023
    score: float
    spread: float | None = None
    seeds: int = 1
    low: float
    high: float
    auc: float | None = None
    auc_source: float | None = None
    auc_target: float | None = None
    pauc: float | None = None
    kept: int | None = None
    epochs: int | None = None
    loss_first: float | None = None
    loss_last: float | None = None
    held_out_first: float | None = None
    held_out_last: float | None = None
    ids_train: float | None = None
    ids_test: float | None = None
    parameters: int | None = None
    seconds_per_epoch: float | None = None
    clips_per_s: float | None = None
    note: str = ""
    command: str = ""


NAMES = tuple(field.name for field in fields(Measured))
FACTS = ("kept epoch", "loss", "held out", "ids", "parameters", "s/epoch", "clips/s")


def read_measured(path: Path) -> list[Measured]:
    """Rows of a file, of equal dataset, system, detector and command the last; ValueError names the line."""
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        if tuple(reader.fieldnames or ()) != NAMES:
            raise ValueError(f"{path}: expected the columns {','.join(NAMES)}, got {','.join(reader.fieldnames or ())}")
        rows = [_row(f"{path}, line {reader.line_num}", row) for row in reader]
    return list({(row.dataset, row.system, row.detector, row.command): row for row in rows}.values())


def _row(where: str, row: dict[str, str]) -> Measured:
    try:
        values = {name: _value(name, text) for name, text in row.items() if text or name in TEXTS}
        return Measured(**values)  # type: ignore[arg-type]
    except (TypeError, ValueError) as error:
        raise ValueError(f"{where}: {error}") from error


def _value(name: str, text: str) -> str | int | float:
    return text if name in TEXTS else int(text) if name in WHOLE else float(text)


def append_measured(path: Path, rows: Iterable[Measured]) -> None:
    """Append rows to a file, which is made with its header where it does not exist."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    if not path.exists():
        writer.writerow(NAMES)
    for row in rows:
        values = [getattr(row, name) for name in NAMES]
        writer.writerow(["" if v is None else f"{v:.5g}" if isinstance(v, float) else v for v in values])
    with path.open("a", encoding="utf-8") as file:
        file.write(text.getvalue())


def parts_of(rule: int) -> list[str]:
    """Parts of the official score of a year that a table shows."""
    return ["auc", "pauc"] if rule == 2020 else ["auc_source", "auc_target", "pauc"]


def header(rule: int) -> list[str]:
    """Names of `cells`; the official score is an arithmetic mean in 2020 and a harmonic one since."""
    return ["mean" if rule == 2020 else "h-mean", *(PARTS[name] for name in parts_of(rule))]


def cells(row: Measured) -> list[str]:
    """Score with its spread and interval, and its parts."""
    return [score_text(row), *(number(getattr(row, name), ".1f") for name in parts_of(row.rule))]


def facts(row: Measured) -> list[str]:
    """FACTS of a row."""
    return [
        f"{row.kept} of {row.epochs}" if row.kept else "",
        _pair(row.loss_first, row.loss_last, ".3g", " to "),
        _pair(row.held_out_first, row.held_out_last, ".3g", " to "),
        _pair(row.ids_train, row.ids_test, ".0f", ", "),
        number(row.parameters, ","),
        number(row.seconds_per_epoch, ".1f"),
        number(row.clips_per_s, ".0f"),
    ]


def score_text(row: Measured) -> str:
    """Mean over the seeds, their standard deviation, and the interval of the first."""
    spread = "" if row.spread is None else f" ± {row.spread:.1f}"
    return f"{row.score:.1f}{spread} [{row.low:.0f}, {row.high:.0f}]"


def number(value: float | None, form: str) -> str:
    """A number in a format, or nothing."""
    return "" if value is None else f"{value:{form}}"


def _pair(first: float | None, last: float | None, form: str, between: str) -> str:
    if first is None and last is None:
        return ""
    return f"{number(first, form) or '?'}{between}{number(last, form) or '?'}"


def line(cells: Sequence[str]) -> str:
    """One line of a Markdown table."""
    return f"| {' | '.join(cells)} |"


def rule_line(columns: int) -> str:
    """The line below the header of a Markdown table."""
    return f"|{'---|' * columns}"
