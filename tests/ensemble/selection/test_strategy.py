"""A selection that takes a named strategy, and one for some machines only."""

from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner
from selection_store import members_of, recordings, selection_store, variants

from ensemble.cli import main
from ensemble.recipe import read_recipe
from ensemble.selection.kept import key_of
from ensemble.selection.scoring.cache import ScoreCache
from ensemble.selection.scoring.validation import plan_validation
from ensemble.selection.select import Options, select
from featstore.errors import DataError
from featstore.store import FeatureStore

BEST = Options(strategy="best single", replicates=20, workers=0)


def machines_of(store: FeatureStore) -> list[str]:
    return sorted({machine for machine, _ in store.clips(sorted(store.embeddings)[0]).sections()})


def test_a_named_strategy_is_taken(store: FeatureStore, tmp_path: Path) -> None:
    selection = select(store, members_of(store), ScoreCache(tmp_path), BEST)
    assert selection.chosen == "best single"
    assert [member.name for member in selection.recipe.members] == [selection.candidates[0].member.name]
    assert selection.reason.startswith("named by --strategy; without it: ")


def test_only_the_clips_of_named_machines_are_used(tmp_path: Path) -> None:
    fans = [*recordings(), *variants(recordings())]
    pumps = [replace(clip, machine="pump", path=clip.path.replace("fan", "pump")) for clip in fans]
    store = selection_store(tmp_path / "both", [*fans, *pumps])
    clips, facts = store.clips("emb"), store.facts("emb")
    both, pump = plan_validation(clips, facts), plan_validation(clips, facts, machines=("pump",))
    assert {machine for machine, _ in both.sections} == {"fan", "pump"}
    assert {machine for machine, _ in pump.sections} == {"pump"}
    assert set(pump.keys) == {key for key in both.keys if key.startswith("pump")}
    chosen = select(store, members_of(store), ScoreCache(tmp_path / "cache"), replace(BEST, machines=("pump",)))
    assert chosen.clips["normal"] == len(recordings())
    with pytest.raises(DataError, match="unknown machine: 'nobody'"):
        select(store, members_of(store), ScoreCache(tmp_path / "cache"), replace(BEST, machines=("nobody",)))


def test_a_single_anomaly_type_is_named_because_nothing_can_be_hidden_from_the_choice(tmp_path: Path) -> None:
    clips = [*recordings(), *(clip for clip in variants(recordings()) if clip.variant.startswith("leak@"))]
    store = selection_store(tmp_path / "store", clips)
    selection = select(store, members_of(store), ScoreCache(tmp_path / "cache"), BEST)
    assert any("all generated anomalies are of one type (leak)" in warning for warning in selection.warnings)


def test_an_unknown_strategy_lists_the_known() -> None:
    with pytest.raises(DataError, match=r"unknown strategy: 'best singel'.*did you mean best single"):
        Options(strategy="best singel")


def test_choices_without_them_keep_their_keys(store: FeatureStore) -> None:
    plain, named = key_of(store, members_of(store), Options()), key_of(store, members_of(store), BEST)
    assert not {"strategy", "machines"} & set(plain["options"])
    assert named["options"]["strategy"] == "best single"


def test_the_command_chooses_for_a_machine(store: FeatureStore, tmp_path: Path) -> None:
    out = tmp_path / "recipe.toml"
    machine = machines_of(store)[0]
    words = ["select", str(store.path), "-o", str(out), "--strategy", "best single", "--machine", machine]
    result = CliRunner().invoke(main, [*words, "--replicates", "20", "--workers", "0"])
    assert result.exit_code == 0, result.output
    assert len(read_recipe(out).members) == 1
