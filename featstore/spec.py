"""One line of text for a component and its parameters: how it is read, and how it is written.

    NAME                            every parameter at its default
    NAME:key=value[,key=value...]   lists are separated by ";", no value is written "none": twfr:r=0.9;0.5,n_mels=64
    NAME=PATH                       short for NAME:checkpoint=PATH
    MODULE:CLASS[:key=value,...]    a class of one's own, see `registry`
    LIBRARY:CLASS[,key=value...]    a detector of scikit-learn or PyOD: sklearn:IsolationForest,n_estimators=200

Values are typed by the annotations of the component's constructor.
"""

import difflib
import inspect
import re
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from typing import Any

CLASS_PATH = re.compile(r"([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*:[A-Za-z_]\w*)(?::(.*))?", re.DOTALL)

LIBRARIES = ("sklearn", "pyod")
"""Libraries whose detectors a line of text names by their class."""

LIBRARY_CLASS = re.compile(rf"((?:{'|'.join(LIBRARIES)}):[A-Za-z_]\w*)(?:[,:](.*))?", re.DOTALL)


def nearest(name: str, known: Iterable[str]) -> str:
    """The known name that looks most like `name`, capitals aside where need be; empty where none does."""
    names = list(known)
    lower = {known_name.lower(): known_name for known_name in names}
    alike = difflib.get_close_matches(name, names, n=1)
    return next(iter(alike or [lower[key] for key in difflib.get_close_matches(name.lower(), lower, n=1)]), "")


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The hint `; did you mean NAME?` for the end of a message; empty where no known name looks like `name`."""
    known_name = nearest(name, known)
    return f"; did you mean {known_name}?" if known_name else ""


def unknown(what: str, name: str, known: Iterable[str]) -> str:
    """The message for an unknown name: the nearest known name, then all of them."""
    names = list(known)
    known_name = nearest(name, names)
    hint = f"did you mean {known_name}? " if known_name else ""
    between = "; " if any("," in known_name for known_name in names) else ", "
    choices = f"choose from {between.join(names)}" if names else "there are none"
    return f"unknown {what}: {name!r}; {hint}{choices}"


def split_spec(spec: str, what: str, is_known: Callable[[str], bool]) -> tuple[str, list[tuple[str, str]]]:
    """Name, and key and text of every parameter; nothing but the form is checked.

    what: "embedder", "detector", for messages. A line whose NAME is known is never read as MODULE:CLASS. After
    LIBRARY:CLASS, a colon may stand for the first comma. Raises ValueError naming the part that does not fit.
    """
    mark = next((letter for letter in spec if letter in ":="), "")
    name, _, rest = spec.partition(mark) if mark else (spec, "", "")
    path = LIBRARY_CLASS.fullmatch(spec) or CLASS_PATH.fullmatch(spec)
    if path is not None and not is_known(name):
        name, rest, mark = path[1], path[2] or "", ":" if path[2] is not None else ""
    if mark == "=":
        return name, [("checkpoint", rest)]
    pairs: list[tuple[str, str]] = []
    for item in rest.split(",") if mark else ():
        key, equals, text = item.partition("=")
        if not (key and equals and text):
            raise ValueError(f"{what} {spec!r}: expected key=value after the colon, got {item!r}")
        if key in dict(pairs):
            raise ValueError(f"{what} {spec!r}: {key} is given twice")
        pairs.append((key, text))
    return name, pairs


def kinds_of(component: Callable[..., Any]) -> dict[str, Any]:
    """Name and type of every parameter of a class or function, in order; Any where none is annotated."""
    constructor = component.__init__ if isinstance(component, type) else component  # type: ignore[misc]
    try:
        hints = typing.get_type_hints(constructor)
    except NameError:  # an inherited dataclass field with an annotation of another module
        hints = typing.get_type_hints(component)
    parameters = inspect.signature(component).parameters.values()
    return {
        parameter.name: hints.get(parameter.name, Any)
        for parameter in parameters
        if parameter.kind not in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL)
    }


def typed(pairs: Iterable[tuple[str, str]], kinds: Mapping[str, Any], what: str, spec: str) -> dict[str, Any]:
    """Typed values of parameters; ValueError names the unknown parameter, or the value and what was expected."""
    values: dict[str, Any] = {}
    for key, text in pairs:
        if key not in kinds:
            raise ValueError(unknown(f"parameter of {what}", key, kinds))
        try:
            values[key] = read_value(text, kinds[key])
        except (ValueError, KeyError):
            raise ValueError(f"{spec}: {key}={text}: expected {expected(kinds[key])}") from None
    return values


_READERS: dict[Any, Callable[[str], Any]] = {
    int: int,
    float: float,
    str: str,
    bool: {"true": True, "false": False}.__getitem__,
}


def read_value(text: str, kind: Any) -> Any:
    """Text as a value of a type: int, float, str, bool, a Literal, a tuple of one of them, or one of them or None.

    Raises ValueError or KeyError where the text does not fit. For Any the narrowest of none, bool, int, float and str
    that fits, or a tuple of them where there is a ";".
    """
    inner = typing.get_args(kind)
    origin = typing.get_origin(kind)
    if kind is Any:
        return _guessed(text)
    if origin is typing.Literal:
        return {str(choice): choice for choice in inner}[text]
    if origin is tuple:
        return tuple(read_value(part, inner[0]) for part in text.split(";"))
    if origin in (typing.Union, types.UnionType):
        if text == "none" and type(None) in inner:
            return None
        return read_value(text, next(part for part in inner if part is not type(None)))
    return _READERS[kind](text)


def _guessed(text: str) -> Any:
    if ";" in text:
        return tuple(map(_guessed, text.split(";")))
    for kind in (bool, int, float):
        try:
            return _READERS[kind](text)
        except (ValueError, KeyError):
            pass
    return None if text == "none" else text


def expected(kind: Any) -> str:
    """What a value of a type looks like, in words."""
    inner = typing.get_args(kind)
    origin = typing.get_origin(kind)
    if origin is typing.Literal:
        return f"one of {', '.join(map(str, inner))}"
    if origin is tuple:
        return f'{inner[0].__name__} values separated by ";"'
    if inner:
        return " or ".join("none" if part is type(None) else expected(part) for part in inner)
    return str(getattr(kind, "__name__", kind))


def spec_text(name: str, params: Mapping[str, Any], defaults: Mapping[str, Any]) -> str:
    """The line of text of a component: parameters in the order of `defaults`, those at their default left out."""
    changed = [f"{key}={value_text(params[key])}" for key in defaults if key in params and params[key] != defaults[key]]
    mark = "," if LIBRARY_CLASS.fullmatch(name) else ":"
    return f"{name}{mark}{','.join(changed)}" if changed else name


def value_text(value: Any) -> str:
    """A value as `read_value` reads it."""
    if isinstance(value, tuple):
        return ";".join(map(value_text, value))
    return str(value).lower() if value is None or isinstance(value, bool) else str(value)
