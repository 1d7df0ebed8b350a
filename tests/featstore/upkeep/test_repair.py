"""A repair removes only the rows of damaged shards, and the next build restores them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fakes import MomentsEmbedder, make_clips
from sample_store import INFO, content, path_of, shard, store_of_two_commits

from featstore.build import BuildOptions, Request, build
from featstore.building.plan import PlanOptions
from featstore.disk.head import FILE, read_head
from featstore.errors import StoreError
from featstore.store import FeatureStore, StoreWriter
from featstore.upkeep.repair import repair
from featstore.upkeep.verify import verify

OPTIONS = BuildOptions(workers=0, plan=PlanOptions(unit_clips=3))

pytestmark = pytest.mark.usefixtures("unsynced")


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)


@pytest.mark.parametrize("harm", [flip, Path.unlink, lambda path: path.write_bytes(path.read_bytes()[:100])])
def test_a_damaged_shard_is_removed_and_built_again(tmp_path: Path, harm) -> None:
    clips = make_clips(tmp_path, 9)
    requests = [Request("moments", MomentsEmbedder)]
    store = tmp_path / "store"
    build(tmp_path, clips, store, requests, OPTIONS)
    whole = FeatureStore.open(store)
    before = dict(zip(whole.clips("moments").keys(), whole.matrix("moments"), strict=True))
    victim = sorted((store / "shards").iterdir())[1]
    harm(victim)
    with pytest.raises(StoreError, match=victim.name):
        FeatureStore.open(store).matrix("moments")
    assert [problem.file for problem in repair(store)] == [f"shards/{victim.name}"]
    assert verify(store) == []
    assert FeatureStore.open(store).rows("moments") == 6
    report = build(tmp_path, clips, store, requests, OPTIONS)
    assert report.plan.clips == 3
    again = FeatureStore.open(store)
    after = dict(zip(again.clips("moments").keys(), again.matrix("moments"), strict=True))
    assert after.keys() == before.keys()
    for key, row in before.items():
        np.testing.assert_array_equal(after[key], row)


def test_an_intact_store_is_unchanged(tmp_path: Path) -> None:
    build(tmp_path, make_clips(tmp_path, 4), tmp_path / "store", [Request("moments", MomentsEmbedder)], OPTIONS)
    shards = {path: path.read_bytes() for path in (tmp_path / "store" / "shards").iterdir()}
    assert repair(tmp_path / "store") == []
    assert {path: path.read_bytes() for path in (tmp_path / "store" / "shards").iterdir()} == shards
    assert not (tmp_path / "store" / "damaged").exists()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return store_of_two_commits(tmp_path / "store")


def empty(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize(("harm", "head"), [(Path.unlink, True), (empty, True), (empty, False)])
def test_a_lost_manifest_is_given_up_and_what_is_lost_is_said(root: Path, harm, head: bool) -> None:
    newest = max((root / "manifest").iterdir())
    harm(newest)
    if not head:
        (root / FILE).unlink()
    problems = [f"{problem.file}: {problem.what}" for problem in repair(root)]
    assert newest.name in problems[0]
    assert "what was published after manifest 2 of " in problems[-1]
    assert f"is lost; 1 shard of it was moved to {root / 'damaged'}" in problems[-1]
    assert verify(root) == []
    store = FeatureStore.open(root)
    assert content(store) == {path_of(1): 1.0}
    assert store.warnings == ()
    moved = {path.name for path in (root / "damaged").iterdir()}
    assert len(moved) == (1 if harm is Path.unlink else 2)
    assert (newest.name in moved) == (harm is not Path.unlink)
    with StoreWriter(root) as writer:
        assert content(writer.commit([shard([5])])) == {path_of(1): 1.0, path_of(5): 5.0}


def test_a_number_that_was_published_is_not_used_again(root: Path) -> None:
    for path in sorted((root / "manifest").iterdir())[1:]:
        path.unlink()
    repair(root)
    assert FeatureStore.open(root).manifest.number == 4
    assert read_head(root).number == 4


def test_a_damaged_head_record_is_written_again(root: Path) -> None:
    (root / FILE).write_bytes(b"")
    assert [problem.file for problem in repair(root)] == [FILE, "."]
    assert verify(root) == []
    assert content(FeatureStore.open(root)) == {path_of(1): 1.0, path_of(2): 2.0}


def test_a_damaged_older_manifest_is_moved_away(root: Path) -> None:
    older = root / "manifest" / "00000002.json"
    older.write_bytes(b"")
    assert [problem.file for problem in repair(root)] == ["manifest/00000002.json"]
    assert verify(root) == []
    assert content(FeatureStore.open(root)) == {path_of(1): 1.0, path_of(2): 2.0}
    assert [path.name for path in (root / "damaged").iterdir()] == [older.name]


def test_damaged_shards_of_two_embeddings_are_removed_at_once(root: Path) -> None:
    with StoreWriter(root) as writer:
        writer.commit([shard([7], info=replace(INFO, name="other")), shard([8], info=replace(INFO, name="third"))])
    for name in ("twfr", "other"):
        (root / "shards" / FeatureStore.open(root).entries(name)[0].file).unlink()
    assert len(repair(root)) == 2
    store = FeatureStore.open(root)
    assert (store.rows("twfr"), store.rows("other"), store.rows("third")) == (1, 0, 1)
    assert verify(root) == []


def test_no_store_is_made_by_a_repair(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="not a feature store"):
        repair(tmp_path / "typo")
    assert not (tmp_path / "typo").exists()
