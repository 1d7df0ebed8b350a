"""The rows of recordings that were moved, renamed or removed."""

from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from fakes import MomentsEmbedder, make_clips, write_clip

from featstore.anomalies.variants import Renderer
from featstore.audio.policy import AudioPolicy
from featstore.build import BuildOptions, BuildReport, Request, build
from featstore.cli import main
from featstore.clip import Clip
from featstore.store import FeatureStore

pytestmark = pytest.mark.usefixtures("unsynced")

NAMES = ("a", "b")


def run(root: Path, clips: list[Clip]) -> BuildReport:
    options = BuildOptions(workers=0, render=Renderer(root, AudioPolicy()))
    return build(root, clips, root.parent / "store", [Request(name, MomentsEmbedder) for name in NAMES], options)


def keys(root: Path) -> list[set[str]]:
    store = FeatureStore.open(root.parent / "store")
    return [set(store.clips(name).keys()) for name in NAMES]


def with_variant(clip: Clip) -> list[Clip]:
    return [clip, replace(clip, label="anomaly", variant="leak@0dB#1")]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for i in range(3):
        write_clip(tmp_path / "data", f"fan/{i}.wav", i, 2000)
    return tmp_path / "data"


CLIPS = [Clip(f"fan/{i}.wav", "fan", "00", "train", label="normal") for i in range(3)]


def test_a_moved_recording_leaves_no_row_of_its_old_path_nor_a_variant(root: Path) -> None:
    run(root, [*with_variant(CLIPS[0]), *CLIPS[1:]])
    (root / "fan/0.wav").rename(root / "fan/moved.wav")
    (root / "fan/1.wav").unlink()
    moved = replace(CLIPS[0], path="fan/moved.wav", split="test")
    report = run(root, [moved, CLIPS[2]])
    assert keys(root) == [{"fan/moved.wav", "fan/1.wav", "fan/2.wav"}] * 2
    assert (report.gone.moved, report.gone.training) == (1, 1)
    assert report.gone.keys == {name: ["fan/1.wav"] for name in NAMES}
    assert report.rows == dict.fromkeys(NAMES, 3)


def test_rows_of_another_folder_stay(root: Path, tmp_path: Path) -> None:
    run(root, CLIPS)
    (tmp_path / "other").mkdir()
    (root / "fan").rename(tmp_path / "other/pump")
    others = [replace(clip, path=clip.path.replace("fan", "pump")) for clip in CLIPS]
    assert run(tmp_path / "other", others).gone.moved == 0
    assert {len(of_name) for of_name in keys(root)} == {6}


def test_a_recording_that_is_only_left_out_is_not_moved(root: Path) -> None:
    run(root, CLIPS)
    (root / "fan/copy.wav").write_bytes((root / "fan/0.wav").read_bytes())
    report = run(root, [replace(CLIPS[0], path="fan/copy.wav"), *CLIPS[1:]])
    assert (report.gone.moved, len(keys(root)[0])) == (0, 4)


def command(*args: object) -> Result:
    return CliRunner().invoke(main, [str(arg) for arg in args])


def test_the_command_says_so_and_a_dry_run_drops_nothing(tmp_path: Path) -> None:
    data, store = tmp_path / "data", tmp_path / "store"
    make_clips(data, 6)
    (data / "fan").rename(data / "normal")
    (data / "fan").mkdir()
    (data / "normal").rename(data / "fan/normal")
    options = ("build", data, store, "-e", "logmel", "--workers", 0)
    assert command(*options).exit_code == 0
    (data / "fan/test/normal").mkdir(parents=True)
    for i in (0, 1):
        (data / f"fan/normal/000{i}.wav").rename(data / f"fan/test/normal/000{i}.wav")
    (data / "fan/normal/0002.wav").unlink()
    command(*options, "--dry-run")
    assert len(FeatureStore.open(store).clips("logmel")) == 6
    done = command(*options)
    assert "note: 2 recordings were moved or renamed: the rows of their old paths are dropped\n" in done.stderr
    assert (
        "note: 1 row of logmel is of recordings that are no longer in the folder; 1 of these recordings still trains "
        f"the detectors; remove them with featstore build {data} {store} --prune\n"
    ) in done.stderr
    clips = list(FeatureStore.open(store).clips("logmel"))
    assert sorted(clip.split for clip in clips) == ["test"] * 2 + ["train"] * 4
    assert "no longer in the folder" not in command(*options, "--prune").stderr
    assert "no longer in the folder" not in command(*options).stderr
