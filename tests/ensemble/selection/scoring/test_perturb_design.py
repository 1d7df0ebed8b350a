"""The design of perturbations in a validation: coherent, balanced, and never scored by a bank with the same clip."""

import json
from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner
from selection_store import VIEWS, recordings, selection_store, variants

from ensemble.cli import main
from ensemble.selection.scoring.held_out import folds_of
from ensemble.selection.scoring.perturb import PERTURBATIONS, Bank
from ensemble.selection.scoring.perturb_design import PerturbDesign
from ensemble.selection.scoring.score_candidates import rows_of
from ensemble.selection.scoring.validation import NORMAL, PERTURBED, Pair, Validation, plan_validation
from featstore.clip import Clip
from featstore.errors import DataError
from featstore.table import ClipTable, encode

SMALL = PerturbDesign(per_pair=6, severities_db=(-5.0, 5.0))


@pytest.fixture(scope="module")
def clips() -> list[Clip]:
    elsewhere = [replace(clip, path=clip.path.replace("fan", "pump"), machine="pump") for clip in recordings()]
    return [*recordings(), *elsewhere]


def planned(clips: list[Clip], design: PerturbDesign = SMALL, hashes: dict[str, str] | None = None) -> Validation:
    contents = [(hashes or {}).get(clip.path, f"hash of {clip.path}") for clip in clips]
    facts = {"content_hash": encode(contents), "outcome": encode("" for _ in clips)}
    return plan_validation(ClipTable.from_clips(clips), facts, perturbed=design)


def rows(plan: Validation, vectors: dict[str, np.ndarray]) -> np.ndarray:
    return all_rows(np.array([vectors[key] for key in plan.keys[: plan.stored]], dtype=np.float32), plan)


def all_rows(X: np.ndarray, plan: Validation) -> np.ndarray:
    """Rows of all clips of a validation, from rows X of the stored ones."""
    out = np.full((len(plan), X.shape[1]), np.nan, dtype=X.dtype)
    for fold in folds_of(plan):
        out[fold.held_out] = fold.held_out_rows(X)
    return out


def vectors_of(clips: list[Clip]) -> dict[str, np.ndarray]:
    return {clip.path: np.random.default_rng(i).normal(size=9) for i, clip in enumerate(clips)}


def test_every_pair_has_as_many_clips_in_each_section_and_domain(clips: list[Clip]) -> None:
    plan = planned(clips)
    assert len(plan.pairs) == 2 * len(PERTURBATIONS)
    for section in range(4):
        for domain, expected in (("source", 6), ("target", 4)):
            here = (plan.section == section) & (plan.domain == domain) & ~plan.normal
            np.testing.assert_array_equal(np.bincount(plan.pair[here], minlength=len(plan.pairs)), expected)


def test_a_change_is_the_same_at_every_severity(clips: list[Clip]) -> None:
    plan = planned(clips)
    assert plan.changes is not None
    weak, strong = (plan.changes[np.flatnonzero(plan.changes.severity_db == db)] for db in (-5, 5))
    for column in ("name", "origin", "donor", "seed"):
        np.testing.assert_array_equal(getattr(weak, column), getattr(strong, column))


def test_donors_are_clips_of_another_machine_in_the_same_domain(clips: list[Clip]) -> None:
    plan = planned(clips)
    changes = plan.changes
    assert changes is not None
    np.testing.assert_array_equal(changes.donor >= 0, np.isin(changes.name, ["exchange", "away"]))
    donor, origin = (column[changes.donor >= 0] for column in (changes.donor, changes.origin))
    machine = np.array([machine for machine, _ in plan.sections])[plan.section]
    assert (machine[donor] != machine[origin]).all()
    assert (plan.domain[donor] == plan.domain[origin]).all()
    fan = planned([clip for clip in clips if clip.machine == "fan"])
    assert fan.changes is not None
    with_donor = fan.changes.donor >= 0
    assert with_donor.any()
    assert (fan.section[fan.changes.donor[with_donor]] != fan.section[fan.changes.origin[with_donor]]).all()


def test_rows_do_not_depend_on_the_order_of_clips(clips: list[Clip]) -> None:
    shuffled = [clips[i] for i in np.random.default_rng(0).permutation(len(clips))]
    first, second = planned(clips), planned(shuffled)
    assert first.keys == second.keys
    assert first.digest == second.digest
    np.testing.assert_array_equal(rows(first, vectors_of(clips)), rows(second, vectors_of(clips)))


def test_a_clip_is_perturbed_with_the_bank_that_scores_it_and_does_not_contain_it(clips: list[Clip]) -> None:
    """Two recordings are copies: with the copy in the bank, `apart` would have no direction."""
    path, copy = clips[0].path, clips[7].path
    plan = planned(
        clips, PerturbDesign(per_pair=40, transforms=("apart",), severities_db=(0.0,)), {path: "same", copy: "same"}
    )
    vectors = vectors_of(clips)
    vectors[copy] = vectors[path]
    X = rows(plan, vectors)
    for fold in range(5):
        for section in range(4):
            here = (plan.section == section) & plan.normal
            held = np.flatnonzero((plan.section == section) & ~plan.normal & (plan.fold == fold))
            bank = Bank.of(X[here & (plan.fold != fold)])
            assert not set(plan.source[held]) & set(plan.source[here & (plan.fold != fold)])
            origin = np.array([plan.keys.index(plan.keys[at].partition("::")[0]) for at in held])
            np.testing.assert_allclose(
                np.linalg.norm(bank.standardised(X[held]) - bank.standardised(X[origin]), axis=1), 3, 1e-4
            )


def test_views_of_a_store_are_perturbed_coherently(tmp_path) -> None:
    """Perturbed clips follow the stored ones, in each view and in the joined matrix."""
    store = selection_store(tmp_path / "store", [*recordings(), *variants(recordings())])
    plan = plan_validation(store.clips("emb"), store.facts("emb"), perturbed=SMALL)
    assert not any(pair.transform in ("leak", "squeal") for pair in plan.pairs)
    stored = rows_of(store, "emb", plan).array
    views = [all_rows(stored[:, at], plan) for at in range(len(VIEWS))]
    X = store.matrix("emb")[plan.rows]
    for at, view in enumerate(views):
        assert view.dtype == np.float32
        np.testing.assert_array_equal(view[: plan.stored], X[: plan.stored, at])
        assert (view[plan.stored :] != X[plan.stored :, at]).any(axis=1).all()
    assert all_rows(stored.reshape(plan.stored, -1), plan).shape == (len(plan), len(VIEWS) * 6)


def test_the_command_chooses_without_generated_anomalies(tmp_path) -> None:
    store = selection_store(tmp_path / "store", recordings())
    grid = tmp_path / "grid.toml"
    grid.write_text('embeddings = ["emb@good"]\n[[detector]]\nname = "knn"\nk = [1, 2, 3]\n')
    command = ["select", str(store.path), "-o", str(tmp_path / "recipe.toml"), "--grid", str(grid), "--workers", "0"]
    refused = CliRunner().invoke(main, command)
    assert "detect select STORE --perturb" in refused.output
    result = CliRunner().invoke(main, [*command, "--perturb", "--replicates", "20"])
    assert result.exit_code == 0, result.output
    assert PERTURBED in result.output
    assert "noise@0" in json.loads((tmp_path / "selection.json").read_text())["pair_weights"]


def test_the_digest_depends_on_the_design(clips: list[Clip]) -> None:
    designs = (SMALL, replace(SMALL, seed=1), replace(SMALL, severities_db=(-5.0,)), replace(SMALL, per_pair=5))
    assert len({planned(clips, design).digest for design in designs}) == 4
    plan = planned(clips)
    assert Pair.of(plan.keys[-1].partition("::")[2]) == plan.pairs[plan.pair[-1]]
    assert (plan.pair[: plan.stored] == NORMAL).all()
    assert len(set(plan.keys)) == len(plan)


def test_impossible_designs_are_refused(clips: list[Clip]) -> None:
    alone = [clip for clip in clips if clip.machine == "fan" and clip.section == "00"]
    names = {pair.transform for pair in planned(alone).pairs}
    assert names == {name for name, perturbation in PERTURBATIONS.items() if not perturbation.donor}
    with pytest.raises(DataError, match="no clip has a donor"):
        planned(alone, PerturbDesign(transforms=("away",)))
    with pytest.raises(DataError, match="two different training clips"):
        planned(alone[:1])
    with pytest.raises(ValueError, match="unknown perturbation"):
        PerturbDesign(transforms=("wobble",))
    with pytest.raises(ValueError, match="expected 1 or more anomalies"):
        PerturbDesign(per_pair=0)
    single = replace(alone[0], path="valve/train/x.wav", machine="valve")
    assert "valve section 00 has fewer than two different training clips: left out" in planned([*alone, single]).notes
