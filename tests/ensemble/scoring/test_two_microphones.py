"""Models of several channels: files, waves and rows give the same scores; the map is that of the near channel."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner
from scored_plant import RATE, built, model_of
from two_microphones import LISTED, record_two

from ensemble.checks.subtracted import left_out
from ensemble.cli import main
from ensemble.defaults import default_recipe
from ensemble.deviation.locate import Locator
from ensemble.deviation.of_detection import places
from ensemble.run import Detection, detect
from ensemble.scoring.model import Model
from ensemble.scoring.neighbours import Search, neighbours
from ensemble.selection.candidates import default_candidates
from featstore.audio.policy import AudioPolicy
from featstore.errors import RejectedAudio, RequestError
from featstore.exchange.embeddings import export, import_files, import_matrix
from featstore.store import FeatureStore


class Heard(NamedTuple):
    """Recordings, their store, a model of its default ensemble, and its detection."""

    root: Path
    store: FeatureStore
    model: Model
    expected: Detection


@pytest.fixture(scope="module", autouse=True)
def _unsynced(unsynced: None) -> None:
    pass


@pytest.fixture(scope="module", params=["native", "window:0.4,0.2"])
def heard(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Heard:
    folder = tmp_path_factory.mktemp("two")
    root = record_two(folder / "data")
    store = built(root, folder / "store", {"logmel": "logmel"}, AudioPolicy(LISTED, request.param))
    recipe = replace(default_recipe(store), false_alarm_rate=0.3)
    return Heard(root, store, model_of(store, folder / "m", recipe), detect(store, recipe, workers=0))


def test_files_and_waves_are_scored_as_their_rows_are(heard: Heard) -> None:
    recordings = list(dict.fromkeys(clip.recording for clip in heard.expected.clips))
    assert len(recordings) == 8
    for recording in recordings:
        rows = [i for i, clip in enumerate(heard.expected.clips) if clip.recording == recording]
        verdicts = heard.model.score_file(heard.root / recording)
        np.testing.assert_allclose([v.score for v in verdicts], heard.expected.score[rows], rtol=0, atol=1e-9)
        samples, rate = soundfile.read(heard.root / recording, dtype="int16")
        place = {"machine": verdicts[0].machine, "section": verdicts[0].section}
        assert heard.model.score(samples, rate, **place) == verdicts
        with pytest.raises(RejectedAudio, match="channel 1 does not exist, the wave has 1"):
            heard.model.score(samples[:, 0], rate, **place)


def test_the_default_has_the_near_channel_and_what_is_left_of_it(heard: Heard) -> None:
    weights = dict.fromkeys(("0", "1", "0-1"), 0.0)
    for member in default_recipe(heard.store).members:
        weights[member.view.partition("/")[0]] += member.weight
    assert weights["1"] == 0
    assert weights["0"] == pytest.approx(weights["0-1"], rel=0.02)
    named = default_recipe(heard.store, ("logmel@1/mean",))
    assert {member.view for member in named.members} == {"1/mean"}


@pytest.mark.parametrize("to", ["npz", "parquet", "csv"])
def test_channels_that_were_exported_and_imported_are_used_as_before(heard: Heard, tmp_path: Path, to: str) -> None:
    if to == "parquet":
        pytest.importorskip("pyarrow")
    export(heard.store, "logmel", tmp_path / f"out.{to}", to)
    import_files(tmp_path / "store", [tmp_path / f"out.{to}"], "logmel")
    imported = FeatureStore.open(tmp_path / "store")
    assert imported.info("logmel").channel == LISTED
    assert default_recipe(imported).members == default_recipe(heard.store).members
    assert left_out(imported) == left_out(heard.store)


def test_a_subtraction_by_an_unknown_embedder_cannot_be_measured_and_is_left_out(heard: Heard, tmp_path: Path) -> None:
    store, info = heard.store, heard.store.info("logmel")
    rows, clips = store.matrix("logmel"), store.clips("logmel")
    import_matrix(tmp_path / "store", "logmel", rows, clips, views=info.views, channel=info.channel)
    imported = FeatureStore.open(tmp_path / "store")
    assert {member.view.partition("/")[0] for member in default_recipe(imported).members} == {"0"}
    assert "cannot be measured" in left_out(imported)["0-1"]
    assert set(left_out(heard.store)) == {"1"}


def test_every_view_of_the_near_channel_and_what_is_left_of_it_is_a_candidate(heard: Heard) -> None:
    candidates = default_candidates(heard.store)
    assert len(candidates) == 30 * heard.store.info("logmel").shape[0] * 2 // 3
    assert {member.view.partition("/")[0] for member in candidates} == {"0", "0-1"}
    with pytest.raises(RequestError, match=r"logmel has no view 'mean'; its views: 0/mean.*did you mean 0/mean"):
        default_candidates(heard.store, ["logmel@mean"])


def test_statistics_of_normal_sound_are_those_of_the_near_channel(heard: Heard, tmp_path: Path) -> None:
    locator = heard.model.locator
    assert locator is not None
    assert locator.channel == "0"
    near = built(heard.root, tmp_path / "near", {"logmel": "logmel"}, AudioPolicy("0", heard.model.policy.length))
    expected = Locator.of(near, near.clips("logmel")[near.clips("logmel").where(split="train")])
    for name, array in expected.arrays().items():
        np.testing.assert_array_equal(locator.arrays()[name], array)
    paths = sorted(heard.root.glob("*/test/*anomaly*.wav"))
    regions = [region for path in paths for verdict in heard.model.score_file(path) for region in verdict.where[:1]]
    whistles = [region.low_hz <= 3700 <= region.high_hz for region in regions]
    assert sum(whistles) > len(regions) / 2 > 1


def test_a_report_of_places_reads_the_near_channel(heard: Heard) -> None:
    found = places(heard.store, heard.expected, heard.root)
    assert found.regions
    assert found.notes == ()


def test_neighbours_compare_the_near_channel_unless_asked(heard: Heard) -> None:
    key = heard.store.clips("logmel").keys()[0]
    default = neighbours(heard.store, key, Search(k=3))
    assert default == neighbours(heard.store, key, Search(embedding="logmel@0/mean", k=3))
    assert default != neighbours(heard.store, key, Search(embedding="logmel@0-1/mean", k=3))
    by_file = neighbours(heard.store, str(heard.root / heard.store.clips("logmel")[0].recording), Search(k=3))
    assert by_file[0].distance == pytest.approx(0, abs=1e-6)


def test_a_dead_far_microphone_leaves_the_near_one(tmp_path: Path) -> None:
    root = record_two(tmp_path / "data", machines=("fan",))
    for path in root.rglob("*.wav"):
        samples, _ = soundfile.read(path)
        samples[:, 1] = 0
        soundfile.write(path, samples, RATE)
    store = built(root, tmp_path / "store", {"logmel": "logmel"}, AudioPolicy(LISTED))
    assert set(store.facts("logmel")["outcome"].tolist()) == {b"far channel silent"}
    recipe = default_recipe(store)
    assert {member.view.partition("/")[0] for member in recipe.members} == {"0"}
    near = built(root, tmp_path / "near", {"logmel": "logmel"}, AudioPolicy("0"))
    np.testing.assert_array_equal(
        detect(store, recipe, workers=0).score, detect(near, default_recipe(near), workers=0).score
    )


def test_files_are_watched_and_scored_alike_and_mono_ones_are_rejected(heard: Heard, tmp_path: Path) -> None:
    model, folder = heard.root.parent / "m", tmp_path / "in"
    copied = sorted(heard.root.glob("fan/test/*.wav"))[:2]
    (folder / "fan" / "test").mkdir(parents=True)
    for path in copied:
        shutil.copy(path, folder / "fan" / "test")
    samples, _ = soundfile.read(copied[0])
    mono = "fan/test/section_00_source_test_normal_0099_noAttribute.wav"
    soundfile.write(folder / mono, samples[:, 0], RATE)
    words = [str(model), str(folder), "--once", "--settle", "0.01", "--interval", "0.01", "--poll"]
    watched = [json.loads(line) for line in CliRunner().invoke(main, ["watch", *words]).stdout.splitlines()]
    done = CliRunner().invoke(main, ["score", str(model), str(folder), "--json", "--workers", "0"])
    assert done.exit_code == 3
    scored = [json.loads(line) for line in done.stdout.splitlines()]
    of_watch, of_score = (
        {(line[name], line["start_s"]): line["score"] for line in lines if line["type"] == "result"}
        for name, lines in (("file", watched), ("clip", scored))
    )
    assert of_watch == pytest.approx(of_score, rel=1e-12)
    assert {file for file, _ in of_watch} == {f"fan/test/{path.name}" for path in copied}
    rejected = {line["file"]: line["reason"] for line in watched if line["type"] == "rejected"}
    assert rejected == {mono: "channel 1 does not exist, the file has 1 (0 to 0)"}
