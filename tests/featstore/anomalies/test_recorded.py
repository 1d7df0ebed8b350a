"""Folders of recorded anomalies, captions from metadata, and a fake text-to-audio model."""

import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile as sf
from click.testing import CliRunner
from script import load_script

from featstore.anomalies.recorded import Sound, caption_of, donors_by_machine, read_captions, write_captions
from featstore.clip import Clip
from featstore.errors import DataError

text_to_audio = load_script("text_to_audio")


def folder_with(tmp_path: Path, table: str, *files: str) -> Path:
    folder = tmp_path / "sounds"
    folder.mkdir()
    for name in files:
        sf.write(folder / name, np.full(100, 0.1), 16000)
    (folder / "captions.csv").write_text(table, encoding="utf-8")
    return folder


def clip(machine: str = "ToyCar", split: str = "train", **attributes: str) -> Clip:
    name = "_".join(attributes.values())
    return Clip(f"{machine}/{split}/{name}.wav", machine, "00", split, attributes=attributes)  # type: ignore[arg-type]


def test_donor_paths_are_relative_to_the_data_where_they_are_below_it(tmp_path):
    folder = folder_with(tmp_path, "file,machine,caption\na.wav,fan,x\nb.wav,,y\n", "a.wav", "b.wav")
    assert donors_by_machine(folder, tmp_path, ["fan"]) == {"fan": ["sounds/a.wav"], "": ["sounds/b.wav"]}
    outside = donors_by_machine(folder, tmp_path / "elsewhere", ["fan"])
    assert outside == {"fan": [f"{folder}/a.wav"], "": [f"{folder}/b.wav"]}
    with pytest.raises(DataError, match=r"a\.wav is for machine 'fan', but the data have pump"):
        donors_by_machine(folder, tmp_path, ["pump"])


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("file,caption\na.wav,x\n", "no column 'machine'; expected the columns file, machine, caption"),
        ("file,machine,caption\n", "lists no sound"),
        ("file,machine,caption\nb.wav,fan,x\n", "lists 'b.wav', which is not in"),
        ("file,machine,caption\na.wav,fan,x\na.wav,fan,y\n", "lists 'a.wav' twice"),
    ],
)
def test_wrong_tables_are_refused(tmp_path, table, message):
    with pytest.raises(DataError, match=message):
        read_captions(folder_with(tmp_path, table, "a.wav"))


def test_a_folder_without_a_table_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"captions\.csv: cannot be read"):
        read_captions(tmp_path)


def test_captions_survive_the_table(tmp_path):
    sounds = [Sound("a.wav", "fan", 'a "loud", sound\nin two lines'), Sound("b.wav", "", "é")]
    folder = folder_with(tmp_path, "", "a.wav", "b.wav")
    write_captions(folder, sounds)
    assert read_captions(folder) == sounds


@pytest.mark.parametrize(
    ("clip", "caption"),
    [
        (clip(car="B2", spd="31V"), "the anomaly sound of a toy car with model B2 and speed 31V"),
        (clip("fan"), "the anomaly sound of a fan"),
        (clip("ToyRCCar", a="1", b="2", c="3"), "the anomaly sound of a toy rc car with a 1, b 2 and c 3"),
        (clip("UAV", empty=""), "the anomaly sound of a uav"),
        (clip("id_01"), "the anomaly sound of an id 01"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_captions_state_the_metadata(clip, caption):
    assert caption_of(clip) == caption


def test_captions_are_taken_from_training_clips_and_differ():
    clips = [clip(car="A1"), clip(car="A1"), clip(car="B2"), clip(car="C3"), clip(car="T", split="test"), clip("fan")]
    assert text_to_audio.captions_for(clips, 2) == [
        ("ToyCar", "the anomaly sound of a toy car with model A1"),
        ("ToyCar", "the anomaly sound of a toy car with model B2"),
        ("fan", "the anomaly sound of a fan"),
    ]


class FakePipeline:
    """Returns what AudioLDM2Pipeline returns, with a constant wave of the requested length."""

    def __init__(self, level: float = 0.5) -> None:
        self.level = level
        self.calls: list[tuple[str, object]] = []

    def __call__(self, prompt: str, *, audio_length_in_s: float, generator: object, **options: object) -> object:
        assert set(options) == {"negative_prompt", "num_inference_steps"}
        self.calls.append((prompt, generator))
        n = round(16000 * audio_length_in_s)
        return SimpleNamespace(audios=np.full((1, n), self.level, dtype=np.float32))


def test_generated_sounds_are_a_folder_of_recorded_anomalies(tmp_path):
    pipeline = FakePipeline(level=4.0)
    prompts = [("fan", "the anomaly sound of a fan"), ("pump", "the anomaly sound of a pump")]
    text_to_audio.generate(pipeline, prompts, tmp_path / "out", seconds=0.5, generator=lambda seed: seed)
    assert pipeline.calls == [(prompts[0][1], 0), (prompts[1][1], 1)]
    assert read_captions(tmp_path / "out") == [
        Sound("fan_0000.wav", "fan", prompts[0][1]),
        Sound("pump_0001.wav", "pump", prompts[1][1]),
    ]
    wave, rate_hz = sf.read(tmp_path / "out" / "fan_0000.wav")
    assert (len(wave), rate_hz) == (8000, 16000)
    assert np.abs(wave).max() == pytest.approx(1, abs=1e-3)
    with pytest.raises(DataError, match="already exists"):
        text_to_audio.generate(pipeline, prompts, tmp_path / "out")
    with pytest.raises(DataError, match="expected a finite wave for 'the anomaly sound of a fan'"):
        text_to_audio.generate(FakePipeline(np.nan), prompts, tmp_path / "other")


def test_missing_weights_and_a_missing_library_are_errors(tmp_path, monkeypatch):
    with pytest.raises(DataError, match=r"no model_index\.json; expected the folder of a saved diffusers AudioLDM2"):
        text_to_audio.load_pipeline(tmp_path)
    (tmp_path / "model_index.json").write_text("{}")
    monkeypatch.setitem(sys.modules, "diffusers", None)
    with pytest.raises(DataError, match="pip install diffusers"):
        text_to_audio.load_pipeline(tmp_path)

    class Broken:
        @staticmethod
        def from_pretrained(path: str, *, local_files_only: bool) -> object:
            assert local_files_only
            raise OSError("no unet")

    monkeypatch.setitem(sys.modules, "diffusers", SimpleNamespace(AudioLDM2Pipeline=Broken))
    with pytest.raises(DataError, match="expected the weights of an AudioLDM2 pipeline: no unet"):
        text_to_audio.load_pipeline(tmp_path)


def test_the_command_ends_in_one_line_without_weights(tmp_path):
    folder = tmp_path / "data" / "fan" / "train" / "normal"
    folder.mkdir(parents=True)
    sf.write(folder / "a.wav", np.full(100, 0.1), 16000)
    command = [str(tmp_path / "data"), str(tmp_path / "out"), "--weights", str(tmp_path)]
    result = CliRunner().invoke(text_to_audio.main, command)
    assert result.exit_code == 1
    assert result.output.startswith("Error: ")
    assert not (tmp_path / "out").exists()
