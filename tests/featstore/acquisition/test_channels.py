"""What is proposed where the selected channel of a recording is silent."""

from pathlib import Path

import numpy as np
import soundfile as sf

from featstore.acquisition.channels import channel_texts
from featstore.acquisition.outliers import findings_of
from featstore.acquisition.recordings import of_folder
from featstore.audio.policy import AudioPolicy
from featstore.clip import Clip


def texts(root: Path, shapes: dict[str, list[float]], channel: str = "0") -> dict[tuple[str, str], str]:
    """shapes: path -> gain of each channel."""
    for i, (path, gains) in enumerate(shapes.items()):
        wave = np.random.default_rng(i).normal(0, 0.1, 4000)
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        sf.write(root / path, np.stack([gain * wave for gain in gains], 1), 8000, subtype="FLOAT")
    clips = [Clip(path, "bearing", "00", "train") for path in shapes]
    recordings = of_folder(root, clips, AudioPolicy(channel=channel), workers=0)
    return channel_texts(root, recordings, findings_of(recordings))


def test_another_channel_is_proposed_where_every_recording_has_it(tmp_path: Path) -> None:
    assert texts(tmp_path, {"a.wav": [0, 1], "b.wav": [1, 1]}) == {
        ("bearing", "00"): "sound is in channel 1: build with --channel 1"
    }


def test_the_recording_is_named_where_others_lack_the_channel(tmp_path: Path) -> None:
    shapes: dict[str, list[float]] = {"abnormal/2.wav": [0, 1], "b.wav": [1]}
    assert texts(tmp_path, shapes)["bearing", "00"] == (
        "abnormal/2.wav: channel 0 is silent, channel 1 has the sound; replace it by a mono copy, or build all with "
        "--channel mean"
    )
    shapes |= {"abnormal/3.wav": [0, 1, 1]}
    assert texts(tmp_path, shapes)["bearing", "00"] == (
        "abnormal/2.wav and 1 more: channel 0 is silent, channels 1, 2 have the sound; replace them by mono copies, or "
        "build all with --channel mean"
    )


def test_a_silent_mean_is_no_reason_for_the_mean(tmp_path: Path) -> None:
    shapes: dict[str, list[float]] = {"a.wav": [0, 1, -1], "b.wav": [1]}
    said = texts(tmp_path, shapes, "mean")["bearing", "00"]
    assert said == "a.wav: the mean is silent, channels 1, 2 have the sound; replace it by a mono copy"
    assert texts(tmp_path, {"a.wav": [0, 0, 0], "b.wav": [1]}, "mean") == {("bearing", "00"): "every channel is silent"}
