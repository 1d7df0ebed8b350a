"""Embeddings that tell nothing: named, without a vote, and refused where there is nothing else."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from fitted_plant import INFOS, listed, rows_of

from ensemble.checks.flat import is_flat
from ensemble.cli import main
from ensemble.fitting.fit import fit
from ensemble.recipe import Member, Recipe
from ensemble.run import detect
from featstore.errors import DataError
from featstore.store import FeatureStore, ShardData, StoreWriter
from featstore.table import ClipTable

LIVE = (Member("v", "knn", "low"), Member("v", "mahalanobis:covariance=ledoit_wolf", "low"))
DEAD = (Member("h", "knn"), Member("h", "mahalanobis:covariance=ledoit_wolf"))


def run(*args: object) -> Result:
    return CliRunner().invoke(main, [str(arg) for arg in args])


def make(path: Path, dead: dict[tuple[str, str], float], jitter: float = 0.0) -> FeatureStore:
    """The rows of `h` are constant in the sections of `dead`, of the given size, but for jitter."""
    clips = listed()
    rows = rows_of(clips)
    X = rows["h"].astype(np.float64)
    rng = np.random.default_rng(0)
    for (machine, section), size in dead.items():
        here = [clip.machine == machine and clip.section == section for clip in clips]
        X[here] = size * (1 + jitter * rng.normal(size=(sum(here), X.shape[1])))
    table = ClipTable.from_clips(clips)
    with StoreWriter(path) as writer:
        writer.commit(
            [
                ShardData(INFOS["v"], table, rows["v"]),
                ShardData(replace(INFOS["h"], dtype="float32"), table, X.astype(np.float32)),
            ]
        )
    return FeatureStore.open(path)


EVERY = {(machine, section): 3.0 for machine in ("fan", "pump") for section in ("00", "01")}


@pytest.mark.parametrize("fusion", ["mean", "weighted_mean", "fisher", "max_rank", "min_zscore"])
def test_a_dead_embedding_has_no_vote(tmp_path: Path, fusion: str) -> None:
    store = make(tmp_path / "s", EVERY, jitter=1e-8)
    mixed, alone = (detect(store, Recipe(members, fusion=fusion)) for members in (LIVE + DEAD, LIVE))
    np.testing.assert_array_equal(mixed.score, alone.score)
    np.testing.assert_array_equal(mixed.reference, alone.reference)
    np.testing.assert_array_equal(mixed.decision, alone.decision)
    assert mixed.warnings == (
        "h: the rows of the training clips are equal, or vanish, in every section, so its detectors have no vote there",
    )
    assert not alone.warnings


def test_one_dead_section_does_not_change_the_others(tmp_path: Path) -> None:
    partly = detect(make(tmp_path / "a", {("fan", "01"): 3.0}), Recipe(LIVE + DEAD))
    healthy = detect(make(tmp_path / "b", {}), Recipe(LIVE + DEAD))
    alone = detect(make(tmp_path / "c", {}), Recipe(LIVE))
    here = partly.clips.where(machine="fan", section="01")
    np.testing.assert_array_equal(partly.score[~here], healthy.score[~here])
    np.testing.assert_array_equal(partly.score[here], alone.score[here])
    assert "vanish, in machine fan section 01, so" in partly.warnings[0]
    assert not healthy.warnings


def test_a_section_without_any_vote_is_named(tmp_path: Path) -> None:
    detection = detect(make(tmp_path / "s", {("fan", "01"): 3.0}), Recipe(DEAD))
    assert detection.warnings[1] == (
        "no embedding tells clips apart in machine fan section 01: scores there mean nothing"
    )
    assert not detection.decision[detection.clips.where(machine="fan", section="01")].any()


@pytest.mark.parametrize("size", [3.0, 0.0, 1e-25])
def test_a_run_of_dead_members_only_is_refused(tmp_path: Path, size: float) -> None:
    store = make(tmp_path / "s", dict.fromkeys(EVERY, size))
    with pytest.raises(DataError, match="nothing to score by: the rows of the training clips of h are equal"):
        detect(store, Recipe(DEAD))
    with pytest.raises(DataError, match="nothing to score by"):
        fit(store, Recipe(DEAD), workers=0)


def test_commands_warn(tmp_path: Path) -> None:
    make(tmp_path / "s", EVERY)
    result = run(tmp_path / "s", "--default", "-o", tmp_path / "r", "--workers", "1")
    assert result.exit_code == 0, result.output
    assert "warning: h: the rows of the training clips are equal" in result.stderr
    chosen = run("select", tmp_path / "s", "--perturb", "-o", tmp_path / "recipe.toml", "--replicates", "20")
    assert "h: the rows of the training clips are equal" in chosen.output
    only = run("select", tmp_path / "s", "-e", "h", "--perturb", "-o", tmp_path / "recipe.toml")
    assert only.exit_code == 1
    assert "nothing to score by" in only.stderr


def test_a_model_gives_a_dead_member_no_vote(tmp_path: Path) -> None:
    store = make(tmp_path / "s", {("fan", "01"): 3.0})
    detection = detect(store, Recipe(LIVE + DEAD))
    fitted, notes = fit(store, Recipe(LIVE + DEAD), workers=0)
    assert any(note.startswith("h: the rows of the training clips are equal") for note in notes)
    np.testing.assert_array_equal(fitted.reference.scores, detection.reference)
    tests = store.clips("v").where(split="test")
    rows = {name: store.matrix(name, tests) for name in ("v", "h")}
    np.testing.assert_allclose(fitted.detect(store.clips("v")[tests], rows).score, detection.score, rtol=1e-12)


def test_what_counts_as_flat() -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(20, 8))
    assert not is_flat(X)
    assert not is_flat(1e-12 * X), "small, and still different"
    assert not is_flat(100 + 1e-3 * X), "a large offset leaves spread enough"
    assert is_flat(np.full((20, 8), 5.0))
    assert is_flat(100 + 1e-7 * X), "rounding of float32"
    assert is_flat(1e-25 * X)
    one = np.zeros((20, 8))
    one[3, 2] = 1
    assert not is_flat(one)
