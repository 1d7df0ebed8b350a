"""The ensemble of `--ensemble`: chosen by generated anomalies where the store allows it, else the fixed default.

The choice is kept in the store (`selection.kept`), so the next run with nothing changed only runs it. What was chosen
and why, or why nothing could be chosen, is told in a few lines.
"""

from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass
from functools import partial
from typing import Any

from ensemble.checks.subtracted import left_out_notes
from ensemble.defaults import default_recipe, possible_members
from ensemble.marks.apply import marked_faults
from ensemble.recipe import Member, Recipe
from ensemble.selection.candidates import default_candidates
from ensemble.selection.kept import Choice, KeptChoices, key_of, lead_of
from ensemble.selection.scoring.confirmed import ENOUGH_FAULTS
from ensemble.selection.scoring.validation import PERTURBED
from ensemble.selection.select import Options, canonical, select
from ensemble.selection.standings import DEFAULT
from featstore.errors import AsdError, DataError, reason_of
from featstore.store import FeatureStore
from featstore.terminal.shown import counted

NAMED = 4
"""Members that are named in a line."""


@dataclass(frozen=True)
class Ensemble:
    """A recipe to run, of which kind it is, and why.

    kind: chosen (by generated anomalies), default (the fixed one), named (detectors of -d), recipe (of a file) or
    scores (files of other systems only). selection: content of selection.json, where a selection was made.
    """

    recipe: Recipe
    kind: str
    reason: str
    selection: Mapping[str, Any] | None = None

    def as_json(self) -> dict[str, str]:
        """Which ensemble ran, for metrics.json."""
        return {"kind": self.kind, "reason": self.reason}


def chosen_ensemble(
    store: FeatureStore,
    embeddings: tuple[str, ...],
    options: Options,
    *,
    say: Callable[[str], None],
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Ensemble:
    """The ensemble for the named embeddings or views (default: all); a kept choice, else a new one, else the default.

    Errors of the names are raised; a selection that fails is told by `say`.
    """
    names = tuple(sorted(set(embeddings)))
    for note in left_out_notes(store, names):
        say(f"note: {note}")
    candidates = default_candidates(store, names)
    default = partial(default_recipe, store, names)
    faults = marked_faults(store)
    if not options.perturbed and not _has_anomalies(store, candidates) and len(faults) < ENOUGH_FAULTS:
        reason = "the store has no generated anomalies to choose by"
        if faults:
            reason += f" and only {counted(len(faults), 'clip')} marked as faults, of at least {ENOUGH_FAULTS}"
        build = f"`featstore build DATA {store.path} --anomalies auto` generates some"
        cure = f"{build}; --perturb generates them from embeddings"
        return _default(default, reason, cure, say)
    shelf, key = KeptChoices(store.path), key_of(store, candidates, options)
    possible = [*candidates, *canonical(possible_members(store, names), store).members]
    try:
        kept = shelf.read(key, possible)
    except DataError as error:
        say(f"note: {error}; an ensemble is chosen again")
        kept = None
    else:
        if kept is None and shelf.holds_any:
            say("note: data, marks or options have changed since the stored choice; an ensemble is chosen again")
    if kept:
        return _ensemble(
            kept, default, f"stored in {shelf.place(key).parent}; to choose again, delete this folder", say
        )
    cache = shelf.cache
    try:
        selection = select(store, candidates, cache, options, faults=faults, progress=progress)
    except DataError as error:
        return _default(default, str(error), "", say)
    used = {candidate.member.embedding for candidate in selection.candidates}
    for name in sorted({member.embedding for member in candidates} - used):
        bare = store.clips(name).where(variant="").all() and not options.perturbed
        lack = (
            "it has no generated anomalies; build it with --anomalies auto" if bare else "none of its scores is usable"
        )
        say(f"note: {name} is not used in the choice: {lack}")
    choice = Choice.of(selection)
    try:
        shelf.keep(key, choice, selection.recipe, sorted(cache.used))
        where = f"stored in {shelf.place(key).parent}"
    except (AsdError, OSError) as error:
        where = f"not stored, so the next run chooses again: {reason_of(error)}"
    shelf.prune(store)
    return _ensemble(choice, default, where, say, of={member.name for member in candidates})


def _has_anomalies(store: FeatureStore, candidates: Sequence[Member]) -> bool:
    names = dict.fromkeys(member.embedding for member in candidates)
    return any(not store.clips(name).where(variant="").all() for name in names)


def _ensemble(
    choice: Choice, default: Callable[[], Recipe], where: str, say: Callable[[str], None], *, of: Set[str] | None = None
) -> Ensemble:
    """The ensemble of a choice; in three lines where it is new, chosen `of` these candidates, in one where not."""
    selection = choice.selection
    reason = str(selection["reason"])
    if choice.recipe is None:
        return _default(default, reason, f"the result is {where}", say, selection)
    members = choice.recipe.members
    lead = _lead(selection)
    if of is None:
        say(
            f"ensemble: an earlier choice of {counted(len(members), 'member')} ({selection['chosen']}), {where}; {lead}"
        )
    else:
        pool = f"of {counted(len(of), 'combination')} of view and detector"
        if not {member.name for member in members} <= of:
            pool = f"members, from {counted(len(of), 'combination')} of view and detector and the {DEFAULT}"
        say(f"chosen: {len(members)} {pool} ({selection['chosen']}): {_named(members)}")
        say(f"on generated anomalies that were not used to choose, {lead}")
        say(f"data: {_clips(selection)}; the choice is {where}")
    return Ensemble(choice.recipe, "chosen", reason, selection)


def _default(
    default: Callable[[], Recipe],
    reason: str,
    advice: str,
    say: Callable[[str], None],
    selection: Mapping[str, Any] | None = None,
) -> Ensemble:
    """The fixed default, with a line that says why, and what to do about it."""
    say(f"ensemble: the {DEFAULT}: {'; '.join(filter(None, [reason, advice]))}")
    return Ensemble(default(), "default", reason, selection)


def _lead(selection: Mapping[str, Any]) -> str:
    lead, low, high = (100 * value for value in lead_of(selection))
    side = "higher" if lead >= 0 else "lower"
    half = "" if lead >= 0 else f"; it is used because half of its weight is the {DEFAULT} (docs/selection.md)"
    points = f"{abs(lead):.1f} points {side} [{low:+.1f}, {high:+.1f}]"
    return f"the official score is {points} than that of the {DEFAULT}{half}"


def _named(members: Sequence[Member]) -> str:
    """The first members by view and kind of detector."""
    kinds = list(dict.fromkeys(f"{member.source} {member.method.partition(':')[0]}" for member in members))
    return ", ".join([*kinds[:NAMED], *(["..."] if len(kinds) > NAMED else [])])


def _clips(selection: Mapping[str, Any]) -> str:
    kinds = {pair.rpartition("@")[0] for pair in selection["pair_weights"]}
    clips, what = selection["clips"], "perturbed clips" if PERTURBED in selection["warnings"] else "generated anomalies"
    return (
        f"{clips['generated']:,} {what} of {counted(len(kinds), 'kind')} and {counted(clips['normal'], 'normal clip')}"
    )
