"""Results of many clips without a store behind them: two machines of four sections, ten members, no recordings."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from ensemble.page.kept import FILE, rows_digest, write_results
from ensemble.page.scored import Limit, Scored
from ensemble.recipe import Member, Recipe, recipe_text
from ensemble.windows.events import spans_of
from featstore.clip import window_path
from featstore.exchange.embeddings import import_matrix
from featstore.store import FeatureStore
from featstore.table import ClipTable, encode

MACHINES, SECTIONS, MEMBERS = ("fan", "pump"), ("00", "01", "02", "03"), 10
BEGAN = 1_700_000_000.0


def large_scored(n: int, *, windows: bool = False, seed: int = 0) -> Scored:
    """Results of n scored clips and n // 10 training clips, of which about one in a hundred clips is reported.

    windows: ten windows of 10 s of each recording, else whole recordings of 10 s; one begins every minute.
    """
    rng = np.random.default_rng(seed)
    clips, train = _table(n, "test", windows=windows), _table(max(8, n // 10), "train", windows=False)
    score, reference = rng.uniform(size=n), rng.uniform(size=len(train))
    limit_of = _group(n)
    nearest = train.keys()
    members = tuple(Member("e", f"knn:k={k + 1}") for k in range(MEMBERS))
    return Scored(
        title="large",
        recipe=recipe_text(Recipe(members, false_alarm_rate=0.01)),
        members=tuple(member.name for member in members),
        clips=clips,
        score=score,
        percentile=score,
        p_value=1 - score,
        threshold=np.full(n, 0.99),
        member_percentiles=rng.uniform(size=(MEMBERS, n)),
        nearest=[nearest[row] for row in rng.integers(len(train), size=n).tolist()],
        nearest_distance=rng.uniform(size=n),
        seconds=spans_of(clips, np.full(n, 10.0)),
        times=BEGAN + 60.0 * np.arange(n),
        time_source="name",
        train=train,
        reference=reference,
        limits=tuple(_limit(i, reference[_group(len(train)) == i]) for i in range(8)),
        bounded=True,
        nominal=0.01,
        self_ranked=False,
        pool_sections=False,
        where=dict.fromkeys(np.flatnonzero(score > 0.99)[:1000].tolist(), "2.1 kHz, 3 s, +12 dB"),
        limit_of=limit_of,
        banks=tuple(reference[_group(len(train)) == i] for i in range(8)),
    )


def large_results(folder: Path, n: int, *, windows: bool = False) -> tuple[Path, Path]:
    """A store of these clips with a narrow embedding, and the results of a run on it: folders STORE and RESULTS."""
    scored = large_scored(n, windows=windows)
    clips = ClipTable.concatenate([scored.clips, scored.train])
    X = np.random.default_rng(0).normal(size=(len(clips), 4)).astype(np.float32)
    import_matrix(folder / "store", "e", X, clips)
    store = FeatureStore.open(folder / "store")
    print_of = store.info("e").fingerprint
    members = tuple(Member("e", f"knn:k={k + 1}", fingerprint=print_of) for k in range(MEMBERS))
    (folder / "results").mkdir()
    recipe = recipe_text(Recipe(members, false_alarm_rate=0.01))
    write_results(folder / "results" / FILE, replace(scored, recipe=recipe, store=rows_digest(store, "e")))
    return folder / "store", folder / "results"


def _group(n: int) -> np.ndarray:
    """Section of every clip, numbered over the machines."""
    return (np.arange(n) % 8).astype(np.int32)


def _table(n: int, split: str, *, windows: bool) -> ClipTable:
    paths = []
    for i in range(n):
        machine, section = MACHINES[i % 8 // 4], SECTIONS[i % 4]
        whole = f"{machine}/{split}/section_{section}_{i // 80 if windows else i // 8:06d}.wav"
        paths.append(window_path(whole, 10.0 * (i // 8 % 10), 10.0 * (i // 8 % 10) + 10.0) if windows else whole)
    group = _group(n)
    normal = np.arange(n) % 16 < 15
    columns = {
        "path": encode(paths),
        "machine": encode(MACHINES)[group // 4],
        "section": encode(SECTIONS)[group % 4],
        "split": np.full(n, split.encode()),
        "domain": np.where(np.arange(n) % 3 < 2, b"source", b"target"),
        "label": np.full(n, b"normal") if split == "train" else np.where(normal, b"normal", b"anomaly"),
        "attributes": np.full(n, b"{}"),
        "variant": np.full(n, b"", dtype="S1"),
    }
    return ClipTable(columns)


def _limit(number: int, reference: np.ndarray) -> Limit:
    return Limit(
        machine=MACHINES[number // 4],
        section=SECTIONS[number % 4],
        domain="",
        value=0.99,
        requested=0.01,
        expected=0.01,
        low=0.002,
        high=0.03,
        references=len(reference),
        worth=float(len(reference)),
        shifted=False,
    )
