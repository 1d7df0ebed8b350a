"""One note per section with test clips that differ, and one for many sections that differ alike."""

from acquired import recordings

from featstore.acquisition.notes import section_notes

SLOW: dict[str, object] = {"sample_rate_hz": 8000, "n_samples": 80_000}
LOUD: dict[str, object] = {"level_dbfs": 60.0}


def test_clean_recordings_have_no_note() -> None:
    assert section_notes(recordings(), "store") == []


def test_a_note_says_how_many_in_what_and_against_what() -> None:
    data = recordings(odd={20: SLOW, 21: SLOW, 22: LOUD, 0: LOUD})
    assert section_notes(data, "my.store") == [
        "fan 00: 2 of 10 test clips with another sample rate (8000 Hz; training clips 16000 Hz), 1 with another level "
        "(60 dBFS; training clips -33 to -27 dBFS); see featstore check my.store"
    ]


def test_training_clips_are_named_where_nothing_else_is_scored() -> None:
    assert section_notes(recordings(20, 10, odd={0: SLOW}), "store") == []
    [note] = section_notes(recordings(20, 0, odd={0: SLOW}), "store")
    assert note.startswith("fan 00: 1 of 20 clips with another sample rate (8000 Hz; the others 16000 Hz)")


def test_copies_of_training_clips_are_counted_where_asked() -> None:
    data = recordings(odd={row: {"content_hash": "f" * 32} for row in (3, 25)})
    assert "1 of 10 test clips with a copy among the training clips;" in section_notes(data, "store")[0]
    assert section_notes(data, "store", copies=False) == []


def test_silent_clips_say_where_sound_is() -> None:
    data = recordings(odd={25: {"outcome": "silent"}})
    [note] = section_notes(data, "store", heard={("fan", "00"): "sound is in channel 1"})
    assert note.startswith("fan 00: 1 of 10 test clips with silence (channel 0; sound is in channel 1);")


def test_many_sections_have_one_note() -> None:
    odd = {30 * section + 25: SLOW for section in range(5)}
    assert section_notes(recordings(sections=5, odd=odd), "store") == [
        "5 sections (fan 00, fan 01, fan 02 and 2 more): 5 of 50 clips differ in sample rate; see featstore check store"
    ]
    few = {row: facts for row, facts in odd.items() if row < 90}
    assert len(section_notes(recordings(sections=5, odd=few), "store")) == 3
