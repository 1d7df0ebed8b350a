"""Choices of `detect --ensemble`, kept in the store under everything that they follow from.

    STORE/selection/<key>/recipe.toml, selection.json    what was chosen, and what was compared
    STORE/selection/<key>/key.json                       what the choice follows from; written last
    STORE/selection/selection-cache/*.npz                scores of candidates

<key> is the beginning of a hash of the embeddings' shards, the marks of clips, the candidates, the fixed default's
detectors, the options and the versions of the rules. So a choice is found again while nothing changes that could change
it, and the choices of different options stay beside each other. The store may come from elsewhere: what is kept is
checked like any input, and runs nothing but candidates. No lock is taken, since equal keys give equal choices and every
file appears whole.
"""

import hashlib
import json
import math
import os
import re
import shutil
import time
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from ensemble.decision.fuse import FUSIONS
from ensemble.defaults import DETECTORS, FUSION
from ensemble.marks.apply import keys_marked, marks_digest
from ensemble.marks.file import FAULT
from ensemble.recipe import DOMAINS, Member, Recipe, read_recipe, recipe_text
from ensemble.selection.scoring.cache import SpareCache, content_of
from ensemble.selection.scoring.perturb import VERSION
from ensemble.selection.scoring.validation import PROTOCOL
from ensemble.selection.select import Options, Selection
from ensemble.selection.standings import DEFAULT
from ensemble.selection.summary import selection_bytes, selection_json
from featstore.disk.files import TEMPORARY_SUFFIX, make_folder, read_regular, write_new
from featstore.errors import AsdError, DataError, reason_of
from featstore.store import FeatureStore

RULES = 5
"""Version of the rules of a selection and of the fixed default. Raise it with every change that may change a choice."""

FOLDER, CACHE = "selection", "selection-cache"
RECIPE, SELECTION, KEY = "recipe.toml", "selection.json", "key.json"
KEPT = 8
"""Most choices that are kept, those used last."""

SPARED_S = 86_400
"""Scores that no kept choice needs stay so long after their last use, because a selection may be using them."""

MAX_BYTES = 1 << 26
_CHOICE, _SCORES = re.compile(r"[0-9a-f]{16}"), re.compile(r"([0-9a-f]{64})\.npz(\.[0-9a-f]{8}\.tmp)?")


@dataclass(frozen=True)
class Choice:
    """A choice and the content of its selection.json; recipe: None where the fixed default is kept."""

    recipe: Recipe | None
    selection: Mapping[str, Any]

    @classmethod
    def of(cls, selection: Selection) -> "Choice":
        """From a selection."""
        return cls(None if selection.chosen == DEFAULT else selection.recipe, selection_json(selection))


def key_of(store: FeatureStore, candidates: Sequence[Member], options: Options) -> dict[str, Any]:
    """Everything that a choice follows from, as plain values; no row is read."""
    values = asdict(options).items()
    fixed = {key: value for key, value in values if key != "workers" and (value or key not in ("strategy", "machines"))}
    key = {
        "rules": [RULES, PROTOCOL, VERSION],
        "options": fixed,
        "contents": {name: content_of(store, name) for name in sorted({member.embedding for member in candidates})},
        "candidates": _digest([member.name for member in candidates]),
        "default": [FUSION, repr(DETECTORS)],
    }
    if marks_digest(store):
        key |= {"marks": marks_digest(store), "faults": keys_marked(store, FAULT)}
    return dict(json.loads(json.dumps(key)))  # tuples become lists, as in the file


@dataclass(frozen=True)
class KeptChoices:
    """The choices kept in the store at `root`."""

    root: Path

    @property
    def folder(self) -> Path:
        """Where everything is kept."""
        return self.root / FOLDER

    @property
    def cache(self) -> SpareCache:
        """The scores of candidates, in memory where they cannot be kept."""
        return SpareCache(self.folder / CACHE)

    @property
    def holds_any(self) -> bool:
        """Whether a choice is kept, under whatever key."""
        return any(self.folder.glob(f"*/{KEY}"))

    def place(self, key: Mapping[str, Any]) -> Path:
        """The folder of a choice."""
        return self.folder / _digest(key)[:16]

    def read(self, key: Mapping[str, Any], candidates: Collection[Member]) -> Choice | None:
        """The choice of a key, None where there is none; DataError where its files are damaged or forged.

        candidates: what a recipe may hold, the possible members of the fixed default too.
        """
        folder = self.place(key)
        if not os.path.lexists(folder / KEY):
            return None
        try:
            _refuse_links(self.folder, folder)
            choice = _checked(folder, key, candidates)
        except (AsdError, OSError, ValueError, RecursionError, KeyError, TypeError, AttributeError) as error:
            raise DataError(f"{folder}: not a choice that can be run: {reason_of(error)}") from error
        with suppress(OSError):
            os.utime(folder / KEY)
        return choice

    def keep(self, key: Mapping[str, Any], choice: Choice, recipe: Recipe, scores: Collection[str]) -> None:
        """Write a choice of a `recipe` made with the cached `scores`; OSError or DataError where it cannot be kept."""
        folder = self.place(key)
        _refuse_links(self.folder, folder)
        contents = {
            RECIPE: recipe_text(recipe).encode(),
            SELECTION: selection_bytes(choice.selection),
        }
        record = {"key": key, "files": {name: _sha256(data) for name, data in contents.items()}, "scores": [*scores]}
        make_folder(folder)
        for name, data in contents.items():
            write_new(folder / name, data)
        write_new(folder / KEY, (json.dumps(record, indent=1) + "\n").encode())

    def prune(self, store: FeatureStore) -> None:
        """Remove choices made with other rows than the store has now, all but the last KEPT, and unused scores."""
        present = {name: content_of(store, name) for name in store.embeddings}
        needed: set[str] = set()
        fresh = 0
        with suppress(OSError, AsdError):
            _refuse_links(self.folder, self.folder / CACHE)
            folders = [path for path in self.folder.iterdir() if _CHOICE.fullmatch(path.name)]
            for folder in sorted(folders, key=lambda path: _age(path / KEY)):
                record = _record(folder)
                if record is None and _age(folder) < SPARED_S:
                    continue  # another process may be writing it
                if record is None or fresh == KEPT or not record["key"]["contents"].items() <= present.items():
                    shutil.rmtree(folder, ignore_errors=True)
                    continue
                fresh += 1
                needed.update(record["scores"])
            _remove_scores(self.folder / CACHE, needed)


def _checked(folder: Path, key: Mapping[str, Any], candidates: Collection[Member]) -> Choice:
    record = json.loads(read_regular(folder / KEY, MAX_BYTES))
    if record["key"] != key:
        raise DataError(f"{KEY} belongs to another choice")
    data = {name: read_regular(folder / name, MAX_BYTES) for name in (RECIPE, SELECTION)}
    for name, content in data.items():
        if _sha256(content) != record["files"][name]:
            raise DataError(f"{name} has changed since it was written")
    selection = json.loads(data[SELECTION])
    for name in ("chosen", "reason"):
        if not isinstance(selection[name], str) or not selection[name].isprintable():
            raise DataError(f"{SELECTION}: {name} = {selection[name]!r}, expected plain text")
    recipe = None if selection["chosen"] == DEFAULT else read_recipe(folder / RECIPE)
    if recipe is not None:
        lead_of(selection)
        _refuse_other_recipe(recipe, candidates, {**key["options"], "confirmed_faults": tuple(key.get("faults", ()))})
    return Choice(recipe, selection)


def _refuse_other_recipe(recipe: Recipe, candidates: Collection[Member], options: Mapping[str, Any]) -> None:
    """DataError unless the recipe is what a selection writes: weighted candidates, decided in the usual way.

    Domains are pooled, whatever the options say, where no machine has training clips of both.
    """
    known = {replace(member, weight=1.0) for member in candidates}
    for member in recipe.members:
        if replace(member, weight=1.0) not in known:
            raise DataError(f"{RECIPE}: {member.name} is no candidate")
        if not (0 < member.weight < math.inf):
            raise DataError(f"{RECIPE}: {member.name} has the weight {member.weight}")
    given = {field.name: options[field.name] for field in fields(recipe) if field.name in options}
    usual = Recipe(recipe.members, name=recipe.name, fusion=recipe.fusion, **given)
    if recipe.fusion not in FUSIONS or recipe not in (usual, replace(usual, domains=DOMAINS[0])):
        raise DataError(f"{RECIPE} decides in a way that was not selected")


def lead_of(selection: Mapping[str, Any]) -> tuple[float, float, float]:
    """How far the choice leads the fixed default in official score, and the 95 % interval."""
    rows = [row for row in selection["standings"] if row["name"] == selection["chosen"]]
    if not rows:
        raise DataError(f"{SELECTION} does not say how {selection['chosen']} compares")
    lead, low, high = (float(rows[0][name]) for name in ("lead", "low", "high"))
    return lead, low, high


def _refuse_links(*folders: Path) -> None:
    for folder in folders:
        if folder.is_symlink():
            raise DataError(f"{folder} is a symbolic link")


def _record(folder: Path) -> dict[str, Any] | None:
    """The content of a choice's key.json as far as pruning needs it, None where it is damaged."""
    try:
        record = json.loads(read_regular(folder / KEY, MAX_BYTES))
        usable = isinstance(record["key"]["contents"], dict) and all(isinstance(key, str) for key in record["scores"])
    except (AsdError, OSError, ValueError, RecursionError, KeyError, TypeError):
        return None
    return record if usable else None


def _remove_scores(folder: Path, needed: Collection[str]) -> None:
    for path in folder.iterdir():
        match = _SCORES.fullmatch(path.name)
        if match and (match[1] not in needed or path.suffix == TEMPORARY_SUFFIX) and _age(path) > SPARED_S:
            with suppress(OSError):
                path.unlink()


def _age(path: Path) -> float:
    """Seconds since a file was written or marked as used; infinite where it is missing."""
    try:
        return time.time() - path.stat(follow_symlinks=False).st_mtime
    except OSError:
        return math.inf


def _digest(values: object) -> str:
    return _sha256(json.dumps(values, sort_keys=True).encode())


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
