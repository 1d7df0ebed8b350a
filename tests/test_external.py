"""External systems' scores: ranks within sections, averaged, by clip and never by row order."""

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from selection_store import labelled, selection_store

from detectors.scores import ScoreTable, read_scores, write_scores
from ensemble.cli import main
from ensemble.external import fuse_transductive
from featstore.table import ClipTable

CLIPS = ClipTable.from_clips(labelled(4))
KEYS = CLIPS.keys()


def scores_of(values: list[float], name: str = "other") -> ScoreTable:
    return ScoreTable(name, tuple(KEYS), np.array(values))


def test_ranks_are_taken_within_sections_and_averaged() -> None:
    one = scores_of([1, 2, 3, 4, 400, 300, 200, 100])
    two = scores_of([4, 2, 3, 1, 8, 7, 6, 5])
    fused = fuse_transductive([one, two], CLIPS)
    np.testing.assert_allclose(fused.scores, [1 / 2, 1 / 3, 2 / 3, 1 / 2, 1, 2 / 3, 1 / 3, 0])


def test_clips_are_found_by_name() -> None:
    one = scores_of([1, 2, 3, 4, 5, 6, 7, 8])
    turned = ScoreTable("turned", one.keys[::-1], one.scores[::-1])
    np.testing.assert_array_equal(fuse_transductive([turned], CLIPS).scores, fuse_transductive([one], CLIPS).scores)


def test_a_missing_clip_is_named() -> None:
    short = ScoreTable("short", tuple(KEYS[1:]), np.arange(7.0))
    with pytest.raises(ValueError, match=r"short: no score for 'fan/test/s0_000\.wav'"):
        fuse_transductive([short], CLIPS)
    with pytest.raises(ValueError, match="at least one"):
        fuse_transductive([], CLIPS)


def test_the_command_fuses_a_file_of_scores(tmp_path: Path) -> None:
    store = selection_store(tmp_path / "store")
    test = store.clips("emb")[store.clips("emb").where(split="test")]
    write_scores(tmp_path / "theirs.csv", ScoreTable("theirs", tuple(test.keys()), np.arange(float(len(test)))))
    grid = tmp_path / "grid.toml"
    grid.write_text('[[detector]]\nname = "mahalanobis"\ncovariance = ["oas", "ledoit_wolf"]\n')
    options = ["--grid", str(grid), "--workers", "0", "--replicates", "20", "--scores", str(tmp_path / "theirs.csv")]
    result = CliRunner().invoke(main, ["select", str(store.path), "-o", str(tmp_path / "recipe.toml"), *options])
    assert result.exit_code == 0, result.output
    assert set(read_scores(tmp_path / "fused-transductive.csv").keys) == set(test.keys())
