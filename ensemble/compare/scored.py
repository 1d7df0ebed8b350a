"""Scores of the test clips by several recipes; a member that several recipes share is scored once."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from detectors.metrics.scores import ScoreTable
from ensemble.checks.unscored import rejected_keys
from ensemble.inputs import Inputs, embeddings_of
from ensemble.members import member_scores
from ensemble.recipe import Member, Recipe
from ensemble.run import combined_members, resolve
from featstore.errors import AsdError
from featstore.store import FeatureStore


@dataclass(frozen=True, eq=False)
class Scored:
    """Scores of the test clips by the name of each system, and notes for the user."""

    tables: Mapping[str, ScoreTable]
    notes: tuple[str, ...]


def score_recipes(
    store: FeatureStore,
    recipes: Mapping[str, Recipe],
    *,
    machines: Sequence[str] = (),
    workers: int | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Scored:
    """Score the test clips of the named machines (default: all) by every recipe, each as `detect` would.

    The message of an error begins with the name of the recipe, where only one is concerned.
    """
    resolved = {name: _resolved(store, name, recipe) for name, recipe in recipes.items()}
    tables: dict[str, ScoreTable] = {}
    notes: dict[str, None] = {}
    batches = [(batch, _members(batch.values())) for batch in _batches(store, resolved)]
    total, done = sum(len(members) for _, members in batches), 0
    for batch, members in batches:
        union = replace(next(iter(batch.values())), members=tuple(members.values()))
        inputs = Inputs(store, union, machines)
        scores = member_scores(inputs, union, workers=workers, progress=partial(_progress, progress, done, total))
        of_member, done = dict(zip(members, scores, strict=True)), done + len(members)
        keys = tuple(inputs.clips[inputs.roles.scored].keys())
        for name, recipe in batch.items():
            combined = combined_members(inputs, recipe, [of_member[_identity(member)] for member in recipe.members])
            tables[name] = ScoreTable(name, keys, combined.fused.scores)
        notes |= dict.fromkeys([*inputs.notes, *inputs.roles.left_out, *inputs.copies.notes(left_out=True)])
    return Scored({name: tables[name] for name in recipes}, tuple(notes))


def _progress(progress: Callable[[int, int], None], before: int, total: int, done: int, _: int) -> None:
    progress(before + done, total)


def _resolved(store: FeatureStore, name: str, recipe: Recipe) -> Recipe:
    try:
        return resolve(store, recipe)
    except AsdError as error:
        raise type(error)(f"{name}: {error}") from error


def _batches(store: FeatureStore, recipes: Mapping[str, Recipe]) -> list[dict[str, Recipe]]:
    """Recipes that may share members: they read the same clips and divide them alike."""
    known: dict[tuple[str, ...], frozenset[str]] = {}
    batches: dict[object, dict[str, Recipe]] = {}
    for name, recipe in recipes.items():
        embeddings = tuple(embeddings_of(store, recipe))
        if embeddings not in known:
            known[embeddings] = _clips(store, embeddings)
        chosen_by = recipe.confirmed_faults, recipe.confirmed_normal
        files = tuple(member.file for member in recipe.members if member.file)
        divided = recipe.pool_sections, recipe.group_by, recipe.group, recipe.marks
        batches.setdefault((*divided, chosen_by, files, known[embeddings]), {})[name] = recipe
    return list(batches.values())


def _clips(store: FeatureStore, embeddings: tuple[str, ...]) -> frozenset[str]:
    """Keys of the recordings that a recipe with these embeddings reads."""
    clips = store.clips(embeddings[0])
    return frozenset(clips[clips.where(variant="")].keys()).difference(rejected_keys(store, embeddings[1:]))


def _members(recipes: Iterable[Recipe]) -> dict[tuple[str, str, str], Member]:
    """Every different member of the recipes."""
    return {_identity(member): member for recipe in recipes for member in recipe.members}


def _identity(member: Member) -> tuple[str, str, str]:
    """What a member's scores depend on."""
    return member.embedding, member.view, member.detector
