"""Thresholds by hand: the words of `--threshold`, files of thresholds, and sections that do not exist."""

import os
from pathlib import Path

import pytest

from ensemble.decision import given as module
from ensemble.decision.given import checked, choice_of, given_value, read_thresholds, refuse_unknown, unused_notes
from featstore.errors import DataError, OptionError


def test_words_are_rules_numbers_pairs_and_files(tmp_path: Path) -> None:
    path = tmp_path / "limits.toml"
    path.write_text('default = 2\n[thresholds]\n"fan/00" = 0.97\n"a=b/c/d" = -1e-3\n')
    assert choice_of(()) == (None, ())
    assert choice_of(("gamma",)) == ("gamma", ())
    assert choice_of(("0.5",)) == (None, (("default", 0.5),))
    assert choice_of(("quantile", "a=b/c/d=-3", "1e2")) == ("quantile", (("a=b/c/d", -3.0), ("default", 100.0)))
    from_file = (("a=b/c/d", -0.001), ("default", 2.0), ("fan/00", 0.97))
    assert choice_of((str(path),)) == (None, from_file)
    assert choice_of((str(path), "fan/00=0.97", "pump/01=7")).values == (*from_file, ("pump/01", 7.0))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["quantil"], "'quantil': expected quantile or gamma, .* did you mean quantile"),
        (["fan/00"], "'fan/00': expected quantile or gamma, a finite number, machine/section=number, or a TOML file"),
        (["fan/00="], "expected quantile"),
        (["fan=3"], "expected quantile"),
        (["fan/00=nan"], "expected quantile"),
        (["inf"], "expected quantile"),
        ([""], "expected quantile"),
        (["a\0b"], "expected quantile"),
        (["x" * 5000], "expected quantile"),
        (["gamma", "quantile"], "two rules, gamma and quantile"),
        (["1", "2"], "gives all sections two thresholds, 1 and 2"),
        (["fan/00=1", "fan/00=2"], "gives fan/00 two thresholds, 1 and 2"),
    ],
)
def test_other_words_are_usage_errors(words: list[str], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        choice_of(words)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no thresholds"),
        ("default = 'x'", "'default' = x, expected a finite number"),
        ("default = true", "expected a finite number"),
        ("default = inf", "expected a finite number"),
        ("[thresholds]\n'fan/00' = nan", "'fan/00' = nan, expected a finite number"),
        ("[thresholds]\nfan = 1", "'fan' names no section; expected machine/section, or default"),
        ("[thresholds.fan]\n00 = 1", "'fan' = .*, expected a finite number"),
        ("thresholds = 3", "expected a table"),
        ("defualt = 1", "unknown key 'defualt'"),
        ("= 1", "not a readable file"),
        ("a = " + "[" * 100_000, "not a readable file"),
        ("default = 1" + "0" * 400, "expected a finite number"),
        ("default = 1" + "0" * 5000, "not a readable file"),
        ("default = 0x1" + "0" * 5000, "a huge number, expected a finite number"),
    ],
)
def test_errors_of_a_file_name_it_and_the_key(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "limits.toml"
    path.write_text(text)
    with pytest.raises(DataError, match=f"{path}: .*{message}"):
        read_thresholds(path)


def test_a_file_that_is_too_large_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "f").write_text("default = 1.00000\n")
    monkeypatch.setattr(module, "MAX_BYTES", 10)
    with pytest.raises(DataError, match="has 18 bytes; the limit is 10"):
        read_thresholds(tmp_path / "f")


def test_thresholds_of_the_page_that_a_run_ignores_are_noted(tmp_path: Path) -> None:
    assert unused_notes(tmp_path, ()) == []
    path = tmp_path / "thresholds.toml"
    path.write_text('[thresholds]\n"fan/00" = 0.97\n')
    text = f"{path} holds thresholds set in the page; this run does not use them; --threshold {path} does"
    assert unused_notes(tmp_path, ()) == [text]
    assert unused_notes(tmp_path, (("fan/00", 0.9),)) == [text]
    assert unused_notes(tmp_path, (("fan/00", 0.97), ("fan/01", 1.0))) == []
    path.write_text("nonsense")
    assert unused_notes(tmp_path, ()) == [text]


def test_a_link_and_a_pipe_are_refused(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("default = 1")
    (tmp_path / "link").symlink_to("f")
    os.mkfifo(tmp_path / "pipe")
    for name, words in (("link", "symbolic link"), ("pipe", "not a regular file")):
        with pytest.raises(DataError, match=f"{tmp_path / name}.*{words}"):
            read_thresholds(tmp_path / name)
    with pytest.raises(DataError, match=f"{tmp_path / 'none'}: .*No such file"):
        read_thresholds(tmp_path / "none")


def test_a_section_has_its_own_threshold_or_the_default() -> None:
    values = dict(checked({"": 3, "fan/00": 1}))
    assert given_value(values, "fan", "00") == 1
    assert given_value(values, "fan", "01") == 3
    assert given_value({"fan/00": 1.0}, "fan", "01") is None


def test_an_unknown_section_is_named_with_the_nearest() -> None:
    sections = [("fan", "00"), ("pump", "02")]
    refuse_unknown((("default", 1.0), ("fan/00", 1.0)), sections, "store")
    with pytest.raises(DataError, match=r"store: .*'fan/01'.* it has fan/00, pump/02; did you mean fan/00\?"):
        refuse_unknown((("fan/01", 1.0),), sections, "store")
