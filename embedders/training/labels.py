"""What clips are to be told apart by: classes, attributes, groups of attributes, and clusters where attributes lack."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from embedders.training.data import Waves
from featstore.building.work import Embedder
from featstore.clip import Clip

BATCH = 16  # of the embedder that clusters


def _section(clip: Clip) -> tuple[str, ...]:
    return clip.machine, clip.section


def _attributes(clip: Clip) -> tuple[str, ...]:
    return *_section(clip), _values(clip)


def _domain(clip: Clip) -> tuple[str, ...]:
    return *_attributes(clip), clip.domain


def _values(clip: Clip) -> str:
    return ",".join(f"{key}={value}" for key, value in sorted(clip.attributes.items()))


LABELS: dict[str, Callable[[Clip], tuple[str, ...]]] = {
    "section": _section,
    "attributes": _attributes,
    "domain": _domain,
    "pseudo": _attributes,  # after clusters have taken the place of missing attributes
}
"""What a class is: machine and section, with attributes, with attributes and domain."""

DESCRIPTIONS: dict[str, Callable[[Clip], tuple[str, ...]]] = {
    "attribute": lambda clip: (clip.machine, _values(clip)),
    "group": _attributes,
}
"""What else a loss may ask for, where a clip has attributes: their combination in its machine, or in its section."""


@dataclass(frozen=True)
class ClipLabels:
    """Labels of n clips.

    classes: names of the classes. label: class of each clip, int64 (n,). extra: by name in DESCRIPTIONS, float32
    (n, kinds), one 1 per row, and none where it is not known.
    """

    classes: tuple[str, ...]
    label: np.ndarray
    extra: dict[str, np.ndarray] = field(default_factory=dict)


def class_labels(clips: Sequence[Clip], kind: str) -> tuple[tuple[str, ...], np.ndarray]:
    """Names of all classes, sorted, and the class of every clip, int64 (n,)."""
    return _numbered([_name(LABELS[kind](clip)) for clip in clips])


def clip_labels(clips: Sequence[Clip], kind: str, needs: Sequence[str]) -> ClipLabels:
    """Classes of a name in LABELS, and those in DESCRIPTIONS that a loss needs; ValueError where no clip has any."""
    extra = {}
    for name in needs:
        if name in DESCRIPTIONS:
            extra[name] = _described(clips, name)
    return ClipLabels(*class_labels(clips, kind), extra)


def _described(clips: Sequence[Clip], name: str) -> np.ndarray:
    known = [i for i, clip in enumerate(clips) if clip.attributes]
    if not known:
        raise ValueError(
            f"the loss learns an {name} label, and no training clip has attributes; add pseudo=logmel to make some by "
            "clustering, or take a loss that needs none, such as arcface"
        )
    names, number = _numbered([_name(DESCRIPTIONS[name](clips[i])) for i in known])
    found = np.zeros((len(clips), len(names)), dtype=np.float32)
    found[known, number] = 1
    return found


def _name(parts: tuple[str, ...]) -> str:
    return "|".join(part.replace("|", "/") for part in parts)


def _numbered(names: list[str]) -> tuple[tuple[str, ...], np.ndarray]:
    kinds = sorted(set(names))
    place = {name: i for i, name in enumerate(kinds)}
    return tuple(kinds), np.array([place[name] for name in names], dtype=np.int64)


def with_clusters(
    root: Path, clips: Sequence[Clip], embedder: Embedder, seed: int, read: Callable[..., Waves]
) -> list[Clip]:
    """The clips, those without attributes with `cluster=DOMAIN.NUMBER` as their only one; Fujimura et al. 2025.

    The embedder's vectors are clustered per machine, section and domain. read: makes Waves of (paths, rate_hz,
    min_samples).
    """
    from embedders.training.pseudo_labels import pseudo_labels

    lacking = [i for i, clip in enumerate(clips) if not clip.attributes]
    if not lacking:
        return list(clips)
    X = _embedded([root / clips[i].path for i in lacking], embedder, read)
    groups = [_name((*_section(clips[i]), clips[i].domain)) for i in lacking]
    made = list(clips)
    for i, cluster in zip(lacking, pseudo_labels(X, groups, seed=seed), strict=True):
        made[i] = replace(clips[i], attributes={"cluster": f"{clips[i].domain}.{cluster}"})
    return made


def _embedded(paths: list[Path], embedder: Embedder, read: Callable[..., Waves]) -> np.ndarray:
    """Vectors (n, dim), all views side by side."""
    waves = read(paths, embedder.sample_rate_hz, embedder.min_samples)
    try:
        order = np.array_split(np.arange(len(paths)), -(-len(paths) // BATCH))
        parts = [embedder.embed(wave).reshape(len(wave), -1) for wave in waves.batches(order, None)]
    finally:
        waves.close()
    return np.concatenate(parts)
