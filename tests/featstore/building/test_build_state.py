"""build.json records the folder of the last build and whether it finished."""

from pathlib import Path

import pytest
from fakes import MomentsEmbedder, make_clips

from featstore.build import BuildOptions, Progress, Request, build
from featstore.building.plan import PlanOptions
from featstore.building.state import BuildState, other_root, read_state, unfinished

OPTIONS = BuildOptions(workers=0, plan=PlanOptions(unit_clips=2))


def test_an_interrupted_build_is_reported_until_it_finishes(tmp_path: Path) -> None:
    clips, store, requests = make_clips(tmp_path, 8), tmp_path / "store", [Request("moments", MomentsEmbedder)]

    def stop(progress: Progress) -> None:
        if progress.done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build(tmp_path, clips, store, requests, OPTIONS, report=stop)
    assert "8 clips) did not finish" in unfinished(store)
    build(tmp_path, clips, store, requests, OPTIONS)
    assert unfinished(store) == ""
    assert read_state(store) == BuildState(str(tmp_path), 8, finished=True)


def test_a_build_from_another_folder_is_reported(tmp_path: Path) -> None:
    build(tmp_path, make_clips(tmp_path, 2), tmp_path / "store", [Request("moments", MomentsEmbedder)], OPTIONS)
    assert other_root(tmp_path / "store", tmp_path) == []
    assert "was last built from" in other_root(tmp_path / "store", tmp_path / "elsewhere")[0]


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"root": 3}', b"\xff" * 100, b"x" * 100_000])
def test_an_unreadable_file_is_ignored(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "build.json").write_bytes(content)
    assert read_state(tmp_path) is None
    assert unfinished(tmp_path) == ""
    assert other_root(tmp_path, tmp_path) == []
