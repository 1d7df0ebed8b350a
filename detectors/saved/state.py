"""Fitted detectors as a JSON tree and named arrays, and back.

The tree has one entry per detector:

    {"fan 00": {"detector": "knn:k=2,standardize=true", "features": 128, "reference_scores": "0", "learned": {...}}}

`detector` is a line of text of DETECTORS, or of a detector of scikit-learn or PyOD, read as a user's text is. `learned`
holds the attributes that `table` lists for its class. An array is a name of `arrays`, see `kinds`. Both may come from a
hostile sender: no name of the tree is imported or looked up outside these tables and the lists of the two libraries,
and nothing of ours is allocated by a number of it.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from detectors import DETECTORS, create, detector_spec
from detectors.base import Detector
from detectors.libraries.wrapped import Wrapped
from detectors.preprocess import Preprocessed
from detectors.saved.kinds import Array, Given, Kind, Maybe, Plain, Stored, brief, check_names, read_fields, refuse
from detectors.saved.table import Part, claims, learned
from featstore import registry

MAX_NODES, MAX_DEPTH, MAX_TEXT = 1_000_000, 12, 1000
"""Limits of a tree: values, levels, and characters of a text; no detector of the project nears them."""

HEAD: dict[str, Kind] = {
    "detector": Plain(str),
    "features": Plain(int),
    "reference_scores": Maybe(Array(1, finite=False)),
}


def save(detectors: Mapping[str, Detector]) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """JSON tree and named arrays of fitted detectors, from which `load` makes detectors with the same scores.

    Arrays of the same memory or content are stored once; they are in C order and may share their memory with the
    detectors. ValueError names a detector that is not fitted, or of one's own.
    """
    stored, tree = Stored(), {}
    for name, detector in detectors.items():
        try:
            tree[name] = _written(detector, stored)
        except ValueError as error:
            raise ValueError(f"detector {name!r}: {error}") from error
    load(tree, stored.arrays)  # what cannot be loaded is not saved
    return tree, stored.arrays


def load(tree: Any, arrays: Mapping[str, np.ndarray]) -> dict[str, Detector]:
    """Detectors of what `save` returned; arrays are used as they are, and others than those of the tree ignored.

    Banks and whitenings of equal arrays are one object. ValueError names the detector and the attribute that is
    missing, unknown, of another type, shape or range, or that does not fit the others.
    """
    _check_size(tree)
    if not isinstance(tree, dict) or not all(isinstance(name, str) for name in tree):
        raise ValueError(f"expected detectors by name, got {brief(tree)}")
    given = Given(arrays)
    return {name: _read(node, f"detector {name!r}", given) for name, node in tree.items()}


def _written(detector: Any, stored: Stored) -> dict[str, Any]:
    node = {"detector": _spec(detector), "features": getattr(detector, "n_features_", None)}
    if node["features"] is None:
        raise ValueError("is not fitted; call fit with training clips first")
    node["reference_scores"] = HEAD["reference_scores"].write(getattr(detector, "reference_scores_", None), stored)
    return {**node, "learned": Part(detector).write(detector, stored)}


def _spec(detector: Any) -> str:
    """Line of text of a detector; ValueError where `create` does not make such a detector."""
    learned(detector)  # of the table
    inner, params = detector, {}
    if isinstance(detector, Preprocessed):
        inner, params = detector.detector, {"standardize": detector.standardize, "pca": detector.pca}
        learned(inner)
    if isinstance(inner, Wrapped):
        return detector_spec(inner.name, {**inner.parameters, **params})
    names = {path: name for name, path in DETECTORS.items()}
    name = names.get(f"{type(inner).__module__}:{type(inner).__qualname__}")
    params |= {key: value for key, value in vars(inner).items() if not key.endswith("_")}
    if name is None or (isinstance(detector, Preprocessed) and not any((detector.standardize, detector.pca))):
        raise ValueError(f"{type(detector).__name__} of {type(inner).__name__}: only what `create` makes can be saved")
    return detector_spec(name, params)


def _read(node: Any, where: str, given: Given) -> Detector:
    check_names(node, (*HEAD, "learned"), where)
    head = read_fields(HEAD, {key: node[key] for key in HEAD}, where, given)
    spec, width, reference = head.values()
    try:
        template = _template(spec)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from error
    detector = Part(template).read(node["learned"], where, given)
    if width < 1:
        raise ValueError(f"{where}.features: expected at least 1 dimension, got {width}")
    refuse(claims(detector, width), f"{where}.")
    detector.n_features_ = width
    if reference is not None:
        detector.reference_scores_ = reference
    return detector  # type: ignore[no-any-return]


def _template(spec: str) -> Any:
    """A detector before it has learned; ValueError for one that is not ours or a library's, or has other parameters."""
    name = spec.partition(":")[0]
    if name not in DETECTORS and not registry.in_library("detector", spec):
        raise ValueError(f"unknown detector {brief(name)}; choose from {', '.join(DETECTORS)}")
    template: Any = create(spec)
    template._min_clips()  # the ranges of its parameters
    return template


def _check_size(tree: Any) -> None:
    """ValueError for a tree beyond the limits; it is not walked any further."""
    level, nodes = [tree], 0
    for _ in range(MAX_DEPTH):
        nodes += len(level)
        inner: list[Any] = []
        for node in level:
            if isinstance(node, (dict, list)) and len(inner) <= MAX_NODES:
                inner += [*node.keys(), *node.values()] if isinstance(node, dict) else node
            if isinstance(node, str) and len(node) > MAX_TEXT:
                raise ValueError(f"expected texts of at most {MAX_TEXT} characters, got {len(node)}")
        if nodes > MAX_NODES:
            break
        level = inner
        if not level:
            return
    raise ValueError(f"expected at most {MAX_NODES:,} values in {MAX_DEPTH} levels; the tree has more")
