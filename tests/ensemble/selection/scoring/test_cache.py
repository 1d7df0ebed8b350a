"""Cached scores are found by everything that they depend on, the code of other people's detectors included."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from selection_store import recordings, selection_store, variants

from ensemble.recipe import Member
from ensemble.selection.scoring.cache import ScoreCache, candidate_key, content_of
from ensemble.selection.scoring.validation import Validation
from featstore.errors import ResourceError
from featstore.store import FeatureStore

CODE = """
class Mine:
    def fit(self, X):
        return self

    def anomaly_score(self, X):
        return X[:, {}]
"""


def test_an_edited_detector_of_ones_own_is_scored_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    member = Member("emb", "mine_for_the_cache:Mine", "view")
    keys = []
    for column in (0, 0, 1, 12):
        (tmp_path / "mine_for_the_cache.py").write_text(CODE.format(column))
        sys.modules.pop("mine_for_the_cache", None)
        monkeypatch.setattr(sys, "dont_write_bytecode", True)
        keys.append(candidate_key(member, "content", "protocol"))
    assert keys[0] == keys[1]
    assert len(set(keys)) == 3


def test_keys_of_our_detectors_and_of_score_files_need_no_code() -> None:
    assert candidate_key(Member("emb", "knn"), "c", "p") != candidate_key(Member("emb", "lof"), "c", "p")
    file = Member("", "scores:/x.csv", fingerprint="f")
    assert candidate_key(file, "f", "p") == candidate_key(file, "f", "p")


def test_the_key_follows_from_everything_that_matters(store: FeatureStore, plan: Validation, tmp_path: Path) -> None:
    other = selection_store(tmp_path / "store", [*recordings(), *variants(recordings())])
    member = Member("emb", "knn", "good")
    content = content_of(store, "emb")
    keys = {
        candidate_key(member, content, plan.digest),
        candidate_key(replace(member, view="blind"), content, plan.digest),
        candidate_key(replace(member, detector="ldn"), content, plan.digest),
        candidate_key(member, content_of(other, "emb"), plan.digest),
        candidate_key(member, content, "other"),
    }
    assert len(keys) == 5
    assert candidate_key(replace(member, weight=2.0), content, plan.digest) in keys


def test_a_failed_write_of_the_cache_leaves_the_earlier_scores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = ScoreCache(tmp_path)
    cache.put("key", np.arange(3.0))

    def full(descriptor: int, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.write", full)
    with pytest.raises(ResourceError, match=r"cannot write scores to .*No space left.*--cache"):
        cache.put("key", np.zeros(3))
    monkeypatch.undo()
    assert [path.name for path in tmp_path.iterdir()] == ["key.npz"]
    np.testing.assert_array_equal(cache.get("key"), np.arange(3.0))
