"""Cached scores are found by everything that they depend on, the code of other people's detectors included."""

import sys
from pathlib import Path

import pytest

from ensemble.recipe import Member
from ensemble.selection.scoring.cache import candidate_key

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
