"""A small store with labels of both classes and domains in every section, for comparisons."""

from dataclasses import replace
from pathlib import Path

from fitted_plant import listed, store_of

from featstore.clip import Clip
from featstore.store import FeatureStore


def both_domains(test: int = 16, machines: tuple[str, ...] = ("fan", "pump")) -> list[Clip]:
    """Clips whose test clips alternate between normal and anomaly, and in pairs between the domains."""
    return [replace(clip, domain=("source", "target")[i // 2 % 2]) for i, clip in enumerate(listed(24, test, machines))]


def compared_store(path: Path, clips: list[Clip] | None = None) -> FeatureStore:
    """A store of the clips (default: 16 test clips in each of four sections) in the embeddings `v` and `h`."""
    return store_of(path, both_domains() if clips is None else clips)
