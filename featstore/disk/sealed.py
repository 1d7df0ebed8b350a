"""JSON objects that carry their own checksum, and typed reading of their fields."""

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any


def seal(raw: Mapping[str, Any]) -> dict[str, Any]:
    """`raw` with a field `checksum`, the SHA-256 of all other fields."""
    return {**raw, "checksum": _checksum(raw)}


def canonical(raw: Mapping[str, Any]) -> bytes:
    """`raw` as JSON in its unique form: sorted keys, no spaces, ASCII. Raises ValueError for NaN and infinities."""
    return json.dumps(raw, sort_keys=True, separators=(",", ":"), allow_nan=False).encode("ascii")


def unseal(data: bytes) -> dict[str, Any]:
    """The JSON object in `data`; ValueError when it is not an object or its checksum is wrong."""
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
    """The field `name`; ValueError unless it has exactly the type `kind` (so True is not an integer)."""
    if type(raw[name]) is not kind:
        raise ValueError(f"{name} is {raw[name]!r:.80}, expected {kind.__name__}")
    return raw[name]


def count(raw: Mapping[str, Any], name: str) -> int:
    """The field `name`, an integer of at least 0."""
    value: int = typed(raw, name, int)
    if value < 0:
        raise ValueError(f"{name} is {value}, expected at least 0")
    return value


def matching(raw: Mapping[str, Any], name: str, pattern: re.Pattern[str]) -> str:
    """The field `name`, a text that matches `pattern` completely."""
    value: str = typed(raw, name, str)
    if not pattern.fullmatch(value):
        raise ValueError(f"{name} is {value!r:.80}, expected a text that matches {pattern.pattern}")
    return value
