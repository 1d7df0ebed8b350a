"""`featstore build` and `plan` without options: embedders, anomalies, and what is said about them."""

import json
from collections import Counter
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from click.testing import CliRunner, Result
from fakes import write_clip
from shared_plant import assert_same_rows

from featstore.anomalies.budget import Budget, auto_variants
from featstore.cli import main
from featstore.store import FeatureStore, StoreWriter

pytestmark = pytest.mark.usefixtures("unsynced", "few")

OLD = "logmel:stats=mean;max"


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """A budget of ten anomalies and one per recording."""
    monkeypatch.setattr("featstore.run.auto_variants", partial(auto_variants, budget=Budget(floor=10, per_recording=1)))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Four normal recordings and a faulty one of a fan; half a second each, so the whole floor is made."""
    for i in range(4):
        write_clip(tmp_path / "data", f"fan/normal/{i}.wav", i, samples=4000)
    write_clip(tmp_path / "data", "fan/abnormal/9.wav", 9, samples=4000)
    return tmp_path / "data"


def run(*args: object) -> Result:
    return CliRunner().invoke(main, [str(arg) for arg in args])


def build(data: Path, *more: object, store: str = "store") -> Result:
    return run("build", data, data.parent / store, "--workers", 0, *more)


def counts(path: Path) -> dict[str, Counter[bool]]:
    """Embedding -> numbers of rows that are recordings (False) and anomalies (True)."""
    store = FeatureStore.open(path)
    return {name: Counter(bool(clip.variant) for clip in store.clips(name)) for name in store.embeddings}


def test_no_option_embeds_by_default_embedders_with_anomalies(data: Path) -> None:
    done = build(data)
    assert done.exit_code == 0, done.output
    note = "note: 15 anomalies will be generated from 5 recordings (auto); --anomalies none leaves them out"
    assert note in done.stderr
    assert counts(data.parent / "store") == {name: {False: 5, True: 15} for name in ("logmel", "twfr")}
    again = build(data)
    assert "(0 new, 0 changed, 20 kept)" in again.stdout
    assert "anomalies will be generated" not in again.stderr


def test_a_named_embedder_says_it_all(data: Path) -> None:
    assert build(data, "-e", "logmel").exit_code == 0
    assert counts(data.parent / "store") == {"logmel": {False: 5}}
    assert build(data, "--anomalies", "none", store="none").exit_code == 0
    assert counts(data.parent / "none") == {name: {False: 5} for name in ("logmel", "twfr")}
    assert build(data, "-e", "twfr", "--anomalies", "auto").exit_code == 0
    assert counts(data.parent / "store")["twfr"] == {False: 5, True: 15}


def test_a_folder_of_recordings_without_labels(tmp_path: Path) -> None:
    for i in range(3):
        write_clip(tmp_path / "wavs", f"{i}.wav", i, samples=4000)
    assert build(tmp_path / "wavs").exit_code == 0
    assert counts(tmp_path / "store")["twfr"] == {False: 3, True: 13}


def test_without_training_recordings_the_note_says_why_there_are_no_anomalies(tmp_path: Path) -> None:
    write_clip(tmp_path / "data", "fan/abnormal/9.wav", 9, samples=4000)
    done = build(tmp_path / "data", "--layout", "folder")
    assert done.exit_code == 0, done.output
    assert "note: no anomalies will be generated: there are no normal training recordings" in done.stderr


def test_a_dry_run_says_how_many_and_their_share(data: Path) -> None:
    said = build(data, "--dry-run")
    assert "20 clips to read in 1 unit: 5 recordings and 15 generated anomalies, 3.0 per recording" in said.stdout
    facts = json.loads(build(data, "--dry-run", "--json").stdout)
    assert (facts["clips"], facts["anomalies"]) == (20, 15)
    assert "unit\n" in build(data, "--dry-run", "--anomalies", "none").stdout
    assert not (data.parent / "store").exists()


def test_long_recordings_get_fewer(data: Path) -> None:
    for i in range(5):
        write_clip(data.parent / "long", f"fan/normal/{i}.wav", i, samples=8000 * 20)
    facts = json.loads(run("build", data.parent / "long", data.parent / "s", "--dry-run", "--json").stdout)
    assert facts["anomalies"] == 10 // 2 + 5
    crop = ["--length", "crop:5", "--dry-run", "--json"]
    assert json.loads(run("build", data.parent / "long", data.parent / "s", *crop).stdout)["anomalies"] == 15


def test_an_old_store_goes_on_with_its_embedders_under_their_names(data: Path) -> None:
    assert build(data, "-e", OLD, "--as", "logmel").exit_code == 0
    write_clip(data, "fan/normal/new.wav", 7, samples=4000)
    refused = build(data, "-e", "logmel")
    assert refused.exit_code == 1
    assert "built with stats mean;max, the new one has stats mean;std;delta" in refused.stderr
    assert "leave -e out" in refused.stderr
    assert "--as NAME" in refused.stderr
    done = build(data)
    assert done.exit_code == 0, done.output
    store = FeatureStore.open(data.parent / "store")
    assert store.info("logmel").views == ("mean", "max")
    assert counts(data.parent / "store") == {"logmel": {False: 6, True: 16}}


def test_options_of_reading_that_differ_are_named(data: Path) -> None:
    assert build(data, "--dtype", "float16", "--anomalies", "none").exit_code == 0
    refused = build(data)
    assert refused.exit_code == 1
    assert "to go on with it give --dtype float16" in refused.stderr


def test_an_embedding_that_cannot_be_made_again_stays_and_is_named(data: Path) -> None:
    assert build(data, "--anomalies", "none").exit_code == 0
    np.save(data.parent / "rows.npy", np.zeros((2, 3), np.float32))
    manifest = "path,machine\nfan/normal/0.wav,fan\nfan/normal/1.wav,fan\n"
    (data.parent / "rows.csv").write_text(manifest)
    imported = ["--manifest", data.parent / "rows.csv", "--as", "theirs"]
    assert run("import", data.parent / "store", data.parent / "rows.npy", *imported).exit_code == 0
    write_clip(data, "fan/normal/new.wav", 7, samples=4000)
    done = build(data)
    assert done.exit_code == 0, done.output
    assert "note: theirs stays as it is" in done.stderr
    assert counts(data.parent / "store") == {
        "logmel": {False: 6, True: 16},
        "twfr": {False: 6, True: 16},
        "theirs": {False: 2},
    }
    with StoreWriter(data.parent / "store") as writer:
        writer.drop("logmel")
        writer.drop("twfr")
    alone = build(data)
    assert alone.exit_code == 1
    assert "holds theirs" in alone.stderr
    assert "-e logmel -e twfr to add the default ones" in alone.stderr


def test_growing_data_keep_every_anomaly_and_add_some(data: Path) -> None:
    assert build(data).exit_code == 0
    before = set(FeatureStore.open(data.parent / "store").clips("twfr").keys())
    for i in range(3):
        write_clip(data, f"fan/normal/a{i}.wav", 20 + i, samples=4000)
    done = build(data)
    assert "note: 3 anomalies will be generated from 8 recordings (auto), 15 are in the store already" in done.stderr
    after = set(FeatureStore.open(data.parent / "store").clips("twfr").keys())
    assert before < after
    assert len(after) == 8 + 18
    assert "26 kept" in build(data, "--prune").stdout


def test_an_interrupted_build_ends_with_the_same_rows(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert build(data, "--unit-clips", 4, store="whole").exit_code == 0
    commit, commits = StoreWriter.commit, []

    def fail_later(self: StoreWriter, *args: object, **options: object) -> object:
        commits.append(1)
        if len(commits) > 2:
            raise KeyboardInterrupt
        return commit(self, *args, **options)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(StoreWriter, "commit", fail_later)
        assert build(data, "--unit-clips", 4).exit_code != 0
    assert counts(data.parent / "store")["twfr"] == {False: 5, True: 3}
    assert build(data, "--unit-clips", 4).exit_code == 0
    whole, resumed = (FeatureStore.open(data.parent / name).clips("logmel").keys() for name in ("whole", "store"))
    assert set(whole) == set(resumed)


def test_a_second_embedding_gets_the_anomalies_that_the_store_holds(data: Path) -> None:
    assert build(data, "-e", "logmel", "--anomalies", "1:leak@0,5").exit_code == 0
    held = counts(data.parent / "store")["logmel"][True]
    assert build(data, "-e", "twfr", "--anomalies", "auto").exit_code == 0
    store = FeatureStore.open(data.parent / "store")
    assert set(store.clips("logmel").keys()) < set(store.clips("twfr").keys())
    assert held == 12


def test_workers_of_a_plan_need_no_option_either(data: Path) -> None:
    shared = data.parent / "shared"
    planned = run("plan", data, shared, "--unit-clips", 8)
    assert planned.exit_code == 0, planned.output
    assert "15 anomalies will be generated from 5 recordings (auto)" in planned.stderr
    assert "20 clips to read" in planned.stdout
    assert build(data, "--rank", 0, "--world", 2, store="shared").exit_code == 0
    refused = build(data, "--claim", "--anomalies", "none", store="shared")
    assert refused.exit_code == 1
    assert "--anomalies is 'none' here and 'auto' in plan" in refused.stderr
    assert build(data, "--claim", store="shared").exit_code == 0
    assert run("commit", shared).exit_code == 0
    assert build(data, "--unit-clips", 8).exit_code == 0
    assert_same_rows(shared, data.parent / "store")


def test_a_worker_without_embedders_takes_those_of_the_plan(data: Path) -> None:
    assert run("plan", data, data.parent / "store", "-e", OLD).exit_code == 0
    done = build(data, "--claim")
    assert done.exit_code == 0, done.output
    assert run("commit", data.parent / "store").exit_code == 0
    assert [*counts(data.parent / "store")] == ["logmel:stats=mean+max"]


@pytest.fixture
def long(tmp_path: Path) -> Path:
    """A fan recorded for 5.2 s and for 0.5 s, and a fault for 2 s."""
    write_clip(tmp_path / "long", "fan/normal/a.wav", 0, samples=round(5.2 * 8000))
    write_clip(tmp_path / "long", "fan/normal/b.wav", 1, samples=4000)
    write_clip(tmp_path / "long", "fan/abnormal/c.wav", 2, samples=16_000)
    return tmp_path / "long"


WINDOWS = ["fan/normal/a.wav#t=0,2", "fan/normal/a.wav#t=1,3", "fan/normal/a.wav#t=2,4", "fan/normal/a.wav#t=3,5"]
WINDOWS += ["fan/normal/a.wav#t=3.2,5.2", "fan/normal/b.wav", "fan/abnormal/c.wav"]


def test_long_recordings_are_cut_into_windows(long: Path) -> None:
    done = build(long, "-e", "logmel", "--window", 2)
    assert done.exit_code == 0, done.output
    note = "note: 5 windows of 1 recording (--window 2 --hop 1); 2 recordings are not longer than one, or unreadable"
    assert note in done.stderr
    store = FeatureStore.open(long.parent / "store")
    assert store.clips("logmel").keys() == WINDOWS
    assert store.info("logmel").length == "window:2,1"
    assert store.facts("logmel")["n_samples"].tolist() == [16_000] * 5 + [4000, 16_000]
    report = json.loads(build(long, "-e", "logmel", "--window", 2, "--json", store="other").stdout)
    assert report["audio_s"] == 5 * 2 + 0.5 + 2


def test_a_window_has_the_row_of_a_file_with_its_samples(long: Path) -> None:
    assert build(long, "-e", "logmel", "--window", 2).exit_code == 0
    wave, rate = sf.read(long / "fan/normal/a.wav", dtype="int16")
    parts = long.parent / "parts"
    parts.mkdir()
    for i, start_s in enumerate((0, 1, 2, 3, 3.2)):
        sf.write(parts / f"{i}.wav", wave[round(start_s * rate) : round((start_s + 2) * rate)], rate)
    assert build(parts, "-e", "logmel", store="parts_store").exit_code == 0
    windows, files = (FeatureStore.open(long.parent / name).matrix("logmel") for name in ("store", "parts_store"))
    np.testing.assert_array_equal(windows[:5], files)


def test_windows_become_anomalies_with_windows_as_donors(long: Path) -> None:
    write_clip(long, "pump/normal/d.wav", 5, samples=24_000)
    done = build(long, "-e", "logmel", "--window", 1, "--anomalies", "1:leak,mix@0")
    assert done.exit_code == 0, done.output
    clips = [clip for clip in FeatureStore.open(long.parent / "store").clips("logmel") if clip.variant]
    assert {clip.variant.partition("@")[0] for clip in clips} == {"leak", "mix"}
    donors = {clip.variant.partition("<")[2] for clip in clips if clip.machine == "fan"} - {""}
    assert donors
    assert all(donor.startswith("pump/normal/d.wav#t=") for donor in donors)


def test_a_store_of_windows_goes_on_with_them(long: Path) -> None:
    assert build(long, "--anomalies", "none", "--window", 2).exit_code == 0
    write_clip(long, "fan/normal/new.wav", 7, samples=24_000)
    refused = build(long, "-e", "logmel")
    assert refused.exit_code == 1
    assert "holds windows of recordings; --window 2 --hop 1 embeds the same ones" in refused.stderr
    assert "built with length window:2,1, the new one has length native" in refused.stderr
    assert "to go on with it give --window 2 --hop 1;" in refused.stderr
    assert "to go on with it give --window 2 --hop 1;" in build(long, "--window", 2, "--hop", 2).stderr
    assert build(long, "--length", "native").exit_code == 1
    done = build(long, "--anomalies", "none")
    assert done.exit_code == 0, done.output
    assert "holds windows of recordings; the build continues with --window 2 --hop 1" in done.stderr
    assert "9 rows (2 new, 0 changed, 7 kept)" in done.stdout


def test_a_recording_that_changes_is_cut_and_embedded_again(long: Path) -> None:
    assert build(long, "-e", "logmel", "--window", 2).exit_code == 0
    write_clip(long, "fan/normal/a.wav", 10, samples=3 * 8000)
    done = build(long, "-e", "logmel", "--window", 2)
    assert "7 rows (0 new, 2 changed, 2 kept, and 3 of other recordings)" in done.stdout
    assert "3 rows of logmel are of recordings that are no longer in the folder" in done.stderr
    assert build(long, "-e", "logmel", "--window", 2, "--prune").exit_code == 0
    assert sorted(FeatureStore.open(long.parent / "store").clips("logmel").keys()) == sorted(WINDOWS[:2] + WINDOWS[5:])


def test_an_unreadable_recording_is_rejected_once_and_cut_when_it_is_repaired(long: Path) -> None:
    content = (long / "fan/normal/a.wav").read_bytes()
    (long / "fan/normal/a.wav").write_bytes(content[:2000])
    done = build(long, "-e", "logmel", "--window", 2)
    assert done.exit_code == 3
    assert "1 rejected;" in done.stderr
    (long / "fan/normal/a.wav").write_bytes(content)
    again = build(long, "-e", "logmel", "--window", 2)
    assert again.exit_code == 0, again.output
    assert "7 rows (5 new" in again.stdout
    assert "rejected earlier" not in again.stderr
    assert build(long, "-e", "logmel", "--window", 2, "--prune").exit_code == 0
    assert FeatureStore.open(long.parent / "store").rejected("logmel") == []


def test_long_recordings_without_windows_are_told_of_them(long: Path) -> None:
    done = build(long, "-e", "logmel", "--max-seconds", 3)
    assert done.exit_code == 3
    assert "5 s long, more than 3 s; cut it into windows with --window 10 --hop 5" in done.stderr


def test_windows_of_a_manifest_stay_and_other_recordings_are_cut(long: Path) -> None:
    table = "path,start_s,end_s\nfan/normal/a.wav,0.5,1.25\nfan/normal/a.wav,4,9\nfan/abnormal/c.wav,,\n"
    (long / "list.csv").write_text(table)
    done = run("build", long / "list.csv", long.parent / "store", "-e", "logmel", "--window", 1.5, "--hop", 1)
    assert done.exit_code == 3
    assert "the window ends at 9 s, after the end of the recording at 5.2 s" in done.stderr
    store = FeatureStore.open(long.parent / "store")
    expected = ["fan/abnormal/c.wav#t=0,1.5", "fan/abnormal/c.wav#t=0.5,2", "fan/normal/a.wav#t=0.5,1.25"]
    assert store.clips("logmel").keys() == expected


def test_workers_of_a_plan_take_its_windows(long: Path) -> None:
    shared = long.parent / "shared"
    assert run("plan", long, shared, "-e", "logmel", "--window", 2, "--unit-clips", 2).exit_code == 0
    refused = build(long, "-e", "logmel", "--claim", "--length", "native", store="shared")
    assert "this worker has 'native'; give --window 2 --hop 1, or plan again" in refused.stderr
    done = build(long, "-e", "logmel", "--claim", store="shared")
    assert done.exit_code == 0, done.output
    assert run("commit", shared).exit_code == 0
    assert build(long, "-e", "logmel", "--window", 2, "--unit-clips", 2).exit_code == 0
    assert_same_rows(shared, long.parent / "store")


@pytest.mark.parametrize(
    "options", [["--hop", 1], ["--window", 2, "--hop", 3], ["--window", 2, "--length", "crop:1"], ["--window", 0]]
)
def test_options_of_windows_that_contradict_each_other(long: Path, options: list[object]) -> None:
    assert build(long, "-e", "logmel", *options).exit_code == 2
    assert run("plan", long, long.parent / "store", "-e", "logmel", *options).exit_code == 2
