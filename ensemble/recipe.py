"""A recipe: which detectors run on which embeddings and how their scores become one; written beside every result.

    name = "default"
    fusion = "mean"
    false_alarm_rate = 0.1

    [[member]]
    embedding = "twfr"
    view = "r0.9"
    detector = "mahalanobis:covariance=ledoit_wolf"
    weight = 1.0
    fingerprint = "..."          # of the embedding; a store with another one is refused

    [[member]]
    detector = "scores:theirs.csv"   # scores of another system; the path is relative to the recipe
    fingerprint = "..."              # SHA-256 of the file; another content is refused

`detect STORE --recipe FILE` runs it again.
"""

import difflib
import json
import os
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from featstore.errors import DataError

FUSED = "ensemble"
DOMAINS = ("unknown", "known")
"""Whether the domain of a test clip may enter decisions; it never enters scores."""

SCORES = "scores:"
"""Begins the detector of a member that is a file of another system's scores; in memory the path is as any other."""


@dataclass(frozen=True)
class Member:
    """One detector on one embedding; without a view the views of the embedding are joined end to end.

    A member without an embedding is a file of another system's scores, see `external`.
    """

    embedding: str
    detector: str
    view: str = ""
    weight: float = 1.0
    fingerprint: str = ""

    def __post_init__(self) -> None:
        """Refuse what is neither a detector on an embedding nor a file of scores."""
        if self.detector.startswith(SCORES) == bool(self.embedding) or (self.view and not self.embedding):
            raise DataError(
                f"the member {self.embedding!r}, {self.detector!r}: expected an embedding with a detector, or "
                f'detector = "{SCORES}FILE.csv" with neither embedding nor view'
            )

    @property
    def file(self) -> str:
        """Path of another system's scores; empty for a detector."""
        return "" if self.embedding else self.detector.removeprefix(SCORES)

    @property
    def source(self) -> str:
        """Embedding and view as one text, `twfr@r0.9`; `scores` for another system's."""
        if not self.embedding:
            return SCORES.rstrip(":")
        return f"{self.embedding}@{self.view}" if self.view else self.embedding

    @property
    def method(self) -> str:
        """The detector, or the name of the file of scores: not its folder, which changes with the place of a recipe."""
        return self.detector if self.embedding else Path(self.file).name

    @property
    def name(self) -> str:
        """The member in tables and columns: `twfr@r0.9 knn:k=1`, `scores theirs.csv`."""
        return f"{self.source} {self.method}"


@dataclass(frozen=True)
class Recipe:
    """Members, fusion rule and decisions; see the module's text for the file form.

    fdr: false-discovery rate over all test clips; 0 decides each clip by `false_alarm_rate`.
    """

    members: tuple[Member, ...]
    name: str = "default"
    fusion: str = "mean"
    threshold: str = "quantile"
    false_alarm_rate: float = 0.1
    pool_sections: bool = False
    group_by: str = ""
    fdr: float = 0.0
    domains: str = "unknown"

    def __post_init__(self) -> None:
        """Refuse recipes that cannot run."""
        if not self.members:
            raise DataError("a recipe needs at least one member")
        names = [member.name for member in self.members]
        if len(set(names)) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise DataError(
                f"the member {twice!r} occurs twice; give it once, with a greater weight if that was meant (files of "
                "scores are told apart by their names)"
            )
        if not 0 < self.false_alarm_rate < 1:
            raise DataError(f"false_alarm_rate = {self.false_alarm_rate}: expected a rate between 0 and 1")
        if not 0 <= self.fdr < 1:
            raise DataError(f"fdr = {self.fdr}: expected a rate between 0 and 1, 0 to decide by false_alarm_rate")
        if self.domains not in DOMAINS:
            raise DataError(f"domains = {self.domains!r}: expected {' or '.join(DOMAINS)}")


def recipe_text(recipe: Recipe, folder: Path = Path()) -> str:
    """The recipe as TOML that lies in `folder`, which paths are relative to."""
    values = {key: value for key, value in asdict(recipe).items() if key != "members"}
    lines = [_line(key, value) for key, value in values.items()]
    for member in recipe.members:
        lines += ["", "[[member]]", *(_line(key, value) for key, value in asdict(_moved(member, folder)).items())]
    return "\n".join(lines) + "\n"


def write_recipe(recipe: Recipe, path: Path) -> None:
    """Write the recipe as TOML."""
    path.write_text(recipe_text(recipe, path.parent), encoding="utf-8")


def _moved(member: Member, folder: Path) -> Member:
    """The member as a recipe in `folder` spells it."""
    if not member.file:
        return member
    relative = Path(os.path.relpath(Path(member.file).resolve(), folder.resolve())).as_posix()
    return replace(member, detector=f"{SCORES}{relative}")


def read_recipe(path: Path) -> Recipe:
    """Read a recipe; DataError names the file and the key that is unknown, missing or of the wrong type."""
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise DataError(f"{path}: not a readable recipe: {error}") from error
    members = raw.pop("member", [])
    if not isinstance(members, list) or not all(isinstance(member, dict) for member in members):
        raise DataError(f"{path}: expected [[member]] tables")
    parsed = tuple(_member(path, f"member {i + 1}", one) for i, one in enumerate(members))
    return Recipe(parsed, **_checked(path, "the recipe", Recipe, raw, given={"members"}))


def _member(path: Path, where: str, raw: Mapping[str, Any]) -> Member:
    external = str(raw.get("detector", "")).startswith(SCORES)
    values = _checked(path, where, Member, {"embedding": "", **raw} if external else raw)
    try:
        member = Member(**values)
    except DataError as error:
        raise DataError(f"{path}: {where}: {error}") from error
    return replace(member, detector=f"{SCORES}{path.parent / member.file}") if member.file else member


def _line(key: str, value: object) -> str:
    return f"{key} = {json.dumps(value)}"  # TOML's basic strings, numbers and booleans are JSON's


def _checked(
    path: Path, where: str, kind: type, raw: Mapping[str, Any], given: frozenset[str] | set[str] = frozenset()
) -> dict[str, Any]:
    """Values of a table after checking names and types against the fields of `kind`."""
    known = {field.name: field for field in fields(kind) if field.name not in given}
    for key, value in raw.items():
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise DataError(f"{path}: {where} has the unknown key {key!r}{hint} (known: {', '.join(known)})")
        wanted = known[key].type
        fits = (
            isinstance(value, (int, float)) and not isinstance(value, bool)
            if wanted is float
            else type(value) is wanted
        )
        if not fits:
            raise DataError(f"{path}: {where}: {key} = {value!r}, expected {getattr(wanted, '__name__', wanted)}")
    for key in ("embedding", "detector"):
        if key in known and key not in raw:
            raise DataError(f"{path}: {where} lacks {key!r}")
    return dict(raw)
