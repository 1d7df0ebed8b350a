"""Waveforms to vectors: the table of embedders, and how to name one with its parameters in a line of text.

    NAME                            every parameter at its default
    NAME:key=value[,key=value...]   lists are separated by ";", nothing is written "none": twfr:r=0.9;0.5,n_mels=64
    NAME=PATH                       short for NAME:checkpoint=PATH, where the embedder has weights

Importing this package loads no heavy library; making an embedder does.
"""

import difflib
import hashlib
import json
import typing
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields
from importlib import import_module
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from featstore.building.work import Embedder

EMBEDDERS = {
    "logmel": "embedders.statistics.logmel:LogMel",
    "twfr": "embedders.statistics.twfr:TWFR",
    "beats": "embedders.pretrained.beats:BEATs",
    "wav2vec2": "embedders.pretrained.encoder:Wav2Vec2",
    "hubert": "embedders.pretrained.encoder:HuBERT",
    "wavlm": "embedders.pretrained.encoder:WavLM",
    "ast": "embedders.pretrained.encoder:AST",
    "encoder": "embedders.pretrained.encoder:Encoder",
    "stgram": "embedders.networks.stgram:STgram",
    "two_branch": "embedders.networks.two_branch:TwoBranch",
    "multires": "embedders.networks.two_branch:MultiRes",
    "tdnn": "embedders.networks.tdnn:TDNN",
    "ae": "embedders.networks.reconstruction:AE",
    "idnn": "embedders.networks.reconstruction:IDNN",
    "transae": "embedders.networks.transae:TransAE",
    "aegan": "embedders.networks.aegan:AEGAN",
    "mobilenetv2": "embedders.networks.mobilenetv2:MobileNetV2",
    "finetune": "embedders.networks.finetune:FineTune",
}


def create(spec: str, device: str = "cpu") -> "Embedder":
    """Embedder from its line of text; `functools.partial(create, spec)` can be sent to a worker process."""
    name, params = parse_embedder(spec)
    return make_embedder(name, **params, device=device)


def make_embedder(name: str, **params: Any) -> "Embedder":
    """Embedder by name; ValueError lists the known names, or its parameters, with the nearest first."""
    known = _parameters(name)
    for key in params:
        if key not in known and key != "device":
            raise ValueError(_unknown(f"parameter of {name}", key, known))
    return cast("Embedder", _embedder_class(name)(**params))


def parse_embedder(spec: str) -> tuple[str, dict[str, Any]]:
    """Name and typed parameters of a line of text in the grammar above; ValueError says what does not fit."""
    name, pairs = _split(spec)
    kinds = _parameters(name)
    params: dict[str, Any] = {}
    for key, text in pairs:
        if key not in kinds:
            raise ValueError(_unknown(f"parameter of {name}", key, kinds))
        if key in params:
            raise ValueError(f"embedder {spec!r}: {key} is given twice")
        try:
            params[key] = _value(text, kinds[key])
        except (ValueError, KeyError):
            expected = kinds[key].__name__ if isinstance(kinds[key], type) else kinds[key]
            raise ValueError(f"embedder {spec!r}: {key}={text}: expected {expected}") from None
    return name, params


def fingerprint(kind: str, config: Mapping[str, object], weights: bytes = b"") -> str:
    """The sha256 (hex) over class name, config and weights: equal exactly if two embedders give the same numbers."""
    text = json.dumps([kind, dict(config)], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode() + b"\0" + weights).hexdigest()


def _embedder_class(name: str) -> Any:
    if name not in EMBEDDERS:
        raise ValueError(_unknown("embedder", name, EMBEDDERS))
    module, cls = EMBEDDERS[name].split(":")
    return getattr(import_module(module), cls)


def _parameters(name: str) -> dict[str, Any]:
    """Name and type of every parameter of an embedder; the device is not one."""
    cls = _embedder_class(name)
    kinds = typing.get_type_hints(cls)
    return {field.name: kinds[field.name] for field in fields(cls) if field.name != "device"}


def _unknown(what: str, name: str, known: Iterable[str]) -> str:
    nearest = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {nearest[0]}? " if nearest else ""
    return f"unknown {what}: {name!r}; {hint}choose from {', '.join(known)}"


def _split(spec: str) -> tuple[str, list[tuple[str, str]]]:
    """Name, and key and text of every parameter, of which nothing is checked yet."""
    mark = next((letter for letter in spec if letter in ":="), "")
    if not mark:
        return spec, []
    name, _, rest = spec.partition(mark)
    if mark == "=":
        return name, [("checkpoint", rest)]
    pairs = [item.partition("=") for item in rest.split(",")]
    for key, _, text in pairs:
        if not (key and text):
            raise ValueError(f"embedder {spec!r}: expected key=value after the colon, got {key!r}")
    return name, [(key, text) for key, _, text in pairs]


_READ: dict[Any, Callable[[str], Any]] = {
    int: int,
    float: float,
    str: str,
    bool: {"true": True, "false": False}.__getitem__,
}


def _value(text: str, kind: Any) -> Any:
    """Text as a value of a field's type: int, float, str, bool, one of them or None, or a tuple of one of them."""
    inner = typing.get_args(kind)
    if typing.get_origin(kind) is tuple:
        return tuple(_value(part, inner[0]) for part in text.split(";"))
    if inner:
        return None if text == "none" else _value(text, inner[0])
    return _READ[kind](text)
