"""Words for labels."""

import pytest

from featstore.layouts.labels import (
    ANOMALY_WORDS,
    EXPECTED,
    FLAG_COLUMNS,
    NORMAL_WORDS,
    label_of,
    label_of_flag,
    resembles_label,
)


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


MEANT = ["nromal", "Abnrmal", "gut", "DEFEKT", "n.i.o", "normal_2", "異常", "not normal", "faults"]


@pytest.mark.parametrize("word", MEANT)
def test_words_that_were_probably_meant_as_labels(word: str) -> None:
    assert label_of(word) is None
    assert resembles_label(word)


@pytest.mark.parametrize("word", ["fan", "line 1", "bearing", "default", "id_00", "2024-01-01", "", "valve", "thermal"])
def test_words_that_resemble_no_label(word: str) -> None:
    assert not resembles_label(word)
