"""Models whose embedder reads near and far together: files and waves give the scores of the rows of the store."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from scored_plant import built, model_of
from small_networks import save_na_beats
from two_microphones import record_two

from ensemble.recipe import Member, Recipe
from ensemble.run import detect
from featstore.audio.policy import AudioPolicy
from featstore.errors import RejectedAudio

pytestmark = pytest.mark.usefixtures("unsynced")

RECIPE = Recipe((Member("na", "knn:k=1"), Member("logmel", "knn:k=1", "0/mean")))


@pytest.mark.parametrize("length", ["native", "window:0.4,0.2"])
def test_files_and_waves_are_scored_as_their_rows_are(tmp_path: Path, length: str) -> None:
    root = record_two(tmp_path / "data", machines=("fan",))
    spec = f"na_beats={save_na_beats(tmp_path)}"
    store = built(root, tmp_path / "store", {"na": spec, "logmel": "logmel"}, AudioPolicy("0,1", length))
    assert (store.info("na").shape, store.info("na").views, store.info("na").channel) == ((16,), (), "0,1")
    assert store.info("logmel").views[0].startswith("0/")
    recipe = replace(RECIPE, false_alarm_rate=0.3)
    expected = detect(store, recipe, workers=0)
    model = model_of(store, tmp_path / "m", recipe, (spec,))
    recordings = list(dict.fromkeys(clip.recording for clip in expected.clips))
    assert len(recordings) == 4
    for recording in recordings:
        rows = [i for i, clip in enumerate(expected.clips) if clip.recording == recording]
        verdicts = model.score_file(root / recording)
        np.testing.assert_allclose([v.score for v in verdicts], expected.score[rows], rtol=0, atol=1e-6)
        samples, rate = soundfile.read(root / recording, dtype="int16")
        np.testing.assert_allclose([v.score for v in model.score(samples, rate)], [v.score for v in verdicts], 1e-6)
        with pytest.raises(RejectedAudio, match="channel 1 does not exist, the wave has 1"):
            model.score(samples[:, 0], rate)
