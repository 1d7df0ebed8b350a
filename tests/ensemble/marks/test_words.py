"""Words that people say for marks."""

import pytest

from ensemble.marks.file import MARKS
from ensemble.marks.words import FOLLOWS, SYNONYMS, mark_of, text_mark
from ensemble.selection.faults import LABELS


@pytest.mark.parametrize(
    ("word", "mark"),
    [
        ("Anomaly", "fault"),
        ("false_alarm", "normal"),
        ("OK", "normal"),
        ("not ok", "fault"),
        ("Skip", "ignore"),
        ("x", None),
    ],
)
def test_words_in_any_case(word: str, mark: str | None) -> None:
    assert mark_of(word) == mark


def test_every_mark_is_a_word_and_says_what_it_does() -> None:
    assert all(mark_of(mark) == mark for mark in MARKS)
    assert set(SYNONYMS.values()) == set(MARKS) == set(FOLLOWS)
    assert not mark_of("x" * 10_000_000)


def test_a_list_of_faults_says_the_same() -> None:
    for word, is_fault in LABELS.items():
        assert mark_of(word) == {True: "fault", False: "normal", None: "ignore"}[is_fault]


def test_a_label_may_have_a_note() -> None:
    assert text_mark("Fault:  a: b ") == ("fault", "a: b")
    assert text_mark("no idea: x") is None
