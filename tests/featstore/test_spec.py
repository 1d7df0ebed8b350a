"""Lines of text for components: how they are split, typed and written."""

from dataclasses import dataclass
from typing import Any, Literal

import pytest

from featstore.spec import expected, kinds_of, read_value, spec_text, split_spec, typed


@pytest.mark.parametrize(
    ("spec", "name", "pairs"),
    [
        ("knn", "knn", []),
        ("knn:k=3,bank=two", "knn", [("k", "3"), ("bank", "two")]),
        ("knn=some/path:with=marks,all", "knn", [("checkpoint", "some/path:with=marks,all")]),
        ("mine:Median", "mine:Median", []),
        ("a.b:Median:k=3", "a.b:Median", [("k", "3")]),
        ("mine:Median:k=a:b", "mine:Median", [("k", "a:b")]),
        ("pyod:ECOD", "pyod:ECOD", []),
        ("sklearn:IsolationForest,n=9,m=a:b", "sklearn:IsolationForest", [("n", "9"), ("m", "a:b")]),
        ("sklearn:IsolationForest:n=9", "sklearn:IsolationForest", [("n", "9")]),
    ],
)
def test_splits(spec: str, name: str, pairs: list[tuple[str, str]]) -> None:
    assert split_spec(spec, "detector", {"knn"}.__contains__) == (name, pairs)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("knn:k", "expected key=value after the colon, got 'k'"),  # a known name is never a module
        ("knn:", "got ''"),
        ("knn:k=", "got 'k='"),
        ("mine:Median:", "got ''"),
        ("mine:Median:k", "got 'k'"),
        ("mine:Median,k=3", "got 'Median'"),  # the comma is for libraries
        ("pyod:ECOD,", "got ''"),
        ("knn:k=1,k=2", "k is given twice"),
    ],
)
def test_what_cannot_be_split(spec: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        split_spec(spec, "detector", {"knn"}.__contains__)


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("3", int, 3),
        ("3", float, 3.0),
        ("true", bool, True),
        ("none", int | None, None),
        ("4", int | None, 4),
        ("0.5;1", tuple[float, ...], (0.5, 1.0)),
        ("none", tuple[str, ...] | None, None),
        ("a;b", tuple[str, ...] | None, ("a", "b")),
        ("oas", Literal["oas", "ledoit_wolf"], "oas"),
        ("none", str, "none"),
        ("7", Any, 7),
        ("7.5", Any, 7.5),
        ("false", Any, False),
        ("none", Any, None),
        ("word", Any, "word"),
    ],
)
def test_values_are_typed(text: str, kind: Any, value: object) -> None:
    read = read_value(text, kind)
    assert read == value
    assert type(read) is type(value)


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (int, "int"),
        (int | None, "int or none"),
        (Literal["a", "b"], "one of a, b"),
        (tuple[float, ...], 'float values separated by ";"'),
    ],
)
def test_what_is_expected_is_said(kind: Any, words: str) -> None:
    assert expected(kind) == words
    with pytest.raises(ValueError, match=f"x:k=~: k=~: expected {words}"):
        typed([("k", "~")], {"k": kind}, "x", "x:k=~")


@dataclass(frozen=True)
class Base:
    size: int = 3


@dataclass(frozen=True)
class Child(Base):
    rate: "float | None" = None


class Untyped:
    def __init__(self, *, k=1, **others):
        self.k = k


def test_types_come_from_the_constructor() -> None:
    assert kinds_of(Child) == {"size": int, "rate": float | None}
    assert kinds_of(Untyped) == {"k": Any}


def test_written_lines_are_read_again() -> None:
    defaults = {"k": 1, "names": ("a",), "flag": False, "pca": None}
    line = spec_text("x", {"k": 1, "names": ("b", "c"), "flag": True, "pca": 8}, defaults)
    assert line == "x:names=b;c,flag=true,pca=8"
    name, pairs = split_spec(line, "detector", {"x"}.__contains__)
    kinds = {"k": int, "names": tuple[str, ...], "flag": bool, "pca": int | None}
    assert (name, typed(pairs, kinds, name, line)) == ("x", {"names": ("b", "c"), "flag": True, "pca": 8})
