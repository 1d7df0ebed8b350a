"""Labels of training clips: classes, attributes, attribute groups, and clusters where attributes are missing."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from embedders.networks.objectives.names import NORMAL
from embedders.training.confirmed import CONFIRMED, is_confirmed
from embedders.training.data import Waves
from embedders.training.pseudo_labels import Clustering, pseudo_labels
from featstore.building.work import Embedder
from featstore.clip import Clip

BATCH = 16  # clips embedded at once for clustering


def _section(clip: Clip) -> tuple[str, ...]:
    return clip.machine, clip.section


def _attributes(clip: Clip) -> tuple[str, ...]:
    return *_section(clip), _values(clip)


def _domain(clip: Clip) -> tuple[str, ...]:
    return *_attributes(clip), clip.domain


def _section_domain(clip: Clip) -> tuple[str, ...]:
    return *_section(clip), clip.domain


def _values(clip: Clip) -> str:
    return ",".join(f"{key}={value}" for key, value in sorted(clip.attributes.items()))


def _state(clip: Clip) -> tuple[str, ...]:
    return clip.machine, clip.attributes[CONFIRMED] if is_confirmed(clip) else NORMAL


LABELS: dict[str, Callable[[Clip], tuple[str, ...]]] = {
    "section": _section,
    "attributes": _attributes,
    "domain": _domain,
    "section_domain": _section_domain,
    "pseudo": _attributes,  # with clusters in place of missing attributes
    "state": _state,
}
"""Parts of a class label, by the setting `labels`: machine and section, also attributes, or domain, or both; or machine
and state, which is normal or a confirmed fault."""

DESCRIPTIONS: dict[str, Callable[[Clip], tuple[str, ...]]] = {
    "attribute": lambda clip: (clip.machine, _values(clip)),
    "group": _attributes,
}
"""Other labels that losses need, for clips with attributes: their combination within machine or section."""


@dataclass(frozen=True)
class ClipLabels:
    """Labels of n clips.

    classes: names of the classes. label: class of each clip, int64 (n,). extra: by name in DESCRIPTIONS, one-hot
    float32 (n, kinds); a row of zeros means unknown.
    """

    classes: tuple[str, ...]
    label: np.ndarray
    extra: dict[str, np.ndarray] = field(default_factory=dict)


def class_labels(clips: Sequence[Clip], kind: str) -> tuple[tuple[str, ...], np.ndarray]:
    """Sorted names of all classes, and the class of each clip, int64 (n,)."""
    return _numbered([_name(LABELS[kind](clip)) for clip in clips])


def clip_labels(clips: Sequence[Clip], kind: str, needs: Sequence[str]) -> ClipLabels:
    """Classes by a name in LABELS, and the labels in DESCRIPTIONS that a loss needs; ValueError if no clip has any."""
    extra = {name: _described(clips, name) for name in needs if name in DESCRIPTIONS}
    return ClipLabels(*class_labels(clips, kind), extra)


def _described(clips: Sequence[Clip], name: str) -> np.ndarray:
    known = [i for i, clip in enumerate(clips) if clip.attributes]
    if not known:
        raise ValueError(
            f"the loss needs {name} labels, but no training clip has attributes; add pseudo=logmel to make some by "
            "clustering, or use a loss without attributes, such as arcface"
        )
    names, number = _numbered([_name(DESCRIPTIONS[name](clips[i])) for i in known])
    one_hot = np.zeros((len(clips), len(names)), dtype=np.float32)
    one_hot[known, number] = 1
    return one_hot


def _name(parts: tuple[str, ...]) -> str:
    return "|".join(part.replace("|", "/") for part in parts)


def _numbered(names: list[str]) -> tuple[tuple[str, ...], np.ndarray]:
    """Sorted distinct names, and the number of each name."""
    distinct = sorted(set(names))
    number = {name: i for i, name in enumerate(distinct)}
    return tuple(distinct), np.array([number[name] for name in names], dtype=np.int64)


def with_clusters(
    root: Path,
    clips: Sequence[Clip],
    embedder: Embedder,
    clustering: Clustering,
    *,
    seed: int,
    read: Callable[..., Waves],
) -> list[Clip]:
    """Clips in which those without attributes get the attribute `cluster=DOMAIN.NUMBER`.

    The embedder's vectors are clustered per machine, section and domain. read: makes Waves of (paths, rate_hz,
    min_samples).
    """
    without = [i for i, clip in enumerate(clips) if not clip.attributes]
    if not without:
        return list(clips)
    X = _embedded([root / clips[i].path for i in without], embedder, read)
    groups = [(*_section(clips[i]), clips[i].domain) for i in without]
    labelled = list(clips)
    for i, cluster in zip(without, pseudo_labels(X, groups, clustering, seed=seed), strict=True):
        labelled[i] = replace(clips[i], attributes={"cluster": f"{clips[i].domain}.{cluster}"})
    return labelled


def _embedded(paths: list[Path], embedder: Embedder, read: Callable[..., Waves]) -> np.ndarray:
    """Embeddings (n, dim) of recordings, all views concatenated."""
    waves = read(paths, embedder.sample_rate_hz, embedder.min_samples)
    try:
        order = np.array_split(np.arange(len(paths)), -(-len(paths) // BATCH))
        parts = [embedder.embed(wave).reshape(len(wave), -1) for wave in waves.batches(order, None)]
    finally:
        waves.close()
    return np.concatenate(parts)
