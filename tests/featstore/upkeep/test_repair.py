"""A repair removes only the rows of damaged shards, and the next build restores them."""

from pathlib import Path

import numpy as np
import pytest
from fakes import MomentsEmbedder, make_clips

from featstore.build import BuildOptions, Request, build
from featstore.building.plan import PlanOptions
from featstore.errors import StoreError
from featstore.store import FeatureStore
from featstore.upkeep.repair import repair
from featstore.upkeep.verify import verify

OPTIONS = BuildOptions(workers=0, plan=PlanOptions(unit_clips=3))


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
