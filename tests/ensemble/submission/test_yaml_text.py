"""YAML that a real parser reads back as the same values, with plain text where that is safe."""

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from ensemble.submission.yaml_text import scalar, yaml_text

HOSTILE = [
    "a: b",
    'say "no"',
    "it's # not a comment",
    "two\nlines",
    "!!python/object:os.system",
    "!!null",
    "*alias",
    "&anchor",
    "- item",
    "{a: b}",
    "[1, 2]",
    "%TAG",
    "`tick`",
    "@at",
    "\\back\\slash",
    "\ttab",
    " blanks ",
    "trailing:",
    "? key",
    "<<",
    "=",
    "~",
    "null",
    "Yes",
    "on",
    "NO",
    "y",
    "1e5",
    "0x1F",
    "0o17",
    "1_000",
    "12:30:45",
    "2024-01-01",
    ".inf",
    "-",
    "---",
    "...",
    "\u0085next line",
    "\u2028",
    "\ufeff",
    "\x00\x7f\x9f",
    "M\u00fcller \u7530\u4e2d",
    "\U0001f600",
    "\u202eright to left",
    "",
]


@pytest.mark.parametrize("text", HOSTILE, ids=ascii)
def test_hostile_text_comes_back_as_key_as_value_and_in_lists(text: str) -> None:
    value = {text: text, "list": [text, {"name": text, "inner": {text: None}}], "last": 1}
    assert yaml.safe_load(yaml_text(value)) == value


@given(st.text())
def test_any_text_comes_back(text: str) -> None:
    assert yaml.safe_load(yaml_text({"key": text}).encode("utf-8")) == {"key": text}


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(0, 100, allow_subnormal=False) | st.text(),
    lambda inner: st.lists(inner, min_size=1) | st.dictionaries(st.text(), inner, min_size=1),
    max_leaves=8,
)


@settings(max_examples=50)
@given(st.dictionaries(st.text(), VALUES, min_size=1))
def test_nested_values_come_back(value: dict) -> None:
    assert yaml.safe_load(yaml_text(value)) == value


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("ToyCar", "ToyCar"),
        ("3DPrinter", "3DPrinter"),
        ("auc_source", "auc_source"),
        ("log-mel energies", "log-mel energies"),
        ("16kHz", "16kHz"),
        ("ada.miller@example.org", "ada.miller@example.org"),
        ("Ada", "Ada"),
        ("00", '"00"'),
        ("1e5", '"1e5"'),
        ("fan: a", '"fan: a"'),
        (None, "!!null"),
        (True, "true"),
        (71.5, "71.5"),
        (1e-05, "1.0e-05"),
        (float("nan"), "!!null"),
        (90_000_000, "90000000"),
    ],
)
def test_normal_values_are_not_quoted(value: object, text: str) -> None:
    assert scalar(value) == text
