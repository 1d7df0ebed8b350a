"""Kept choices: what they follow from, what is refused when they are read, and what is removed in the end."""

import json
import os
import re
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from selection_store import members_of, recordings, selection_store, variants

from ensemble.defaults import default_recipe, possible_members
from ensemble.recipe import Member, Recipe, recipe_text
from ensemble.selection import kept
from ensemble.selection.kept import KEPT, SPARED_S, Choice, KeptChoices, key_of
from ensemble.selection.scoring.perturb_design import PerturbDesign
from ensemble.selection.select import Options, canonical
from ensemble.selection.standings import DEFAULT
from featstore.errors import DataError
from featstore.store import FeatureStore

USED = ["a" * 64]


@pytest.fixture
def own(tmp_path: Path) -> FeatureStore:
    """A store that the test may change."""
    return selection_store(tmp_path / "store", [*recordings(4, 1), *variants(recordings(4, 1))])


def choice_of(store: FeatureStore, **more: Any) -> Choice:
    members = [replace(member, fingerprint="f" * 64, weight=2.0) for member in members_of(store)[:3]]
    standings = [{"name": "best 3", "score": 0.9, "lead": 0.1, "low": 0.05, "high": 0.2, "p": 0.01}]
    selection = {"chosen": "best 3", "reason": "it leads", "standings": standings, **more}
    members += [replace(member, weight=0.5) for member in of_default(store)[:2]]
    recipe = Recipe(tuple(members), name="selected", fusion="weighted_fisher", domains="predicted")
    return Choice(None if selection["chosen"] == DEFAULT else recipe, selection)


def candidates_of(store: FeatureStore) -> list[Member]:
    return [replace(member, fingerprint="f" * 64) for member in members_of(store)]


def of_default(store: FeatureStore) -> list[Member]:
    """Members that the fixed default may have and that are no candidates."""
    names = {member.name for member in candidates_of(store)}
    return [member for member in canonical(possible_members(store), store).members if member.name not in names]


def key(store: FeatureStore, **options: Any) -> dict[str, Any]:
    return key_of(store, candidates_of(store), Options(**options))


def keep(store: FeatureStore, **options: Any) -> Path:
    """Keep a choice; returns its folder."""
    shelf = KeptChoices(store.path)
    put(store, choice_of(store), **options)
    return shelf.place(key(store, **options))


def put(store: FeatureStore, choice: Choice, **options: Any) -> None:
    KeptChoices(store.path).keep(key(store, **options), choice, choice.recipe or default_recipe(store), USED)


def read(store: FeatureStore, **options: Any) -> Choice | None:
    return KeptChoices(store.path).read(key(store, **options), [*candidates_of(store), *of_default(store)])


def test_a_choice_is_read_as_it_was_kept(own: FeatureStore) -> None:
    assert read(own) is None
    keep(own)
    assert read(own) == choice_of(own)
    assert read(own, seed=1) is None


def test_a_recipe_may_hold_the_default_and_pool_the_domains_but_nothing_else(own: FeatureStore) -> None:
    keep(own)
    with pytest.raises(DataError, match="is no candidate"):
        KeptChoices(own.path).read(key(own), candidates_of(own))
    kept_choice = choice_of(own)
    assert kept_choice.recipe is not None
    pooled = replace(kept_choice, recipe=replace(kept_choice.recipe, domains="pooled"))
    put(own, pooled)
    assert read(own) == pooled


def test_a_kept_default_needs_no_recipe(own: FeatureStore) -> None:
    choice = choice_of(own, chosen=DEFAULT)
    put(own, choice)
    assert read(own) == Choice(None, choice.selection)


def test_the_key_holds_everything_that_a_choice_follows_from(
    own: FeatureStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    members = candidates_of(own)
    keys = [
        key(own),
        key(own, seed=1),
        key(own, perturbed=PerturbDesign()),
        key(own, perturbed=PerturbDesign(per_pair=3)),
        key_of(own, members[1:], Options()),
        key_of(own, members[:-1], Options()),
        key(selection_store(own.path, recordings(6, 1))),
    ]
    for constant in ("RULES", "PROTOCOL", "VERSION", "FUSION", "DETECTORS"):
        monkeypatch.setattr(kept, constant, 99)
        keys.append(key(own))
    places = {KeptChoices(own.path).place(each) for each in keys}
    assert len(places) == len(keys)
    assert key(own, workers=7) == keys[-1], "the number of processes changes nothing"


def forged(change: Callable[[Recipe], Recipe]) -> Callable[[Path, FeatureStore], None]:
    """Write a changed recipe with the right digests, as an attacker would."""

    def forge(folder: Path, store: FeatureStore) -> None:
        choice = choice_of(store)
        assert choice.recipe is not None
        changed = Choice(change(choice.recipe), choice.selection)
        put(store, changed)

    return forge


def with_member(**values: Any) -> Callable[[Path, FeatureStore], None]:
    return forged(lambda recipe: replace(recipe, members=(replace(recipe.members[0], **values), *recipe.members[1:])))


def selected(**values: Any) -> Callable[[Path, FeatureStore], None]:
    def forge(folder: Path, store: FeatureStore) -> None:
        put(store, choice_of(store, **values))

    return forge


def content(name: str, text: str) -> Callable[[Path, FeatureStore], None]:
    return lambda folder, store: (folder / name).write_text(text) and None


def linked(name: str) -> Callable[[Path, FeatureStore], None]:
    def link(folder: Path, store: FeatureStore) -> None:
        (folder / name).rename(folder / "real")
        (folder / name).symlink_to("real")

    return link


def linked_folder(folder: Path, store: FeatureStore) -> None:
    folder.rename(store.path / "real")
    folder.symlink_to(store.path / "real")


def without_recipe(folder: Path, store: FeatureStore) -> None:
    (folder / "recipe.toml").unlink()


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (content("key.json", "{"), "Expecting property name"),
        (content("key.json", "[" * 100_000), ""),
        (content("key.json", "[]"), ""),
        (content("key.json", '{"key": {}}'), "belongs to another choice"),
        (content("recipe.toml", "x = 1"), r"recipe\.toml has changed"),
        (content("selection.json", "{}"), r"selection\.json has changed"),
        (without_recipe, "No such file"),
        (linked("key.json"), "symbolic link"),
        (linked("recipe.toml"), "symbolic link"),
        (linked_folder, "symbolic link"),
        (with_member(detector="os:system"), "os:system is no candidate"),
        (with_member(embedding="", view="", detector="scores:/etc/passwd"), "is no candidate"),
        (with_member(fingerprint="0" * 64), "is no candidate"),
        (with_member(weight=0.0), "has the weight 0"),
        (with_member(weight=float("inf")), "has the weight inf"),
        (forged(lambda recipe: replace(recipe, false_alarm_rate=0.9)), "was not selected"),
        (forged(lambda recipe: replace(recipe, domains="known")), "was not selected"),
        (forged(lambda recipe: replace(recipe, fusion="median")), "was not selected"),
        (selected(reason="\x1b[2J"), "expected plain text"),
        (selected(chosen=["best 3"]), "expected plain text"),
        (selected(standings=[]), "does not say how best 3 compares"),
        (selected(standings=[{"name": "best 3", "lead": "high"}]), ""),
        (selected(standings=7), ""),
    ],
)
def test_what_is_damaged_or_forged_is_refused(
    harm: Callable[[Path, FeatureStore], None], words: str, own: FeatureStore
) -> None:
    folder = keep(own)
    harm(folder, own)
    with pytest.raises(DataError, match=f"{re.escape(str(folder))}: not a choice that can be run: .*{words}"):
        read(own)
    if not folder.is_symlink() and not (folder / "real").exists():
        keep(own)
        assert read(own) == choice_of(own), "the next choice replaces it"


def test_a_recipe_of_another_process_with_the_same_key_is_not_mixed_in(own: FeatureStore) -> None:
    folder = keep(own)
    other = replace(choice_of(own).recipe, fusion="weighted_mean")  # type: ignore[type-var]
    (folder / "recipe.toml").write_text(recipe_text(other))  # type: ignore[arg-type]
    with pytest.raises(DataError, match="has changed since it was written"):
        read(own)


def age(path: Path, seconds: float) -> None:
    moment = time.time() - seconds
    os.utime(path, (moment, moment))


def test_of_many_choices_those_used_last_stay(own: FeatureStore) -> None:
    for seed in range(KEPT + 2):
        age(keep(own, seed=seed) / "key.json", 100 - seed)
    assert read(own, seed=0), "it is used now"
    KeptChoices(own.path).prune(own)
    assert [seed for seed in range(KEPT + 2) if not read(own, seed=seed)] == [1, 2]


def test_choices_of_other_rows_go(own: FeatureStore) -> None:
    old = keep(own)
    changed = selection_store(own.path, [*recordings(6, 1), *variants(recordings(6, 1))])
    new = keep(changed)
    KeptChoices(own.path).prune(changed)
    assert (old.exists(), new.exists()) == (False, True)


def test_scores_that_no_choice_needs_go_after_a_day(own: FeatureStore) -> None:
    keep(own)
    cache = own.path / "selection" / "selection-cache"
    cache.mkdir()
    names = ["a" * 64, "b" * 64, "c" * 64]
    files = [cache / f"{name}.npz" for name in names] + [cache / f"{'a' * 64}.npz.01234567.tmp", cache / "notes.txt"]
    for file in files:
        file.write_bytes(b"scores")
        age(file, 0 if file.name.startswith("b") else SPARED_S + 100)
    KeptChoices(own.path).prune(own)
    gone = [file.name for file in files if not file.exists()]
    assert gone == [f"{'c' * 64}.npz", f"{'a' * 64}.npz.01234567.tmp"]


def test_a_choice_that_is_being_written_is_spared_and_the_leavings_of_a_killed_one_are_not(own: FeatureStore) -> None:
    half, old = (own.path / "selection" / (digit * 16) for digit in "12")
    for folder in (half, old):
        folder.mkdir(parents=True)
        (folder / "recipe.toml").write_text("")
    age(old, SPARED_S + 100)
    foreign = own.path / "selection" / "mine"
    foreign.mkdir()
    KeptChoices(own.path).prune(own)
    assert (half.exists(), old.exists(), foreign.exists()) == (True, False, True)


def test_nothing_is_removed_through_a_link(own: FeatureStore, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    (outside / ("1" * 16)).mkdir(parents=True)
    age(outside / ("1" * 16), SPARED_S + 100)
    (own.path / "selection").symlink_to(outside)
    KeptChoices(own.path).prune(own)
    assert (outside / ("1" * 16)).exists()
    with pytest.raises(DataError, match="symbolic link"):
        keep(own)


def test_key_json_names_the_scores_and_what_the_choice_follows_from(own: FeatureStore) -> None:
    record = json.loads((keep(own) / "key.json").read_text())
    assert record["scores"] == USED
    assert record["key"] == key(own)
