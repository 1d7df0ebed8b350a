"""A recipe: what `detect` runs. It is written beside every result, and `detect STORE --recipe FILE` runs it again.

It names the members (each a detector on an embedding), how their scores are fused and how each clip is decided:

    name = "default"
    fusion = "mean"
    false_alarm_rate = 0.1

    [[member]]
    embedding = "twfr"
    view = "r0.9"
    detector = "mahalanobis:covariance=ledoit_wolf"
    weight = 1.0
    fingerprint = "..."          # of the embedding; a store whose embedding has another one is refused

    [[member]]
    detector = "scores:theirs.csv"   # scores of another system; the path is relative to the recipe
    fingerprint = "..."              # SHA-256 of the file; a file with another content is refused

A threshold by hand, on the scale of the score, has a line in a table before the members. `default` is for sections
without a line of their own:

    [thresholds]
    default = 0.99
    "fan/00" = 0.97

A recipe chosen by `detect select --faults` lists the clips that chose it, `confirmed_faults = ["a.wav"]` and
`confirmed_normal = ["b.wav"]`: they are left out of the metrics, and the faults out of the banks. Where a person marked
clips of the store (`ensemble.marks`), `marks = "..."` is the checksum of the last mark that the run used.

TOML holds Unicode text only. So a path that is not valid UTF-8 is percent-encoded: `scores-encoded:%FF.csv`, and
`encoded:%FF.wav` in a list of clips.
"""

import difflib
import os
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote_to_bytes

import tomli_w

from ensemble.decision.banks import TAILS
from ensemble.decision.given import ByHand, checked
from featstore import registry
from featstore.disk.files import write_new
from featstore.errors import DataError, reason_of

FUSED = "ensemble"
PREDICTED = "predicted"
DOMAINS = ("pooled", PREDICTED, "known")
"""What is known of the domain of a test clip: nothing, what it sounds like, or its label (for decisions only)."""

POOLED_BEFORE = "unknown"
"""Earlier name of "pooled" in recipe files."""

SCORES = "scores:"
"""Begins the `detector` of a member that is a score file of another system."""

ENCODED_SCORES = "scores-encoded:"
"""The same in a recipe file, for a percent-encoded path; in memory such a path is like any other."""


ENCODED = "encoded:"
"""Begins a percent-encoded key of a clip in a recipe file."""


@dataclass(frozen=True)
class Member:
    """One detector on one embedding. Without a view, all views of the embedding are joined into one vector.

    A member without an embedding is a score file of another system, see `external`.
    """

    embedding: str
    detector: str
    view: str = ""
    weight: float = 1.0
    fingerprint: str = ""

    def __post_init__(self) -> None:
        """Refuse a member that is neither a detector on an embedding nor a score file."""
        if self.detector.startswith(SCORES) == bool(self.embedding) or (self.view and not self.embedding):
            raise DataError(
                f"the member {self.embedding!r}, {self.detector!r}: expected an embedding with a detector, or "
                f'detector = "{SCORES}FILE.csv" with neither embedding nor view'
            )

    @property
    def file(self) -> str:
        """Path of another system's score file; empty for a detector."""
        return "" if self.embedding else self.detector.removeprefix(SCORES)

    @property
    def source(self) -> str:
        """Embedding and view as one text, `twfr@r0.9`; `scores` for a score file."""
        if not self.embedding:
            return SCORES.rstrip(":")
        return f"{self.embedding}@{self.view}" if self.view else self.embedding

    @property
    def method(self) -> str:
        """The detector, or the name of the score file without its folder, which may change with the recipe's place."""
        return self.detector if self.embedding else Path(self.file).name

    @property
    def name(self) -> str:
        """The member in tables and columns: `twfr@r0.9 knn:k=1`, `scores theirs.csv`."""
        return f"{self.source} {self.method}"


@dataclass(frozen=True)
class Recipe:
    """Members, fusion rule and decision rule; the module docstring shows the file form.

    fdr: false-discovery rate over all test clips; 0 decides each clip by `false_alarm_rate`. domains: see DOMAINS.
    tail: how a domain with few training clips is decided, see decision/banks.py. group: what hangs together, so that
    its clips are never each other's reference: recording, day or an attribute (`ensemble.groups`). group_by: an
    attribute that detectors with `by=group` learn from. confirmed_faults, confirmed_normal: keys of the clips with
    confirmed labels that the recipe was chosen by. thresholds: by hand, see decision/given.py; the rule `threshold`
    makes the others. marks: checksum of the last mark of the store that counts; empty where none does.
    """

    members: tuple[Member, ...]
    name: str = "default"
    fusion: str = "mean"
    threshold: str = "quantile"
    false_alarm_rate: float = 0.1
    pool_sections: bool = False
    group_by: str = ""
    fdr: float = 0.0
    domains: str = DOMAINS[0]
    tail: str = TAILS[0]
    group: str = ""
    confirmed_faults: tuple[str, ...] = ()
    confirmed_normal: tuple[str, ...] = ()
    thresholds: ByHand = ()
    marks: str = ""

    def __post_init__(self) -> None:
        """Refuse recipes that cannot run."""
        if not self.members:
            raise DataError("a recipe needs at least one member")
        names = [member.name for member in self.members]
        if len(set(names)) < len(names):
            repeated = next(name for name in names if names.count(name) > 1)
            raise DataError(
                f"the member {repeated!r} occurs twice; list it once, with a greater weight if it should count more "
                "(two score files need different names)"
            )
        if not 0 < self.false_alarm_rate < 1:
            raise DataError(f"false_alarm_rate = {self.false_alarm_rate}: expected a rate between 0 and 1")
        if not 0 <= self.fdr < 1:
            raise DataError(f"fdr = {self.fdr}: expected a rate between 0 and 1, or 0 to decide by false_alarm_rate")
        if self.fdr and self.thresholds:
            raise DataError(
                "a false-discovery rate (--fdr) decides all clips together, so it goes with no threshold by hand; "
                "leave one of them out"
            )
        if self.domains not in DOMAINS:
            raise DataError(f"domains = {self.domains!r}: expected {', '.join(DOMAINS)}")
        if self.tail not in TAILS:
            raise DataError(f"tail = {self.tail!r}: expected {' or '.join(TAILS)}")


CLIPS = ("confirmed_faults", "confirmed_normal")
"""Fields of a recipe that hold keys of clips."""

TABLES = ("members", "thresholds")
"""Fields of a recipe that are tables of its file."""


def recipe_text(recipe: Recipe, folder: Path = Path()) -> str:
    """The recipe as TOML for a file in `folder`; paths are relative to it.

    DataError where a text other than a path is not valid Unicode, which TOML cannot hold.
    """
    values = {field.name: getattr(recipe, field.name) for field in fields(recipe) if field.name not in TABLES}
    values = {key: value for key, value in values.items() if value != () and (key, value) != ("marks", "")}
    values |= {key: [_key_text(clip) for clip in values[key]] for key in CLIPS if key in values}
    tables = [_toml("the recipe", values)]
    if recipe.thresholds:
        tables.append(f"\n[thresholds]\n{_toml('thresholds', dict(recipe.thresholds))}")
    for i, member in enumerate(recipe.members):
        values = {**asdict(member), "detector": _detector_text(member, folder)}
        tables.append(f"\n[[member]]\n{_toml(f'member {i + 1}', values)}")
    return "".join(tables)


def write_recipe(recipe: Recipe, path: Path) -> None:
    """Write the recipe as TOML, whole or not at all."""
    try:
        text = recipe_text(recipe, path.parent)
    except DataError as error:
        raise DataError(f"{path}: {error}") from error
    write_new(path, text.encode("utf-8"))


def _toml(where: str, values: Mapping[str, Any]) -> str:
    for key, value in values.items():
        for text in (key, *(value if isinstance(value, list | tuple) else (value,))):
            if isinstance(text, str) and not _is_unicode(text):
                raise DataError(f"{where}: {key} = {text!r} is not valid Unicode text, which TOML needs; rename it")
    return tomli_w.dumps(values)


def _is_unicode(text: str) -> bool:
    """False for undecodable bytes, which `os.fsdecode` turns into lone surrogates."""
    return not any("\ud800" <= char <= "\udfff" for char in text)


def _detector_text(member: Member, folder: Path) -> str:
    """The member's detector as a recipe in `folder` writes it."""
    if not member.file:
        return member.detector
    path = Path(os.path.relpath(Path(member.file).resolve(), folder.resolve())).as_posix()
    return f"{SCORES}{path}" if _is_unicode(path) else f"{ENCODED_SCORES}{quote(os.fsencode(path))}"


def _key_text(key: str) -> str:
    """A clip's key as a recipe writes it."""
    return key if _is_unicode(key) and not key.startswith(ENCODED) else f"{ENCODED}{quote(os.fsencode(key))}"


def _key_of(text: str) -> str:
    """Inverse of `_key_text`."""
    return os.fsdecode(unquote_to_bytes(text.removeprefix(ENCODED))) if text.startswith(ENCODED) else text


def read_recipe(path: Path) -> Recipe:
    """Read a recipe; DataError names the file and the key that is unknown, missing or of the wrong type."""
    try:
        return _recipe(tomllib.loads(path.read_text(encoding="utf-8")), path.parent)
    except DataError as error:
        raise DataError(f"{path}: {error}") from error
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise DataError(f"{path}: not a readable recipe: {reason_of(error)}") from error


def refuse_own_code(where: Path, detectors: Iterable[str]) -> None:
    """Raise DataError for a detector `module:Class` that a file names: finding it runs code, maybe of somebody else."""
    for detector in detectors:
        if registry.names_class("detector", detector):
            raise DataError(
                f"{where}: {detector} is a class of a module, and finding it runs the code of that module; where you "
                "trust the file and the module, give --own-code"
            )


def recipe_of(text: str, folder: Path = Path()) -> Recipe:
    """Inverse of `recipe_text`; DataError for a text that is no recipe."""
    try:
        return _recipe(tomllib.loads(text), folder)
    except (ValueError, RecursionError) as error:
        raise DataError(f"not a readable recipe: {error}") from error


def _recipe(raw: dict[str, Any], folder: Path) -> Recipe:
    tables = raw.pop("member", [])
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise DataError("expected [[member]] tables")
    members = tuple(_member(f"member {i + 1}", table, folder) for i, table in enumerate(tables))
    by_hand = checked(raw.pop("thresholds", {}))
    known = {field.name: field.type for field in fields(Recipe) if field.name not in TABLES}
    if raw.get("domains") == POOLED_BEFORE:
        raw["domains"] = DOMAINS[0]
    values = _checked("the recipe", known, raw)
    values |= {key: tuple(map(_key_of, values[key])) for key in CLIPS if key in values}
    return Recipe(members, thresholds=by_hand, **values)


def _member(where: str, table: dict[str, Any], folder: Path) -> Member:
    detector = table.get("detector")
    if isinstance(detector, str) and detector.startswith(ENCODED_SCORES):
        encoded = detector.removeprefix(ENCODED_SCORES)
        detector = table["detector"] = f"{SCORES}{os.fsdecode(unquote_to_bytes(encoded))}"
    if isinstance(detector, str) and detector.startswith(SCORES):
        table = {"embedding": "", **table}
    known = {field.name: field.type for field in fields(Member)}
    member = Member(**_checked(where, known, table, required=("embedding", "detector")))
    return replace(member, detector=f"{SCORES}{folder / member.file}") if member.file else member


def _checked(
    where: str, known: Mapping[str, Any], table: Mapping[str, Any], *, required: tuple[str, ...] = ()
) -> dict[str, Any]:
    """The table's values; DataError for a key that is unknown or missing, or a value that is not of the known type."""
    for key, value in table.items():
        if key not in known:
            nearest = difflib.get_close_matches(key, known, n=1)
            hint = f"; did you mean {nearest[0]}?" if nearest else ""
            raise DataError(f"{where} has the unknown key {key!r}{hint} (known: {', '.join(known)})")
        expected = known[key]
        if expected == tuple[str, ...] and isinstance(value, list) and all(isinstance(text, str) for text in value):
            continue
        if expected == tuple[str, ...]:
            raise DataError(f"{where}: {key} = {str(value)[:80]}, expected a list of texts")
        if type(value) is not expected and not (expected is float and type(value) is int):
            raise DataError(f"{where}: {key} = {value!r}, expected {expected.__name__}")
    for key in required:
        if key not in table:
            raise DataError(f"{where} lacks {key!r}")
    return {key: tuple(value) if isinstance(value, list) else value for key, value in table.items()}
