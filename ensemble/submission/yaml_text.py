"""YAML of nested mappings, lists and plain values; text is unquoted where every reader takes it for the same text."""

import math
import re
from collections.abc import Mapping
from typing import Any

NULL = "!!null"
"""How the template of the challenge writes an unknown value."""

_PLAIN = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9 _.,/@+()-]*[A-Za-z0-9_)+])?", re.ASCII)
_NEVER_A_NUMBER = re.compile(r"^[A-Za-z]|[g-np-wyzG-NP-WYZ]")
"""A letter at the beginning, or one of no number, date or time: 0x1F, 0o17, 1e5, 1_000 and 2024-01-01 have none."""

_WORDS = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null", "nan", "inf"})
"""Texts that some reader takes for a truth value, a number or nothing."""

_ESCAPED = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"}


def yaml_text(value: Mapping[str, Any] | list[Any], indent: int = 0) -> str:
    """The lines of a mapping or list; an empty one is null, as the template has no empty ones."""
    pad = "  " * indent
    if isinstance(value, Mapping):
        return "".join(f"{pad}{scalar(key)}:{_item(item, indent)}" for key, item in value.items())
    return "".join(f"{pad}- {_entry(item, indent)}" for item in value)


def _item(value: Any, indent: int) -> str:
    if isinstance(value, Mapping | list) and value:
        return f"\n{yaml_text(value, indent + 1)}"
    return f" {scalar(value)}\n"


def _entry(value: Any, indent: int) -> str:
    if isinstance(value, Mapping) and value:
        return yaml_text(value, indent + 1).lstrip(" ")
    return _item(value, indent).removeprefix(" ")


def scalar(value: Any) -> str:
    """A plain value: null, a truth value, a number, or text, quoted where it has to be."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return repr(value)
    if isinstance(value, float) and math.isfinite(value):
        return repr(value) if "." in repr(value) else repr(value).replace("e", ".0e")  # 1e-05 would be a text
    if not isinstance(value, str):
        return NULL
    plain = _PLAIN.fullmatch(value) and _NEVER_A_NUMBER.search(value) and value.lower() not in _WORDS
    return value if plain else f'"{"".join(map(_character, value))}"'


def _character(c: str) -> str:
    """A character between double quotes; what has no shape of its own is written by its number."""
    if c in _ESCAPED:
        return _ESCAPED[c]
    if c.isprintable():
        return c
    code = ord(c)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
