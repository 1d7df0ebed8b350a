"""Words for labels."""

import pytest

from featstore.layouts.labels import ANOMALY_WORDS, EXPECTED, FLAG_COLUMNS, NORMAL_WORDS, label_of, label_of_flag


@pytest.mark.parametrize("word", ["abnormal", "Anomalous", "NG", "not_ok", "Not-OK", " faulty ", "BAD", "defect"])
def test_words_for_an_anomaly(word: str) -> None:
    assert label_of(word) == "anomaly"


@pytest.mark.parametrize("word", ["normal", "OK", "Good", " healthy"])
def test_words_for_a_normal_recording(word: str) -> None:
    assert label_of(word) == "normal"


@pytest.mark.parametrize("word", ["", "unnormal", "0", "1", "unknown", "goods", "fan"])
def test_other_words_mean_nothing(word: str) -> None:
    assert label_of(word) is None


def test_flags_mean_what_their_column_says() -> None:
    assert {column: label_of_flag(column, "1") for column in FLAG_COLUMNS} == {
        column: "normal" if column in ("normal", "is_normal") else "anomaly" for column in FLAG_COLUMNS
    }
    assert all(label_of_flag(column, "0") != label_of_flag(column, " True ") for column in FLAG_COLUMNS)
    assert label_of_flag("anomaly", "2") is None


def test_the_message_names_every_word() -> None:
    assert all(word in EXPECTED for word in (*NORMAL_WORDS, *ANOMALY_WORDS))
