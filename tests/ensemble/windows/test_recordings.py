"""Scores and labels of recordings from those of their windows."""

from dataclasses import replace

import numpy as np
import pytest
from window_store import recording, windows

from detectors.metrics.scores import ScoreTable
from ensemble.windows.recordings import Recordings, quantile_of, recordings_of, rule_text
from featstore.clip import Clip
from featstore.errors import DataError, OptionError
from featstore.table import COLUMNS, ClipTable

CLIPS = [
    *windows(recording("fan/test/b.wav"), 3),
    *windows(recording("fan/test/a.wav"), 2),
    recording("fan/test/w.wav"),
]
SCORES = np.array([1.0, 5, 3, 2, 4, 9])


def of(clips: list[Clip], rule: str = "max", **options: list[str]) -> Recordings:
    return recordings_of(ClipTable.from_clips(clips), rule, **options)


def test_a_recording_has_the_maximum_or_a_quantile_of_its_windows() -> None:
    assert of(CLIPS).clips.keys() == ["fan/test/a.wav", "fan/test/b.wav", "fan/test/w.wav"]
    np.testing.assert_array_equal(of(CLIPS).scores(SCORES), [4, 5, 9])
    np.testing.assert_allclose(of(CLIPS, "q0.5").scores(SCORES), [3, 3, 9])
    np.testing.assert_array_equal(of(CLIPS).any(SCORES == 3), [False, True, False])


@pytest.mark.parametrize(
    ("labels", "expected"),
    [("nnn", "normal"), ("nan", "anomaly"), ("uau", "anomaly"), ("nun", "unknown"), ("uuu", "unknown")],
)
def test_the_label_of_a_recording(labels: str, expected: str) -> None:
    words = {"n": "normal", "a": "anomaly", "u": "unknown"}
    clips = [replace(clip, label=words[label]) for clip, label in zip(CLIPS[:3], labels, strict=True)]
    assert of(clips).clips[0].label == expected


def test_a_recording_that_chose_the_ensemble_has_no_label() -> None:
    clips = [replace(clip, label="anomaly") for clip in CLIPS]
    labels = of(clips, unlabelled=[CLIPS[1].key]).clips.column("label").tolist()
    assert labels == ["anomaly", "unknown", "anomaly"]


def test_the_domain_of_a_recording_is_that_of_its_windows() -> None:
    mixed = [replace(CLIPS[0], domain="target"), *CLIPS[1:]]
    assert of(mixed).clips.column("domain").tolist() == ["source", "unknown", "source"]


def test_windows_of_several_sections_are_no_recording() -> None:
    with pytest.raises(DataError, match=r"'fan/test/b.wav': its windows are of several sections"):
        of([replace(CLIPS[0], section="01"), *CLIPS[1:]])


def test_the_order_of_windows_does_not_matter() -> None:
    order = np.random.default_rng(2).permutation(len(CLIPS))
    plain, shuffled = of(CLIPS, "q0.9"), of([CLIPS[i] for i in order], "q0.9")
    np.testing.assert_array_equal(plain.scores(SCORES), shuffled.scores(SCORES[order]))
    for name in COLUMNS:
        np.testing.assert_array_equal(plain.clips.columns[name], shuffled.clips.columns[name])


def test_a_table_of_scores_is_read_by_key() -> None:
    recordings = of(CLIPS)
    keys = [clip.key for clip in CLIPS]
    scores = ScoreTable("s", tuple(keys[::-1]), SCORES[::-1])
    table = recordings.table(scores, ["fan/test/w.wav", "fan/test/a.wav"])
    assert table.keys == ("fan/test/w.wav", "fan/test/a.wav")
    np.testing.assert_array_equal(table.scores, [9, 4])
    lacking = ScoreTable("s", tuple(keys[1:]), SCORES[1:])
    np.testing.assert_array_equal(recordings.table(lacking, ["fan/test/a.wav"]).scores, [4])
    with pytest.raises(DataError, match=r"no score for 'fan/test/b.wav#t=0,10'"):
        recordings.table(lacking, ["fan/test/b.wav"])
    assert len(recordings.table(scores, [])) == 0


def test_without_windows_nothing_changes() -> None:
    clips = ClipTable.from_clips([recording("fan/test/b.wav"), recording("fan/test/a.wav")])
    recordings, scores = recordings_of(clips), ScoreTable("s", tuple(clips.keys()), np.array([1.0, 2]))
    assert recordings.clips is clips
    assert not recordings.divided
    assert recordings.table(scores, clips.keys()) is scores
    assert recordings.scores(scores.scores) is scores.scores
    assert not recordings_of(ClipTable.from_clips([])).divided


@pytest.mark.parametrize("rule", ["maximum", "q0", "q1", "q0.0", "q1.5", "0.9", "q-.5", ""])
def test_an_unknown_rule_is_refused(rule: str) -> None:
    with pytest.raises(OptionError, match="--recording-score"):
        quantile_of(rule)
    with pytest.raises(OptionError):
        of(CLIPS, rule)


def test_rules_in_words() -> None:
    assert [rule_text(rule) for rule in ("max", "q0.9", "q.75")] == ["maximum", "0.9 quantile", "0.75 quantile"]
