"""Summary of a store, as text for people and as plain values for programs."""

from collections import Counter
from typing import Any

import numpy as np

from featstore.building.rejections import Unmade, of_recordings
from featstore.building.state import unfinished
from featstore.console import size, table
from featstore.layouts.recognise import summary
from featstore.store import FeatureStore
from featstore.terminal.shown import Block, block, counted

SHOWN_REASONS = 5


def describe(store: FeatureStore) -> dict[str, Any]:
    """The content of `featstore info --json`: plain values only."""
    return {
        "path": str(store.path),
        "manifest": store.manifest.number,
        "shards": len(store.manifest.shards),
        "bytes": sum(entry.bytes for entry in store.manifest.shards),
        "embeddings": {name: _embedding(store, name) for name in sorted(store.embeddings)},
        "warnings": [*store.warnings, *filter(None, [unfinished(store.path)])],
    }


def _embedding(store: FeatureStore, name: str) -> dict[str, Any]:
    info, facts = store.info(name), store.facts(name)
    recorded = store.clips(name).where(variant="")
    seconds = (facts["n_samples"] / np.maximum(facts["sample_rate_hz"], 1))[recorded]
    outcomes = Counter(outcome.decode() for outcome in facts["outcome"].tolist() if outcome)
    return {
        "rows": store.rows(name),
        "shape": list(info.shape),
        "views": list(info.views),
        "dtype": info.dtype,
        "sample_rate_hz": info.sample_rate_hz,
        "channel": info.channel,
        "length": info.length,
        "fingerprint": info.fingerprint,
        "config": dict(info.config),
        "audio_hours": round(float(seconds.sum()) / 3600, 4),
        "outcomes": dict(outcomes),
        "rejected": dict(Counter(item.reason for item in of_recordings(store.rejected(name)))),
        "unmade": sum(bool(item.variant) for item in store.rejected(name)),
        "bytes": sum(entry.bytes for entry in store.entries(name)),
    }


def screen(store: FeatureStore) -> Block:
    """Summary on one screen: the embeddings, their clips and the most frequent rejection reasons."""
    facts = describe(store)
    parts = [f"{store.path}: manifest {facts['manifest']}, {counted(facts['shards'], 'shard')}, {size(facts['bytes'])}"]
    parts += [f"warning: {warning}" for warning in facts["warnings"]]
    rows = [
        [
            name,
            embedding["rows"],
            "x".join(map(str, embedding["shape"])),
            embedding["dtype"],
            f"{embedding['sample_rate_hz']} Hz",
            embedding["channel"],
            embedding["length"],
            f"{embedding['audio_hours']:.1f} h",
            embedding["fingerprint"][:12],
        ]
        for name, embedding in facts["embeddings"].items()
    ]
    header = ["embedding", "rows", "shape", "dtype", "rate", "channel", "length", "audio", "fingerprint"]
    parts += [table(header, rows)] if rows else ["no embeddings; add some with `featstore build`"]
    for name, embedding in facts["embeddings"].items():
        if embedding["views"]:
            parts.append(f"{name}: views {', '.join(embedding['views'])}")
        for outcome, count in embedding["outcomes"].items():
            parts.append(f"{name}: {counted(count, 'recording')}: {outcome}")
        for reason, count in Counter(embedding["rejected"]).most_common(SHOWN_REASONS):
            parts.append(f"{name}: {count:,} rejected: {reason}")
    names = {tuple(store.clips(name).keys()): name for name in sorted(store.embeddings, reverse=True)}  # one per list
    for name in sorted(names.values()):
        parts.append(block(f"clips of {name}:", summary(store.clips(name))))
    return block(*parts, between="\n\n")


def rejected_text(store: FeatureStore) -> Block:
    """Every rejected recording once with its reason and embeddings, and how many anomalies were not made."""
    rejected = {name: store.rejected(name) for name in sorted(store.embeddings)}
    names: dict[tuple[str, str], list[str]] = {}
    for name, items in rejected.items():
        for item in of_recordings(items):
            names.setdefault((item.path, item.reason), []).append(name)
    rows = [[", ".join(of_item), *path_and_reason] for path_and_reason, of_item in names.items()]
    parts = [table(["embedding", "rejected", "reason"], rows) if rows else "no recording was rejected"]
    unmade = Unmade.among((item for items in rejected.values() for item in items), {path for path, _ in names})
    return block(*parts, *unmade.notes())
