"""Cached scores are found by everything that they depend on, the code of other people's detectors included."""

import io
import os
import sys
import time
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from selection_store import recordings, selection_store, variants

from ensemble.recipe import Member
from ensemble.selection.scoring.cache import ScoreCache, SpareCache, candidate_key, content_of
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


def bomb(path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("scores.npy", npy(np.zeros(1 << 20)))


def npy(scores: np.ndarray) -> bytes:
    content = io.BytesIO()
    np.save(content, scores)
    return content.getvalue()


def claim(path: Path) -> None:
    """A header that declares a terabyte."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("scores.npy", npy(np.zeros(3)).replace(b"(3,), }         ", b"(%d,), }" % 10**10))


def link(path: Path) -> None:
    path.rename(path.with_suffix(".real"))
    path.symlink_to(path.with_suffix(".real"))


@pytest.mark.parametrize(
    "harm",
    [
        bomb,
        claim,
        link,
        lambda path: path.write_bytes(path.read_bytes()[:-30]),
        lambda path: np.savez(path, scores=np.array(["ab"] * 3)),
        lambda path: np.savez(path, scores=np.array([{}], dtype=object)),
        lambda path: np.savez(path, scores=np.array([np.inf])),
        lambda path: np.savez(path, other=np.zeros(3)),
    ],
)
def test_a_damaged_or_forged_file_counts_as_missing(harm: Callable[[Path], object], tmp_path: Path) -> None:
    cache = ScoreCache(tmp_path)
    cache.put("key", np.arange(3.0))
    harm(tmp_path / "key.npz")
    assert cache.get("key") is None
    cache.put("key", np.arange(4.0))
    np.testing.assert_array_equal(cache.get("key"), np.arange(4.0))


def test_a_cache_knows_what_was_used(tmp_path: Path) -> None:
    ScoreCache(tmp_path).put("read", np.zeros(2))
    cache = ScoreCache(tmp_path)
    assert cache.get("missing") is None
    cache.get("read")
    cache.put("written", np.zeros(2))
    assert cache.used == {"read", "written"}


def test_a_spare_cache_holds_in_memory_what_the_folder_cannot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = SpareCache(tmp_path / "cache")
    cache.put("kept", np.zeros(2))
    old = time.time() - 1000
    os.utime(tmp_path / "cache" / "kept.npz", (old, old))
    monkeypatch.setattr("os.write", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    scores = np.arange(3.0)
    cache.put("spare", scores)
    scores[:] = 0
    monkeypatch.undo()
    np.testing.assert_array_equal(cache.get("spare"), np.arange(3.0))
    assert cache.get("kept") is not None
    assert (tmp_path / "cache" / "kept.npz").stat().st_mtime > old + 500, "it was used just now"
    assert not (tmp_path / "cache" / "spare.npz").exists()


def test_a_spare_cache_follows_no_link(tmp_path: Path) -> None:
    ScoreCache(tmp_path / "real").put("key", np.zeros(2))
    (tmp_path / "linked").symlink_to(tmp_path / "real")
    for folder in (tmp_path / "linked", tmp_path / "linked" / "below"):
        cache = SpareCache(folder)
        assert cache.get("key") is None
        cache.put("new", np.ones(2))
        np.testing.assert_array_equal(cache.get("new"), np.ones(2))
    assert [path.name for path in (tmp_path / "real").iterdir()] == ["key.npz"]
