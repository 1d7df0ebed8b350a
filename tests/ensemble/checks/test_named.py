"""What -e names in a store of two microphones: the views that run, the lines about the others, and kept choices."""

import pytest
from scored_plant import built
from two_microphones import LISTED, record_two

from ensemble.checks.named import distinct_sources, named_sources, sources_of
from ensemble.checks.subtracted import left_out, left_out_notes
from ensemble.chosen import chosen_ensemble
from ensemble.defaults import default_recipe, possible_members, single_recipe
from ensemble.recipe import Recipe
from ensemble.selection.candidates import default_candidates
from ensemble.selection.scoring.perturb_design import PerturbDesign
from ensemble.selection.select import Options
from featstore.audio.policy import AudioPolicy
from featstore.errors import RequestError, StoreError
from featstore.store import FeatureStore

SPECS = {"logmel": "logmel:stats=mean;p10", "twfr": "twfr:r=0.99;0.9"}


@pytest.fixture(scope="module", autouse=True)
def _unsynced(unsynced: None) -> None:
    pass


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> FeatureStore:
    """Two embeddings of two microphones whose noise has nothing in common: both 1 and 0-1 are left out."""
    folder = tmp_path_factory.mktemp("named")
    root = record_two(folder / "data", common=False)
    return built(root, folder / "store", SPECS, AudioPolicy(LISTED, "native"))


def far_views(recipe: Recipe) -> set[str]:
    """The members' views of other mixes than the near channel."""
    return {member.source for member in recipe.members if not member.view.startswith("0/")}


def test_a_text_names_an_embedding_a_mix_or_a_view(store: FeatureStore) -> None:
    assert len(sources_of(store, "logmel")) == 6
    assert sources_of(store, "logmel@0-1") == (("logmel", "0-1/mean"), ("logmel", "0-1/p10"))
    assert sources_of(store, "twfr@1/r0.9") == (("twfr", "1/r0.9"),)
    texts = ("logmel@0-1/mean", "logmel", "logmel@0-1")
    assert distinct_sources(store, texts) == list(sources_of(store, "logmel"))
    assert named_sources(store, texts) == set(sources_of(store, "logmel@0-1"))


def test_an_unknown_view_names_the_views_and_mixes(store: FeatureStore) -> None:
    with pytest.raises(RequestError, match=r"logmel has no view '0-2'; its views: 0/mean, .*; its mixes: 0, 1, 0-1"):
        sources_of(store, "logmel@0-2")
    with pytest.raises(RequestError, match="did you mean 0-1/mean"):
        default_recipe(store, ("logmel@0-1/meen",))
    with pytest.raises(RequestError, match="did you mean 0/mean"):
        default_recipe(store, ("logmel@mean",))
    with pytest.raises(StoreError, match="no embedding 'beats'"):
        sources_of(store, "beats@0-1")


def test_a_named_view_adds_itself_and_the_rest_is_left_out_as_before(store: FeatureStore) -> None:
    near = {member.source for member in default_recipe(store, ("twfr",)).members}
    recipe = default_recipe(store, ("twfr", "logmel@0-1/mean"))
    assert far_views(recipe) == {"logmel@0-1/mean"}
    assert {member.source for member in recipe.members} == near | {"logmel@0-1/mean"}
    mixed = default_recipe(store, ("twfr", "logmel@0-1"))
    assert far_views(mixed) == {"logmel@0-1/mean", "logmel@0-1/p10"}


def test_a_view_beside_its_whole_embedding_counts_once(store: FeatureStore) -> None:
    recipe = default_recipe(store, ("logmel", "twfr", "logmel@0-1/mean"))
    assert far_views(recipe) == {"logmel@0-1/mean"}
    included = default_recipe(store, ("logmel", "logmel@0/mean"))
    assert far_views(included) == set()
    names = [member.name for member in possible_members(store, ("logmel", "logmel@0/mean")).members]
    assert names == [member.name for member in possible_members(store, ("logmel",)).members]


def test_notes_say_what_is_left_out_and_what_adds_it(store: FeatureStore) -> None:
    for texts in ((), ("twfr", "logmel@0-1/mean"), ("logmel", "twfr", "logmel@0-1", "twfr@0-1")):
        notes = {note.partition(" left out")[0]: note for note in left_out_notes(store, texts)}
        unused = {"1", "0-1"} if "twfr@0-1" not in texts else {"1"}
        assert set(notes) == unused
        for mix, note in notes.items():
            typed = note.partition("to add it to the rest: ")[2].replace("-e ", "").split()
            assert tuple(typed[: len(texts)]) == texts or not texts
            before, after = far_views(default_recipe(store, texts)), far_views(default_recipe(store, tuple(typed)))
            whole = [text for text in texts or ("logmel", "twfr") if "@" not in text]
            assert after == before | {
                f"{name}@{view}" for text in whole for name, view in sources_of(store, f"{text}@{mix}")
            }
    note = left_out_notes(store, ("twfr", "logmel@0-1/mean"))[1]
    assert note.startswith("0-1 left out of twfr: it removes ")
    assert note.endswith(
        "; logmel@0-1/mean is used as named; to add it to the rest: -e twfr -e logmel@0-1/mean -e twfr@0-1"
    )


def test_candidates_and_default_name_alike(store: FeatureStore) -> None:
    for texts in (("twfr", "logmel@0-1"), ("logmel", "twfr", "logmel@0-1/mean"), ("logmel", "logmel@1")):
        far = {member.source for member in default_candidates(store, texts) if not member.view.startswith("0/")}
        assert far == far_views(default_recipe(store, texts))
    assert set(left_out(store, ("twfr", "logmel@0-1"))) == {"1", "0-1"}


def test_one_detector_reads_one_view(store: FeatureStore) -> None:
    with pytest.raises(RequestError, match=r"logmel@0-1 names the 2 views of a mix.*-e logmel@0-1/mean"):
        single_recipe(store, "knn", "logmel@0-1")
    assert single_recipe(store, "knn", "logmel@0-1/p10").members[0].view == "0-1/p10"
    assert single_recipe(store, "knn", "logmel").members[0].view == ""


def test_detectors_that_are_named_run_on_every_view_once(store: FeatureStore) -> None:
    members = default_recipe(store, ("logmel", "logmel@0-1/mean"), ("knn",)).members
    assert sorted((member.embedding, member.view) for member in members) == sorted(sources_of(store, "logmel"))


def test_a_choice_with_a_named_view_is_kept_and_reused(store: FeatureStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ensemble.selection.candidates.GRID", ({"name": "knn", "k": [1, 2]},))
    options = Options(workers=1, replicates=20, perturbed=PerturbDesign())
    texts = ("logmel", "twfr", "logmel@0-1/mean")
    lines: list[str] = []
    first = chosen_ensemble(store, texts, options, say=lines.append)
    fixed = {member["name"] for member in first.selection["candidates"]} if first.selection else set()
    assert any("logmel@0-1/mean" in name for name in fixed)
    assert not any("twfr@0-1" in name or "logmel@0-1/p10" in name for name in fixed)
    lines.clear()
    monkeypatch.setattr("ensemble.chosen.select", None)
    again = chosen_ensemble(store, texts, options, say=lines.append)
    assert (again.kind, again.recipe) == (first.kind, first.recipe)
    assert "to choose again, delete this folder" in lines[-1]
    assert not [line for line in lines if "twice" in line or "chosen again" in line]
