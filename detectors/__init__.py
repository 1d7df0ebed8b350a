"""Vectors to anomaly scores: the table of detectors, and how to name one with its parameters in a line of text.

    NAME                            every parameter at its default
    NAME:key=value[,key=value...]   nothing is written "none": mahalanobis:by=domain,standardize=true,pca=64

Every detector also takes `standardize` and `pca` (see preprocess.py). Importing this package loads no heavy library.
"""

import difflib
import inspect
import typing
from collections.abc import Callable, Iterable, Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any

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

_PREPROCESS = "detectors.preprocess:Preprocessed"
_WRAPPER_ONLY = ("standardize", "pca")


def make_detector(name: str, **params: Any) -> "Detector":
    """Detector by name; ValueError lists the known names, or its parameters, and the nearest."""
    known = _signature(name)
    for key in params:
        if key not in known:
            raise ValueError(_unknown(f"parameter of {name}", key, known))
    outer = {key: params.pop(key) for key in _WRAPPER_ONLY if key in params}
    detector: Detector = _load(DETECTORS[name])(**params)
    if any(outer.values()):
        detector = _load(_PREPROCESS)(detector=detector, **outer)
    return detector


def create(spec: str) -> "Detector":
    """Detector from its line of text; `functools.partial(create, spec)` makes one per section."""
    name, params = parse_detector(spec)
    return make_detector(name, **params)


def parameters(name: str) -> dict[str, Any]:
    """Default of every parameter of a detector, in order."""
    return {key: parameter.default for key, parameter in _signature(name).items()}


def parse_detector(spec: str) -> tuple[str, dict[str, Any]]:
    """Name and typed parameters of a line of text in the grammar above; ValueError says what does not fit."""
    name, _, rest = spec.partition(":")
    known = _signature(name)
    params: dict[str, Any] = {}
    for item in rest.split(",") if ":" in spec else ():
        key, equals, text = item.partition("=")
        if not (key and equals and text):
            raise ValueError(f"detector {spec!r}: expected key=value after the colon, got {item!r}")
        if key not in known:
            raise ValueError(_unknown(f"parameter of {name}", key, known))
        if key in params:
            raise ValueError(f"detector {spec!r}: {key} is given twice")
        kind = known[key].annotation
        try:
            params[key] = _value(text, kind)
        except (ValueError, KeyError):
            raise ValueError(f"detector {spec!r}: {key}={text}: expected {_expected(kind)}") from None
    return name, params


def detector_spec(name: str, params: Mapping[str, Any]) -> str:
    """The line of text of a detector: parameters in the order of its signature, those at their default left out."""
    defaults = parameters(name)
    for key in params:
        if key not in defaults:
            raise ValueError(_unknown(f"parameter of {name}", key, defaults))
    changed = [f"{key}={_text(params[key])}" for key in defaults if key in params and params[key] != defaults[key]]
    return f"{name}:{','.join(changed)}" if changed else name


def _load(target: str) -> Any:
    module, cls = target.split(":")
    return getattr(import_module(module), cls)


def _signature(name: str) -> dict[str, inspect.Parameter]:
    """Every parameter of a detector, those of the preprocessing at the end."""
    if name not in DETECTORS:
        raise ValueError(_unknown("detector", name, DETECTORS))
    own = inspect.signature(_load(DETECTORS[name])).parameters
    outer = inspect.signature(_load(_PREPROCESS)).parameters
    return {**own, **{key: outer[key] for key in _WRAPPER_ONLY}}


def _unknown(what: str, name: str, known: Iterable[str]) -> str:
    nearest = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {nearest[0]}? " if nearest else ""
    return f"unknown {what}: {name!r}; {hint}choose from {', '.join(known)}"


_READ: dict[Any, Callable[[str], Any]] = {
    int: int,
    float: float,
    bool: {"true": True, "false": False}.__getitem__,
}


def _value(text: str, kind: Any) -> Any:
    """Text as a value of an annotation: int, float, bool, one of a Literal's texts, or one of them or None."""
    inner = typing.get_args(kind)
    if typing.get_origin(kind) is typing.Literal:
        return {choice: choice for choice in inner}[text]
    if inner:
        return None if text == "none" else _value(text, inner[0])
    return _READ[kind](text)


def _expected(kind: Any) -> str:
    inner = typing.get_args(kind)
    if typing.get_origin(kind) is typing.Literal:
        return f"one of {', '.join(inner)}"
    return f"{inner[0].__name__} or none" if inner else str(kind.__name__)


def _text(value: Any) -> str:
    return str(value).lower() if value is None or isinstance(value, bool) else str(value)
