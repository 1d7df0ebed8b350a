"""From recordings to verdicts: a model says of a file, of a wave and of a folder what a detection says of its rows."""

import shutil
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import soundfile
from scored_plant import RATE, RECIPE, Plant, built, model_of, record, wave

from ensemble.recipe import Member, Recipe
from ensemble.run import Detection, detect
from ensemble.scoring.model import TRAINED, Model
from ensemble.scoring.requests import ScoreRequest, score_to
from ensemble.scoring.score import score_clips
from ensemble.scoring.verdict import Verdict
from featstore.audio.policy import AudioPolicy
from featstore.clip import Clip
from featstore.errors import DataError, RejectedAudio

WINDOWS = AudioPolicy(length="window:2,1")


@pytest.fixture(scope="module", autouse=True)
def _unsynced(unsynced: None) -> None:
    pass


@pytest.fixture(scope="module")
def expected(plant: Plant) -> Detection:
    return detect(plant.store, RECIPE, workers=0)


@pytest.fixture(scope="module")
def windowed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Model, Detection]:
    """Recordings of 3.5 s in windows of 2 s; a window at the end, and one that ends with the recording."""
    folder = tmp_path_factory.mktemp("windowed")
    root = record(folder / "data", train=4, test=2, seconds=3.5)
    store = built(root, folder / "store", {"logmel": "logmel"}, WINDOWS)
    recipe = Recipe((Member("logmel", "mahalanobis", "mean"), Member("logmel", "knn:k=1")))
    return root, model_of(store, folder / "m", recipe), detect(store, recipe, workers=0)


def assert_says(verdict: Verdict, detection: Detection, i: int, atol: float = 1e-9) -> None:
    clip = detection.clips[i]
    assert (verdict.machine, verdict.section) == (clip.machine, clip.section)
    values = {
        "score": detection.score[i],
        "percentile": detection.percentile[i],
        "p_value": detection.decided.p_value[i],
        "threshold": detection.decided.threshold[i],
        "nearest_distance": detection.nearest_distance[i],
    }
    for name, value in values.items():
        assert getattr(verdict, name) == pytest.approx(value, abs=atol), name
    assert verdict.anomaly == detection.decision[i]
    assert verdict.nearest == detection.nearest[i]
    names = [member.name for member in detection.recipe.members]
    assert list(verdict.members) == names
    np.testing.assert_allclose(list(verdict.members.values()), detection.member_percentiles[:, i], rtol=0, atol=atol)
    probability = detection.domains.scored[i] if detection.domains else None
    assert verdict.target_probability == (None if probability is None else pytest.approx(probability, abs=atol))


def test_files_and_waves_are_scored_as_their_rows_are(plant: Plant, model: Model, expected: Detection) -> None:
    assert expected.decision.any()
    assert not expected.decision.all()
    for i, key in enumerate(expected.clips.keys()):
        (verdict,) = model.score_file(plant.root / key)
        assert_says(verdict, expected, i)
        assert (verdict.start_s, verdict.end_s) == (0.0, 0.6)
        samples, rate = soundfile.read(plant.root / key, dtype="int16")
        place = {"machine": expected.clips[i].machine, "section": expected.clips[i].section}
        assert model.score(samples, rate, **place) == [verdict]
        assert model.score((samples / 32768).astype(np.float32), rate, **place) == [verdict]
        assert model.score(samples[:, None].repeat(2, axis=1), rate, **place) == [verdict]


@pytest.mark.parametrize("workers", [0, 2])
def test_folders_are_scored_as_their_rows_are(plant: Plant, model: Model, expected: Detection, workers: int) -> None:
    clips = list(expected.clips)[::-1]
    done: list[tuple[int, int]] = []
    outcomes = list(score_clips(model, plant.root, clips, workers=workers, progress=lambda *n: done.append(n)))
    assert [outcome.clip for outcome in outcomes] == clips
    for i, outcome in enumerate(outcomes[::-1]):
        assert outcome.verdict is not None
        assert_says(outcome.verdict, expected, i)
    assert done[-1] == (len(clips), len(clips))


@pytest.mark.parametrize("workers", [0, 1])
def test_a_device_embeds_in_this_process(plant: Plant, model: Model, workers: int) -> None:
    """Its processes only read; `cpu:0` is a device to torch as a GPU is."""
    other = Model(model.fitted, model.sources, seconds=model.seconds, locator=model.locator, device="cpu:0")
    path = plant.files()[0]
    expected = model.score_file(path)
    assert other.score_file(path) == expected
    clip = Clip(str(path), expected[0].machine, expected[0].section, "test")
    assert [outcome.verdict for outcome in score_clips(other, Path(), [clip], workers=workers)] == expected


@pytest.mark.parametrize("rate", [8000, 44100])
@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "FLOAT"])
def test_a_wave_of_another_rate_is_its_file(model: Model, tmp_path: Path, rate: int, subtype: str) -> None:
    """5 s, so that the resampler gets several blocks."""
    samples = 0.3 * np.random.default_rng(0).normal(size=(5 * rate, 2))
    soundfile.write(tmp_path / "a.wav", samples, rate, subtype=subtype)
    read, _ = soundfile.read(tmp_path / "a.wav", dtype="float32")
    place = {"machine": "pump", "section": "00"}
    assert model.score(read, rate, **place) == model.score_file(tmp_path / "a.wav", **place)


def test_windows_of_files_and_waves_are_those_of_the_store(windowed: tuple[Path, Model, Detection]) -> None:
    root, model, expected = windowed
    assert (model.window_s, model.hop_s, model.seconds) == (2.0, 1.0, 2.0)
    recordings = list(dict.fromkeys(clip.recording for clip in expected.clips))
    for recording in recordings:
        rows = [i for i, clip in enumerate(expected.clips) if clip.recording == recording]
        verdicts = model.score_file(root / recording)
        spans = [(verdict.start_s, verdict.end_s) for verdict in verdicts]
        assert spans == [(0.0, 2.0), (1.0, 3.0), (1.5, 3.5)]
        for verdict, i in zip(verdicts, rows, strict=True):
            assert_says(verdict, expected, i)
        samples, rate = soundfile.read(root / recording, dtype="float32")
        place = {"machine": verdicts[0].machine, "section": verdicts[0].section}
        assert model.score(samples, rate, **place) == verdicts


def test_a_long_wave_is_scored_a_few_windows_at_a_time(
    windowed: tuple[Path, Model, Detection], monkeypatch: pytest.MonkeyPatch
) -> None:
    root, model, expected = windowed
    recording = expected.clips[0].recording
    samples, rate = soundfile.read(root / recording, dtype="float32")
    place = {"machine": expected.clips[0].machine, "section": expected.clips[0].section}
    whole, together, verdicts = model.score(samples, rate, **place), [], model.verdicts
    monkeypatch.setattr("ensemble.scoring.model.GROUP", 2)
    monkeypatch.setattr(
        model, "verdicts", lambda clips, results: together.append(len(clips)) or verdicts(clips, results)
    )
    assert model.score(samples, rate, **place) == whole
    assert together == [2, 1]


def test_windows_of_the_standard_input_are_clips_of_it(windowed: tuple[Path, Model, Detection]) -> None:
    root, model, expected = windowed
    path, clip = root / expected.clips[0].recording, expected.clips[0]
    request = ScoreRequest(paths=(Path("-"),), machine=clip.machine, section=clip.section)
    stdin = BytesIO(path.read_bytes())
    outcomes = list(score_to(model, request, stdin=stdin, progress=lambda done, total: None, say=print))
    assert [outcome.clip.path for outcome in outcomes] == ["-#t=0,2", "-#t=1,3", "-#t=1.5,3.5"]
    assert [outcome.verdict for outcome in outcomes] == model.score_file(path)


def test_windows_of_another_rate_and_of_short_recordings(
    windowed: tuple[Path, Model, Detection], tmp_path: Path
) -> None:
    model, place = windowed[1], {"machine": "pump", "section": "00"}
    for seconds, n in ((3.21, 3), (1.3, 1), (2.0005, 1)):
        samples = 0.3 * np.random.default_rng(0).normal(size=round(seconds * 22050))
        soundfile.write(tmp_path / "a.wav", samples, 22050, subtype="FLOAT")
        read, _ = soundfile.read(tmp_path / "a.wav", dtype="float32")
        verdicts = model.score(read, 22050, **place)
        assert verdicts == model.score_file(tmp_path / "a.wav", **place)
        assert len(verdicts) == n


@pytest.mark.parametrize(
    "policy",
    [
        AudioPolicy("1"),
        AudioPolicy("mean"),
        AudioPolicy("0-1"),
        AudioPolicy("0,1,0-1"),
        AudioPolicy(length="crop:0.4"),
        AudioPolicy(length="pad:0.8"),
        AudioPolicy(length="tile:0.8"),
    ],
    ids=str,
)
def test_channel_and_length_are_those_of_the_store(tmp_path: Path, policy: AudioPolicy) -> None:
    rng = np.random.default_rng(0)
    (tmp_path / "data").mkdir()
    for i in range(5):
        soundfile.write(tmp_path / "data" / f"{i}.wav", 0.1 * rng.normal(size=(9600, 2)), RATE)
    store = built(tmp_path / "data", tmp_path / "s", {"logmel": "logmel"}, policy)
    recipe = Recipe((Member("logmel", "knn:k=1"),))
    model = model_of(store, tmp_path / "m", recipe)
    assert model.policy == policy
    for rate in (RATE, 22050):
        soundfile.write(tmp_path / "new.wav", 0.1 * rng.normal(size=(round(0.6 * rate), 2)), rate, subtype="FLOAT")
        read, _ = soundfile.read(tmp_path / "new.wav", dtype="float32")
        verdicts = model.score(read, rate)
        assert verdicts == model.score_file(tmp_path / "new.wav")
        assert verdicts != model.score(read[:, ::-1][::-1], rate)


def test_half_precision_rows_are_scored_as_stored_ones(plant: Plant, tmp_path: Path) -> None:
    from embedders import create
    from featstore import registry
    from featstore.build import BuildOptions, Request, build
    from featstore.layouts.recognise import find_clips
    from featstore.store import FeatureStore

    make = registry.factory(create, "logmel")
    build(
        plant.root,
        find_clips(plant.root).clips,
        tmp_path / "s",
        [Request("logmel", make)],
        BuildOptions(workers=0, dtype="float16"),
    )
    store = FeatureStore.open(tmp_path / "s")
    recipe = Recipe((Member("logmel", "mahalanobis", "mean"),))
    model, expected = model_of(store, tmp_path / "m", recipe), detect(store, recipe, workers=0)
    for i, key in enumerate(expected.clips.keys()):
        assert_says(model.score_file(plant.root / key)[0], expected, i)


def test_a_training_clip_is_refused(plant: Plant, model: Model, tmp_path: Path) -> None:
    trained = plant.files("train")[0]
    shutil.copy(trained, tmp_path / "renamed.wav")
    for path in (trained, tmp_path / "renamed.wav"):
        with pytest.raises(RejectedAudio, match=TRAINED):
            model.score_file(path, machine="fan", section="00")
    clip = Clip("renamed.wav", "fan", "00", "test")
    (outcome,) = score_clips(model, tmp_path, [clip], workers=0)
    assert (outcome.verdict, outcome.reason) == (None, TRAINED)


def test_bad_recordings_are_rejected_between_good_ones(plant: Plant, model: Model, tmp_path: Path) -> None:
    good = plant.files()[:3]
    for i, path in enumerate(good):
        shutil.copy(path, tmp_path / f"{i}.wav")
    (tmp_path / "noise.wav").write_bytes(b"no sound")
    (tmp_path / "cut.wav").write_bytes(good[0].read_bytes()[:4000])
    names = ["0.wav", "noise.wav", "1.wav", "cut.wav", "gone.wav", "2.wav"]
    clips = [Clip(name, "fan", "00", "test") for name in names]
    outcomes = list(score_clips(model, tmp_path, clips, workers=0))
    assert [bool(outcome.verdict) for outcome in outcomes] == [True, False, True, False, False, True]
    assert "truncated" in outcomes[3].reason
    scores = [outcome.verdict.score for outcome in outcomes if outcome.verdict]
    assert scores == pytest.approx([model.score_file(path)[0].score for path in good], abs=1e-12)
    with pytest.raises(RejectedAudio, match="truncated"):
        model.score_file(tmp_path / "cut.wav", machine="fan", section="00")


@pytest.mark.parametrize(
    ("samples", "rate", "words"),
    [
        (np.zeros(0), 16000, "expected samples"),
        (np.zeros((0, 2)), 16000, "expected samples"),
        (np.zeros((2, 2, 2)), 16000, "expected samples"),
        (np.zeros(9), 0, "expected samples"),
        (np.array(["a"]), 16000, "expected samples"),
        (np.full(9000, np.nan), 16000, "NaN or infinite"),
        (np.full(9000, 1e39), 16000, "NaN or infinite"),
        (np.zeros(601 * 8000, dtype=np.int16), 8000, "601 s long, more than 600 s"),
    ],
)
def test_a_wave_that_cannot_be_used_is_rejected(model: Model, samples: np.ndarray, rate: int, words: str) -> None:
    with pytest.raises(RejectedAudio, match=words):
        model.score(samples, rate, machine="fan", section="00")


def test_a_read_only_wave_stays_as_it_is(model: Model) -> None:
    samples = wave("fan", "00", 99, "test", 0.6)
    before = samples.copy()
    samples.flags.writeable = False
    model.score(samples, RATE, machine="fan", section="00")
    np.testing.assert_array_equal(samples, before)


def test_machine_and_section_are_asked_for(model: Model, plant: Plant) -> None:
    samples = wave("fan", "00", 99, "test", 0.6)
    with pytest.raises(
        DataError, match=r"which machine and section\? Give --machine and --section; the model knows fan/00"
    ):
        model.score(samples, RATE)
    with pytest.raises(DataError, match=r"no machine 'fam'; it knows fan, pump; did you mean fan\?"):
        model.score(samples, RATE, machine="fam")
    with pytest.raises(DataError, match="no section fan/07; it knows fan/00"):
        model.score(samples, RATE, machine="fan", section="07")
    assert model.score(samples, RATE, machine="pump")[0].section == "00", "its only section"
    assert model.sections == [("fan", "00"), ("fan", "01"), ("pump", "00")]


def test_pooled_sections_score_a_new_section(plant: Plant, tmp_path: Path) -> None:
    model = model_of(plant.store, tmp_path / "m", replace(RECIPE, pool_sections=True))
    (verdict,) = model.score_file(plant.files()[0], machine="fan", section="07")
    assert verdict.section == "07"
    with pytest.raises(DataError, match="no machine 'pumb'; it knows fan, pump"):
        model.score_file(plant.files()[0], machine="pumb", section="07")


def test_a_changed_embedder_is_refused_also_in_processes(plant: Plant, model: Model) -> None:
    infos = {name: replace(info, fingerprint="0" * 64) for name, info in model.fitted.embeddings.items()}
    other = Model(replace(model.fitted, embeddings=infos), model.sources, seconds=0.6)
    clips = [Clip(str(path), "fan", "00", "test") for path in plant.files()[:2]]
    with pytest.raises(DataError, match=r"logmel: the embedder of this program has the fingerprint .*fit it again"):
        other.score_file(plant.files()[0])
    for workers in (0, 2):
        with pytest.raises(DataError, match="logmel: the embedder of this program has the fingerprint"):
            list(score_clips(other, Path(), clips, workers=workers))


def test_embeddings_that_were_built_in_different_ways_are_refused(model: Model) -> None:
    infos = dict(model.fitted.embeddings)
    infos["twfr"] = replace(infos["twfr"], length="crop:2")
    with pytest.raises(DataError, match="must be built in one way"):
        Model(replace(model.fitted, embeddings=infos), model.sources, seconds=1.0)
