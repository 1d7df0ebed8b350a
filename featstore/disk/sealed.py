"""JSON objects that carry their own checksum, and typed reading of their fields."""

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any


def seal(raw: Mapping[str, Any]) -> dict[str, Any]:
    """`raw` with the field `checksum`: the SHA-256 of everything else."""
    return {**raw, "checksum": _checksum(raw)}


def canonical(raw: Mapping[str, Any]) -> bytes:
    """The one way to write `raw`: sorted keys, no blanks, ASCII; ValueError for NaN and infinities."""
    return json.dumps(raw, sort_keys=True, separators=(",", ":"), allow_nan=False).encode("ascii")


def unseal(data: bytes) -> dict[str, Any]:
    """The object in `data`; ValueError unless it is one and its checksum is right."""
    try:
        raw = json.loads(data)
    except RecursionError as error:
        raise ValueError(str(error)) from error
    if not isinstance(raw, dict) or raw.get("checksum") != _checksum(raw):
        raise ValueError("its checksum does not match its content")
    return raw


def _checksum(raw: Mapping[str, Any]) -> str:
    return hashlib.sha256(canonical({key: raw[key] for key in raw if key != "checksum"})).hexdigest()


def typed(raw: Mapping[str, Any], name: str, kind: type) -> Any:
    """The field `name`; ValueError unless it is of exactly that type (True is not a number here)."""
    if type(raw[name]) is not kind:
        raise ValueError(f"{name} is {raw[name]!r:.80}, expected {kind.__name__}")
    return raw[name]


def count(raw: Mapping[str, Any], name: str) -> int:
    """The field `name`, an integer from 0."""
    value: int = typed(raw, name, int)
    if value < 0:
        raise ValueError(f"{name} is {value}")
    return value


def matching(raw: Mapping[str, Any], name: str, pattern: re.Pattern[str]) -> str:
    """The field `name`, a text that matches `pattern` as a whole."""
    value: str = typed(raw, name, str)
    if not pattern.fullmatch(value):
        raise ValueError(f"{name} {value!r:.80} is not allowed")
    return value
