"""The files of a comparison: compare.csv, compare.json and compare.svg."""

import csv
import io
import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ensemble.compare.chart import comparison_chart
from ensemble.compare.comparison import Comparison, Row
from ensemble.output import metrics_json
from featstore.disk.files import write_new


def write_comparison(out: Path, comparison: Comparison) -> list[Path]:
    """Write the three files to the folder `out`; those of an earlier comparison stay where one cannot be written."""
    out.mkdir(parents=True, exist_ok=True)
    texts = {
        "compare.csv": comparison_csv(comparison),
        "compare.json": json.dumps(comparison_json(comparison), indent=1) + "\n",
        "compare.svg": comparison_chart(comparison),
    }
    with TemporaryDirectory(dir=out, prefix=".new-") as new:
        for name, text in texts.items():
            write_new(Path(new) / name, text.encode("utf-8", "surrogateescape"))
        for name in texts:
            (Path(new) / name).replace(out / name)
    return [out / name for name in texts]


def comparison_json(comparison: Comparison) -> dict[str, Any]:
    """The whole comparison, unrounded; a value that does not exist is null."""
    return {
        "rule": comparison.year,
        "clips": comparison.clips,
        "baseline": comparison.baseline,
        "replicates": comparison.replicates,
        "seeds": comparison.seeds,
        "systems": [_system_json(row) for row in comparison.rows],
        "notes": list(comparison.notes),
    }


def _system_json(row: Row) -> dict[str, Any]:
    measured = metrics_json(row.evaluation, row.limits)
    of_section = row.sections()
    for section in measured["sections"]:
        section["score"] = of_section[section["machine"], section["section"]]
    means = {
        name: {"value": limits.value, "low": limits.low, "high": limits.high}
        for name, limits in row.limits.means.items()
    }
    return {
        "name": row.name,
        "members": row.members,
        "official_score": measured["official_score"],
        "means": means,
        "difference": _difference_json(row),
        "seeds": {"scores": row.spread.scores, "mean": row.spread.mean, "deviation": row.spread.deviation}
        if row.spread
        else None,
        "sections": measured["sections"],
    }


def _difference_json(row: Row) -> dict[str, float | None] | None:
    if row.difference is None:
        return None
    test = row.test
    return {
        "value": row.difference,
        "low": test.low if test else None,
        "high": test.high if test else None,
        "p": test.p if test else None,
        "p_holm": test.p_holm if test else None,
    }


def comparison_csv(comparison: Comparison) -> str:
    """One row per system, the best first; shares as numbers from 0 to 1, empty where there is no value."""
    text = io.StringIO()
    flat = [_flat(row) for row in comparison.rows]
    writer = csv.DictWriter(text, list(flat[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(flat)
    return text.getvalue()


def _flat(row: Row) -> dict[str, object]:
    of_system = _system_json(row)
    cells: dict[str, object] = {"system": row.name, "members": row.members}
    intervals = {"score": of_system["official_score"], **of_system["means"]}
    for name, limits in intervals.items():
        cells |= {name: limits["value"], f"{name}_low": limits["low"], f"{name}_high": limits["high"]}
    difference = of_system["difference"] or dict.fromkeys(("value", "low", "high", "p", "p_holm"))
    cells |= {"difference": difference["value"], "difference_low": difference["low"]}
    cells |= {"difference_high": difference["high"], "p": difference["p"], "p_holm": difference["p_holm"]}
    seeds = of_system["seeds"] or {"mean": None, "deviation": None}
    return {**cells, "seeds_mean": seeds["mean"], "seeds_deviation": seeds["deviation"]}
