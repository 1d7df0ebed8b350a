"""The points of a map as the page's script reads them: one column per property, names of classes given once."""

from collections.abc import Iterable
from typing import Any

import numpy as np

from ensemble.review.answer import compact
from ensemble.review.session import Session
from ensemble.review.space.maps import Map
from ensemble.review.space.population import ROLES, item_rows
from featstore.terminal.shown import printable

SIZE = 65_535
"""Coordinates are whole numbers from 0 to this, with one scale for both axes."""


def points_json(shown: Map, session: Session) -> bytes:
    """The shown points in columns.

    x, y: whole numbers, y upwards. key: of the clip; shown: its text for the eye, by point, where that differs.
    row: of the item in the results, -1 for other clips. excess: times the threshold, null for other clips. classes: for
    every property the names, and the number of the name of each point.
    """
    scored, items = session.scored, item_rows(session)
    people = shown.people.only(shown.shown)
    rows, clips = people.scored, people.clips
    is_scored = rows >= 0
    reported = is_scored & scored.decision[rows]
    decision = np.select([reported, is_scored], ["reported", "not reported"], "not scored")
    place = {int(row): number for number, row in enumerate(shown.shown)}
    verdict = np.full(len(people), "none", dtype="U16")
    for row, mark in shown.marked.items():
        if row in place:
            verdict[place[row]] = mark.mark
    sections = map(" section ".join, zip(clips.column("machine"), clips.column("section"), strict=True))
    keys = clips.keys()
    x, y = _whole(shown.points)
    return compact(
        {
            "total": len(shown.people),
            "shown": len(people),
            "missing": shown.missing,
            "explained": shown.explained,
            "x": x,
            "y": y,
            "key": keys,
            "text": {i: printable(key) for i, key in enumerate(keys) if not key.isprintable()},
            "row": [items[row] if row >= 0 else -1 for row in rows.tolist()],
            "excess": [float(f"{e:.4g}") if ok else None for e, ok in zip(scored.excess[rows], is_scored, strict=True)],
            "classes": {
                "section": _classes(sections),
                "decision": _classes(decision.tolist()),
                "verdict": _classes(verdict.tolist()),
                "domain": _classes(clips.column("domain").tolist()),
                "split": _classes(clips.column("split").tolist()),
                "label": _classes(clips.column("label").tolist()),
                "role": {"names": ROLES, "of": people.role.tolist()},
            },
        }
    )


def _classes(values: Iterable[str]) -> dict[str, Any]:
    names, of = np.unique(np.array(list(values), dtype=object), return_inverse=True)
    return {"names": [printable(name) for name in names], "of": of.tolist()}


def _whole(points: np.ndarray) -> tuple[list[int], list[int]]:
    """Coordinates as whole numbers, the middle of each axis in the middle."""
    low, high = points.min(axis=0).astype(np.float64), points.max(axis=0).astype(np.float64)
    scale = SIZE / (float((high - low).max()) or 1.0)
    whole = np.rint((points - (low + high) / 2) * scale + SIZE / 2).astype(np.int64)
    x, y = np.clip(whole, 0, SIZE).T
    return x.tolist(), y.tolist()
