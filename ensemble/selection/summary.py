"""What a selection found, as JSON for programs and as tables for people."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from ensemble.selection.select import DEFAULT, Selection
from featstore.console import table

SHOWN = 12
LEGEND = (
    "score: official score on the generated anomalies. rank: mean rank among the candidates, 1 = best; it decides.\n"
    "agreement: mean rank correlation with the other candidates. domain gap: between the scores of normal source and\n"
    "target clips, 0 = none. fisher: members' surprises add up; mean: their ranks do."
)


def selection_json(selection: Selection) -> dict[str, Any]:
    """Everything, as plain values; NaN becomes null."""
    return {
        "chosen": selection.chosen,
        "reason": selection.reason,
        "clips": dict(selection.clips),
        "ranking_reliability": selection.reliability,
        "members": [asdict(member) for member in selection.recipe.members],
        "fusion": selection.recipe.fusion,
        "standings": [asdict(standing) for standing in selection.standings],
        "per_machine": asdict(selection.per_machine) if selection.per_machine else None,
        "pair_weights": dict(selection.pairs),
        "candidates": [_candidate(one) for one in selection.candidates],
        "failed": dict(selection.failed),
        "warnings": list(selection.warnings),
    }


def _candidate(one: Any) -> dict[str, Any]:
    values = {key: value for key, value in asdict(one).items() if key != "member"}
    return {"name": one.member.name} | {key: value if np.isfinite(value) else None for key, value in values.items()}


def write_selection(path: Path, selection: Selection) -> None:
    """Write the JSON form."""
    path.write_text(json.dumps(selection_json(selection), indent=1) + "\n", encoding="utf-8")


def selection_text(selection: Selection) -> str:
    """Tables: how the ways stand, the best candidates, the pairs that speak, the choice and its reason."""
    clips = selection.clips
    parts = [
        f"{clips['generated']:,} generated anomalies and {clips['normal']:,} normal clips, each scored by banks "
        f"without its recording; {len(selection.candidates)} candidates, reliability of their ranking "
        f"{selection.reliability:.2f}",
        _standings(selection),
        _candidates(selection),
        _pairs(selection),
        _machines(selection),
        *(f"warning: {text}" for text in selection.warnings),
        *(f"could not be scored: {name}: {why}" for name, why in selection.failed.items()),
        f"chosen: {selection.chosen}; {selection.reason}",
        _members(selection),
    ]
    return "\n\n".join(part for part in parts if part)


def _standings(selection: Selection) -> str:
    rows = [
        [one.name, f"{100 * one.score:.1f}", f"{100 * one.lead:+.1f} [{100 * one.low:+.1f}, {100 * one.high:+.1f}]"]
        for one in selection.standings
    ]
    head = "official score on unseen recordings and transforms (generated):"
    return f"{head}\n{table(['system', 'score', f'lead over the {DEFAULT}'], rows)}" if rows else ""


def _candidates(selection: Selection) -> str:
    rows = [
        [one.member.name, f"{100 * one.score:.1f}", *(f"{v:.2f}" for v in (one.figure, one.agreement, one.domain_gap))]
        for one in selection.candidates[:SHOWN]
    ]
    listed = table(["candidate", "score", "rank", "agreement", "domain gap"], rows)
    return f"the best candidates:\n{listed}\n{LEGEND}"


def _pairs(selection: Selection) -> str:
    telling = [(name, weight) for name, weight in selection.pairs if weight > 0]
    listed = [f"{name} {100 * weight:.1f}%" for name, weight in telling[:SHOWN]] + ["..."] * (len(telling) > SHOWN)
    return f"{len(telling)} of {len(selection.pairs)} pairs of transform and severity count: {', '.join(listed) or '-'}"


def _machines(selection: Selection) -> str:
    one = selection.per_machine
    if one is None:
        return ""
    verdict = "one choice for all is kept, safer with few clips" if one.low <= 0 else "consider a store per machine"
    interval = f"{100 * one.lead:+.1f} [{100 * one.low:+.1f}, {100 * one.high:+.1f}]"
    return f"choosing for each machine by itself would change the score by {interval}: {verdict}"


def _members(selection: Selection) -> str:
    rows = [[member.name, f"{member.weight:g}"] for member in selection.recipe.members]
    return table([f"member ({selection.recipe.fusion})", "weight"], rows)
