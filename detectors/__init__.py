"""Vectors to anomaly scores: the table of detectors, and how to make one from a line of text (see `featstore.spec`).

Every detector also takes `standardize` and `pca` (see preprocess.py). Importing this package loads no heavy library.
"""

import inspect
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from featstore import registry
from featstore.spec import kinds_of, spec_text, split_spec, typed, unknown

if TYPE_CHECKING:
    from detectors.base import Detector

DETECTORS = {
    "knn": "detectors.knn:KNN",
    "gmm": "detectors.gmm:GMM",
    "mahalanobis": "detectors.mahalanobis:Mahalanobis",
    "ldn": "detectors.density:LDN",
    "lof": "detectors.lof:LOF",
    "residual": "detectors.residual:Residual",
    "posterior": "detectors.posterior:Posterior",
}

SPECIAL = ("residual", "posterior")
"""Read what particular embedders store; all others work on any embedding."""

_PREPROCESSING = ("standardize", "pca")
"""Parameters of every detector, see preprocess.py."""


def make_detector(name: str, **params: Any) -> "Detector":
    """Detector by name; ValueError lists the known names, or its parameters, with the nearest first."""
    defaults = parameters(name)
    for key in params:
        if key not in defaults:
            raise ValueError(unknown(f"parameter of {name}", key, defaults))
    absent = [key for key, value in defaults.items() if value is inspect.Parameter.empty and key not in params]
    if absent:
        raise ValueError(f"{absent[0]} must be given, as {name}:{absent[0]}=VALUE")
    outer = {key: params.pop(key) for key in _PREPROCESSING if key in params}
    detector = _plain(name, params)
    return _preprocessed()(detector=detector, **outer) if any(outer.values()) else detector


def create(spec: str) -> "Detector":
    """Detector from its line of text; `registry.factory(create, spec)` can be sent to a worker process."""
    name, params = parse_detector(spec)
    return make_detector(name, **params)


def parameters(name: str) -> dict[str, Any]:
    """Default of every parameter of a detector, in order: its own, then those of the preprocessing."""
    outer = inspect.signature(_preprocessed()).parameters
    return {**_own_defaults(name), **{key: outer[key].default for key in _PREPROCESSING}}


def parse_detector(spec: str) -> tuple[str, dict[str, Any]]:
    """Name and typed parameters of a line of text; ValueError says what does not fit."""
    name, pairs = split_spec(spec, "detector", lambda text: registry.is_known("detector", text))
    outer = kinds_of(_preprocessed())
    kinds = {**_own_kinds(name), **{key: outer[key] for key in _PREPROCESSING}}
    return name, typed(pairs, kinds, name, f"detector {spec!r}")


def detector_spec(name: str, params: Mapping[str, Any]) -> str:
    """The line of text of a detector: parameters in the order of its signature, those at their default left out."""
    defaults = parameters(name)
    for key in params:
        if key not in defaults:
            raise ValueError(unknown(f"parameter of {name}", key, defaults))
    return spec_text(name, params, defaults)


def _preprocessed() -> Any:
    from detectors.preprocess import Preprocessed

    return Preprocessed


def _plain(name: str, params: dict[str, Any]) -> "Detector":
    """Detector without preprocessing."""
    from detectors.adapted import Adapted
    from detectors.base import Fitted

    if registry.in_library("detector", name):
        from detectors.libraries.wrapped import Wrapped

        return Wrapped(name=name, parameters=params)
    detector: Detector = registry.find("detector", name)(**params)
    return detector if isinstance(detector, Fitted) else Adapted(detector=detector)


def _own_defaults(name: str) -> dict[str, Any]:
    """Default of each of a detector's own parameters."""
    cls = registry.find("detector", name)
    if registry.in_library("detector", name):
        from detectors.libraries.classes import defaults_of

        return defaults_of(cls)
    return {key: parameter.default for key, parameter in inspect.signature(cls).parameters.items()}


def _own_kinds(name: str) -> dict[str, Any]:
    """Type of each of a detector's own parameters; libraries annotate none."""
    if registry.in_library("detector", name):
        return dict.fromkeys(_own_defaults(name), Any)
    return kinds_of(registry.find("detector", name))
