"""The result of a selection: selection.json for programs, and tables for people."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from ensemble.selection.select import Candidate, Selection
from ensemble.selection.standings import DEFAULT, Standing
from featstore.console import table
from featstore.disk.files import write_new
from featstore.terminal.shown import Block, block, counted

SHOWN = 12
LEGEND = block(
    "score: official score on the generated anomalies. rank: mean rank among the candidates, 1 = best; candidates are",
    "chosen by it. Label-free indicators, for information only: agreement: mean rank correlation with the other",
    "candidates; domain gap: between the scores of normal source and target clips, 0 = none.",
)


def selection_json(selection: Selection) -> dict[str, Any]:
    """The selection as plain values; NaN becomes null."""
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
        "candidates": [_candidate(candidate) for candidate in selection.candidates],
        "raced_out": selection.raced_out,
        "failed": dict(selection.failed),
        "warnings": list(selection.warnings),
        "notes": list(selection.notes),
    }


def _candidate(candidate: Candidate) -> dict[str, Any]:
    """A row of "candidates"; its "figure" is the mean rank."""
    values = {
        "figure": candidate.rank,
        "score": candidate.score,
        "domain_gap": candidate.domain_gap,
        "agreement": candidate.agreement,
        "instability": candidate.instability,
    }
    finite = {key: value if np.isfinite(value) else None for key, value in values.items()}
    return {"name": candidate.member.name, **finite}


def write_selection(path: Path, selection: Selection) -> None:
    """Write the JSON form, whole or not at all."""
    write_new(path, selection_bytes(selection_json(selection)))


def selection_bytes(values: Mapping[str, Any]) -> bytes:
    """The content of selection.json, from the values of `selection_json`."""
    return (json.dumps(values, indent=1) + "\n").encode()


def selection_text(selection: Selection) -> Block:
    """Tables of the strategies, the best candidates and the pairs that separate them; the choice with its reason."""
    clips = selection.clips
    generated = [counted(clips["generated"], "generated anomaly", "generated anomalies")]
    generated += [f"{clips[kind]:,} {kind}" for kind in ("confirmed faults", "confirmed normal") if kind in clips]
    named = selection.reason.startswith(f"{selection.chosen}: ")
    parts = [
        f"{', '.join(generated)} and {counted(clips['normal'], 'normal clip')}, each scored without its own "
        f"recording; {counted(len(selection.candidates), 'candidate')}, whose ranks by two halves of the recordings "
        f"have a correlation of {selection.reliability:.2f}; {_race(selection.raced_out)}",
        _standings(selection),
        _candidates(selection),
        _pairs(selection),
        _machines(selection),
        *(f"warning: {text}" for text in selection.warnings),
        *(f"note: {text}" for text in selection.notes),
        *(f"could not be scored: {name}: {reason}" for name, reason in selection.failed.items()),
        f"chosen: {selection.reason if named else f'{selection.chosen}; {selection.reason}'}",
        _members(selection),
    ]
    return block(*filter(None, parts), between="\n\n")


def _race(raced_out: int | None) -> str:
    if raced_out is None:
        return "all candidates were scored on all clips"
    return f"a race on a fifth of the clips left out {raced_out or 'none'}"


def _standings(selection: Selection) -> str:
    rows = [[row.name, f"{100 * row.score:.1f}", _lead(row)] for row in selection.standings]
    confirmed = ", and on confirmed faults that were not" if "confirmed faults" in selection.clips else ""
    head = f"official score on generated anomalies of recordings and types that were not used to choose{confirmed}:"
    return block(head, table(["choice", "score", f"lead over the {DEFAULT}"], rows)) if rows else ""


def _lead(standing: Standing) -> str:
    return f"{100 * standing.lead:+.1f} [{100 * standing.low:+.1f}, {100 * standing.high:+.1f}]"


def _candidates(selection: Selection) -> str:
    rows = [
        [row.member.name, f"{100 * row.score:.1f}", *(f"{v:.2f}" for v in (row.rank, row.agreement, row.domain_gap))]
        for row in selection.candidates[:SHOWN]
    ]
    best = table(["candidate", "score", "rank", "agreement", "domain gap"], rows)
    return block("the best candidates:", best, LEGEND)


def _pairs(selection: Selection) -> str:
    weighted = [f"{name} {100 * weight:.1f}%" for name, weight in selection.pairs if weight > 0]
    shown = [*weighted[:SHOWN], "..."] if len(weighted) > SHOWN else weighted or ["-"]
    head = f"{len(weighted)} of {len(selection.pairs)} pairs of an anomaly type and a strength separate the candidates"
    return f"{head}: {', '.join(shown)}"


def _machines(selection: Selection) -> str:
    standing = selection.per_machine
    if standing is None:
        return ""
    advice = "consider a store per machine" if standing.low > 0 else "one choice for all machines is kept"
    return f"choosing for each machine separately would change the score by {_lead(standing)}: {advice}"


def _members(selection: Selection) -> str:
    rows = [[member.name, f"{member.weight:g}"] for member in selection.recipe.members]
    return table([f"member ({selection.recipe.fusion})", "weight"], rows)
