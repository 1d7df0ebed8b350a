"""Types and ranges of the settings of a network, checked before its config computes with them."""

import math
import types
import typing
from collections.abc import Mapping
from dataclasses import MISSING, fields
from typing import Any

from featstore.spec import expected, value_text

MOST = 1_000_000
"""Largest whole number, and size of a negative one."""

LARGEST = 1e9
"""Largest size of other numbers."""

RATES_HZ = (1_000, 768_000)
LONGEST_S = 600.0
MOST_ENTRIES = 64
LONGEST_TEXT = 4096
MOST_WEIGHTS = 100_000_000
"""Largest product of n_mels and n_fft, about twice the number of weights of the mel filters."""


def check_values(config_type: type, values: Mapping[str, Any]) -> None:
    """Check the values of some fields of a config; ValueError names the field, what came and what is expected."""
    kinds = typing.get_type_hints(config_type)
    for name, value in values.items():
        if name in kinds and not _fits(value, kinds[name]):
            raise ValueError(f"{name}={_shown(value)}: expected {expected(kinds[name])}")
        for entry in value if isinstance(value, tuple | list) else (value,):
            if wanted := _range(name, entry):
                raise ValueError(f"{name}={_shown(value)}: expected {wanted}")
        if isinstance(value, tuple | list) and len(value) > MOST_ENTRIES:
            raise ValueError(f"{name}: {len(value):,} values, expected at most {MOST_ENTRIES}")
    default = {field.name: field.default for field in fields(config_type) if field.default is not MISSING}
    n_mels, n_fft = ((default | dict(values)).get(name, 1) for name in ("n_mels", "n_fft"))
    if n_mels * n_fft > MOST_WEIGHTS:
        raise ValueError(f"n_mels={n_mels}, n_fft={n_fft}: expected a product of at most {MOST_WEIGHTS:,}")


def check_finite(settings: object) -> None:
    """Check that the numbers of a dataclass are finite; ValueError names the first that is not."""
    for field in fields(settings):  # type: ignore[arg-type]
        value = getattr(settings, field.name)
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError(f"{field.name}={value:g}: expected a finite number")


def _fits(value: Any, kind: Any) -> bool:
    """Whether a value has the type of a field; a whole number is one for a float too."""
    inner, origin = typing.get_args(kind), typing.get_origin(kind)
    if origin is tuple:
        return isinstance(value, tuple | list) and all(_fits(entry, inner[0]) for entry in value)
    if origin is typing.Literal:
        return any(type(value) is type(choice) and value == choice for choice in inner)
    if origin in (typing.Union, types.UnionType):
        return any(_fits(value, part) for part in inner)
    if kind is float:
        return type(value) in (int, float)
    return kind is Any or type(value) is kind


def _range(name: str, value: Any) -> str:
    """What is expected of a number or text that is out of its range; "" where it is not."""
    if isinstance(value, str):
        return f"at most {LONGEST_TEXT} characters" if len(value) > LONGEST_TEXT else ""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return ""
    if name == "sample_rate_hz":
        low, high = RATES_HZ
        return "" if low <= value <= high else f"{low:,} to {high:,} Hz"
    if name == "seconds":
        return "" if 0 < value <= LONGEST_S else f"more than 0 and at most {LONGEST_S:g} s"
    most = MOST if isinstance(value, int) else LARGEST
    return "" if -most <= value <= most else f"a number of at most {most:,.0f} in size"


def _shown(value: Any) -> str:
    """A value as a short text: Python refuses to print the longest whole numbers."""
    if isinstance(value, int) and abs(value) > 10**40:
        return "a number of more than 40 digits"
    text = repr(value) if isinstance(value, str | list | dict) else value_text(value)
    return text if len(text) <= 60 else f"{text[:60]}..."
