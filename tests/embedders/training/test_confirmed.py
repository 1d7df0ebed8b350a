"""Files of confirmed faults: what they say, mistakes by line, and that no other test clip is ever read."""

import csv
from collections import Counter

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner

import embedders.training.data
from embedders.networks.checkpoint import load
from embedders.training.confirmed import CONFIRMED, is_confirmed, with_confirmed
from embedders.training.data import balanced, training_clips
from embedders.training.labels import class_labels
from embedders.training.request import parse_setup
from ensemble.marks.listing import COLUMNS
from featstore.audio.read import read_clip
from featstore.cli import main
from featstore.clip import Clip
from featstore.errors import DataError

pytestmark = pytest.mark.usefixtures("unsynced")


def listing():
    normal = [Clip(f"fan/train/{i}.wav", "fan", "00", "train", "source", "normal") for i in range(6)]
    return [*normal, *(Clip(f"fan/test/t{i}.wav", "fan", "00", "test", "unknown", "unknown") for i in range(6))]


def written(path, *lines):
    path.write_text("\n".join(lines))
    return path


def kinds(clips):
    return {clip.path: clip.attributes[CONFIRMED] for clip in clips if is_confirmed(clip)}


def test_kinds_and_names(tmp_path):
    lines = [
        "clip,kind",
        "t0.wav,Bearing | worn::x",
        "data/fan/test/t1.wav,bearing worn x",
        "fan/test/t2.wav,bearing worn x",
    ]
    clips = with_confirmed(listing(), written(tmp_path / "f.csv", *lines, "t3.wav,rare", "t4.wav,"))
    bearing = dict.fromkeys(["fan/test/t0.wav", "fan/test/t1.wav", "fan/test/t2.wav"], "bearing worn x")
    assert kinds(clips) == {**bearing, "fan/test/t3.wav": "fault", "fan/test/t4.wav": "fault"}
    assert len(clips) == 12
    chosen = training_clips(clips, faults=True)
    classes, label = class_labels(chosen, "state")
    assert classes == ("fan|bearing worn x", "fan|fault", "fan|normal")
    assert np.bincount(label).tolist() == [3, 2, 6]
    assert all(clip.split == "train" for clip in training_clips(clips)), "other networks are trained as without them"


def test_the_export_of_marks_fits(tmp_path):
    rows = [
        ("fan/test/t0.wav", "fault", "", "", "me", "2026", "hiss"),
        ("fan/test/t1.wav", "normal", "", "", "me", "2026", ""),
        ("fan/test/t2.wav", "ignore", "", "", "me", "2026", ""),
        ("fan/test/t3.wav#t=1,3", "fault", "1", "3", "me", "2026", "hiss"),
        ("fan/test/t4.wav", "fault", "0.5", "2", "me", "2026", "hiss"),
        ("fan/train/1.wav", "fault", "", "", "me", "2026", "hiss"),
    ]
    with (tmp_path / "marks.csv").open("w", newline="") as file:
        csv.writer(file).writerows([COLUMNS, *rows])
    clips = with_confirmed(listing(), tmp_path / "marks.csv")
    parts = ["fan/test/t0.wav", "fan/test/t3.wav#t=1,3", "fan/test/t4.wav#t=0.5,2", "fan/train/1.wav"]
    assert kinds(clips) == dict.fromkeys(parts, "hiss")
    normal = [clip.path for clip in training_clips(clips)]
    assert normal == [f"fan/train/{i}.wav" for i in (0, 2, 3, 4, 5)], "a confirmed training clip is no longer normal"


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["clip", "t0.wav"], r"the first line is 'clip'; expected clip,kind or clip,label,note"),
        (["clip,kind", "t0.wav,a", "t9.wav,a"], r"line 3: 't9.wav' is no recording of the data"),
        (["clip,kind", "t0.wav,a,b"], "line 2: expected 2 columns, got 3"),
        (["clip,kind", "t0.wav,a", "fan/test/t0.wav,b"], "line 3: 'fan/test/t0.wav' is 'b', but 'a' on line 2"),
        (["clip,kind", "t0.wav,normal"], "line 2: the kind is 'normal'"),
        (["clip,label", "t0.wav,perhaps"], "line 2: the label 'perhaps'; expected fault"),
        (["clip,label", "t0.wav,normal"], "no confirmed faults"),
        (["clip,label,start_s,end_s", "t0.wav,fault,3,1"], "line 2: the part from '3' to '1'"),
        (["clip,label,start_s,end_s", "t0.wav,fault,x,1"], "line 2: the part from 'x' to '1'"),
    ],
)
def test_mistakes_name_their_line(tmp_path, lines, message):
    with pytest.raises(DataError, match=message) as caught:
        with_confirmed(listing(), written(tmp_path / "f.csv", *lines))
    assert "f.csv" in str(caught.value)


def test_classes_are_drawn_equally_often():
    labels = np.repeat([0, 1, 2], [900, 90, 10])
    drawn = balanced(np.arange(1000), labels, np.random.default_rng(0))
    counts = Counter(labels[drawn].tolist())
    assert len(drawn) == 1000
    assert all(280 < counts[label] < 390 for label in range(3))


def test_settings_that_contradict_the_network():
    with pytest.raises(ValueError, match="tdnn learns from normal sound alone"):
        parse_setup("tdnn", ("faults=f.csv",))
    with pytest.raises(ValueError, match="stargan has no pre-training"):
        parse_setup("stargan", ("pretrain.epochs=2",))


def test_only_training_clips_and_confirmed_faults_are_read(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    for machine in ("fan", "pump"):
        for folder, n in (("train/normal", 6), ("test/normal", 3), ("test/anomaly", 5)):
            for i in range(n):
                path = tmp_path / "data" / machine / folder / f"{machine}_{folder[-3:]}_{folder[:2]}{i}.wav"
                path.parent.mkdir(parents=True, exist_ok=True)
                soundfile.write(path, 0.1 * rng.normal(size=8000), 16000)
    confirmed = ["fan_aly_te0.wav", "fan_aly_te1.wav", "fan_aly_te3.wav"]
    faults = written(tmp_path / "f.csv", "clip,kind", *(f"{name},hiss" for name in confirmed))
    read = set()

    def traced(root, path, *args, **options):
        read.add(path.rpartition("/")[2])
        return read_clip(root, path, *args, **options)

    monkeypatch.setattr(embedders.training.data, "read_clip", traced)
    small = ("n_mels=16", "width=4", "dim=4", "code=2", "epochs=1", "batch=4", "holdout=0.2")
    options = [word for text in small for word in ("--set", text)]
    words = ["train", "stargan", str(tmp_path / "data"), "-o", str(tmp_path / "a.safetensors"), *options]
    without = CliRunner().invoke(main, words)
    assert without.exit_code == 1
    assert "no confirmed faults of these machines to learn from; add --set faults=FAULTS.csv" in without.output
    result = CliRunner().invoke(main, [*words, "--set", f"faults={faults}", "--threads", "1"])
    assert result.exit_code == 0, result.output
    allowed = {*confirmed, *(f"{machine}_mal_tr{i}.wav" for machine in ("fan", "pump") for i in range(6))}
    assert read <= allowed
    assert set(confirmed) & read
    classes = load(tmp_path / "a.safetensors", "stargan").classes
    assert classes == ("fan|hiss", "fan|normal", "pump|normal")
