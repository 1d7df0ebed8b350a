"""What is said about unusual recordings."""

from featstore.audio.outcomes import (
    LONGER,
    MEANINGS,
    PADDED,
    SILENT,
    UNKNOWN,
    Outcomes,
    add_outcome,
    first_of,
    outcome_notes,
)


def test_the_outcome_of_most_weight_counts() -> None:
    assert first_of(PADDED, UNKNOWN, SILENT) == SILENT
    assert first_of(PADDED, LONGER) == LONGER
    assert first_of("", PADDED) == PADDED
    assert first_of("", "") == ""


def test_a_length_is_counted_once_per_recording_and_silence_per_window() -> None:
    outcomes: Outcomes = {}
    for window in ("a#t=0,1", "a#t=1,2"):
        add_outcome(outcomes, UNKNOWN, window, "a")
        add_outcome(outcomes, SILENT, window, "a")
        add_outcome(outcomes, "", window, "a")
    assert {key: list(names) for key, names in outcomes.items()} == {UNKNOWN: ["a"], SILENT: ["a#t=0,1", "a#t=1,2"]}


def test_notes_show_three_names_and_escape_them() -> None:
    notes = outcome_notes({PADDED: ["p\033"], UNKNOWN: [f"{i}.wav" for i in range(1200)]})
    assert notes == [
        f"1,200 recordings: length unknown ({MEANINGS[UNKNOWN]}): '0.wav', '1.wav', '2.wav', ...",
        f"1 recording: padded ({MEANINGS[PADDED]}): 'p\\x1b'",
    ]
    assert outcome_notes({}) == []
