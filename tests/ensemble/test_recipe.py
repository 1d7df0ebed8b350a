"""Recipes: what is written is read back, earlier recipes stay readable, and a broken one is named with its mistake."""

import os
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest

from ensemble.recipe import Member, Recipe, read_recipe, recipe_text, write_recipe
from featstore.disk import files
from featstore.errors import DataError

KNN = Member("twfr", "knn:k=1", "r0.9", 0.25, "f" * 64)
LATIN = os.fsdecode(b"f\xfcr.csv")


def test_round_trip(tmp_path: Path) -> None:
    odd = Member('a "b" \\ é', "gmm:n_components=2")
    recipe = Recipe((KNN, odd), "mine", "weighted_mean", "gamma", 0.05, pool_sections=True, group_by="speed")
    write_recipe(recipe, tmp_path / "r.toml")
    assert read_recipe(tmp_path / "r.toml") == recipe


@pytest.mark.parametrize(
    "name", ["emoji \U0001f600", 'quote "', "back\\slash", "line\nbreak", "tab\tdelete\x7f", "é", "50%FF"]
)
def test_any_text_is_read_back(tmp_path: Path, name: str) -> None:
    members = (Member(name, f"knn:{name}", name), Member("", f"scores:{tmp_path / name}.csv"))
    recipe = Recipe(members, name=name, group_by=name)
    write_recipe(recipe, tmp_path / "r.toml")
    assert read_recipe(tmp_path / "r.toml") == recipe
    raw = tomllib.loads((tmp_path / "r.toml").read_bytes().decode())
    assert (raw["name"], raw["member"][0]["embedding"]) == (name, name)


@pytest.mark.parametrize("name", [LATIN, os.fsdecode(b"a%b \xff/\xfe.csv")])
def test_a_path_that_is_not_utf_8_is_read_back_from_a_valid_file(tmp_path: Path, name: str) -> None:
    recipe = Recipe((KNN, Member("", f"scores:{tmp_path / name}")))
    write_recipe(recipe, tmp_path / "r.toml")
    assert read_recipe(tmp_path / "r.toml") == recipe
    detector = tomllib.loads((tmp_path / "r.toml").read_bytes().decode())["member"][1]["detector"]
    assert detector == {LATIN: "scores-encoded:f%FCr.csv"}.get(name, "scores-encoded:a%25b%20%FF/%FE.csv")


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        (Recipe((KNN,), group_by=LATIN), r"r\.toml: the recipe: group_by = 'f\\udcfcr\.csv' is not valid Unicode text"),
        (Recipe((KNN, Member(LATIN, "knn"))), "member 2: embedding = .* is not valid Unicode text.*; rename it"),
    ],
)
def test_other_text_that_is_not_unicode_is_refused_and_named(tmp_path: Path, recipe: Recipe, message: str) -> None:
    with pytest.raises(DataError, match=message):
        write_recipe(recipe, tmp_path / "r.toml")
    assert not list(tmp_path.iterdir())


def test_the_text_form() -> None:
    """Every field stands on a line of its own, also where all would fit into one."""
    member = 'embedding = "e"\ndetector = "knn"\nview = ""\nweight = 1.0\nfingerprint = ""\n'
    assert recipe_text(Recipe((Member("e", "knn"), Member("e", "lof", weight=1e-5)))) == (
        'name = "default"\nfusion = "mean"\nthreshold = "quantile"\nfalse_alarm_rate = 0.1\npool_sections = false\n'
        'group_by = ""\nfdr = 0.0\ndomains = "pooled"\ntail = "spread"\ngroup = ""\n\n'
        f"[[member]]\n{member}\n[[member]]\n" + member.replace("knn", "lof").replace("1.0", "1e-05")
    )


def test_a_recipe_of_the_first_version_is_read(tmp_path: Path) -> None:
    """Its text was written as JSON strings, with every character beyond ASCII escaped."""
    (tmp_path / "r.toml").write_text(
        'name = "L\\u00fcfter"\nfusion = "weighted_mean"\nthreshold = "gamma"\nfalse_alarm_rate = 0.05\n'
        'pool_sections = true\ngroup_by = "speed"\nfdr = 0.0\ndomains = "unknown"\n\n[[member]]\n'
        f'embedding = "twfr"\ndetector = "knn:k=1"\nview = "r0.9"\nweight = 0.25\nfingerprint = "{"f" * 64}"\n'
    )
    expected = Recipe((KNN,), "Lüfter", "weighted_mean", "gamma", 0.05, pool_sections=True, group_by="speed")
    assert read_recipe(tmp_path / "r.toml") == expected


def test_a_write_that_fails_leaves_the_earlier_recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_recipe(Recipe((KNN,)), tmp_path / "r.toml")

    def full(descriptor: int, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "write", full)
    with pytest.raises(OSError, match="No space left"):
        write_recipe(Recipe((KNN,), "another"), tmp_path / "r.toml")
    monkeypatch.undo()
    assert [path.name for path in tmp_path.iterdir()] == ["r.toml"]
    assert read_recipe(tmp_path / "r.toml") == Recipe((KNN,))


def test_confirmed_clips_are_read_back_and_left_out_where_there_are_none(tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    recipe = Recipe((Member("twfr", "knn"),), confirmed_faults=("a 'b\"\n.wav",), confirmed_normal=("ü.wav", "c.wav"))
    write_recipe(recipe, path)
    assert read_recipe(path) == recipe
    assert "confirmed" not in recipe_text(replace(recipe, confirmed_faults=(), confirmed_normal=()))
    odd = replace(recipe, confirmed_faults=("a\udcff%.wav", "encoded:b.wav"), marks="5" * 64)
    write_recipe(odd, path)
    assert read_recipe(path) == odd
    raw = tomllib.loads(path.read_bytes().decode())
    assert raw["confirmed_faults"] == ["encoded:a%FF%25.wav", "encoded:encoded%3Ab.wav"]
    assert raw["marks"] == "5" * 64
    assert "marks" not in recipe_text(recipe)


@pytest.mark.parametrize("value", ['"a.wav"', "[1]", "[['a.wav']]", "3"])
def test_confirmed_clips_are_texts(tmp_path: Path, value: str) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text(f'confirmed_faults = {value}\n[[member]]\nembedding = "twfr"\ndetector = "knn"\n')
    with pytest.raises(DataError, match=r"the recipe: confirmed_faults = .*, expected a list of texts"):
        read_recipe(path)


def test_only_members_are_needed(tmp_path: Path) -> None:
    (tmp_path / "r.toml").write_text('[[member]]\nembedding = "twfr"\ndetector = "knn"\nweight = 2\n')
    assert read_recipe(tmp_path / "r.toml") == Recipe((Member("twfr", "knn", weight=2.0),))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "at least one member"),
        ("[[member", "not a readable recipe"),
        ("member = 3", r"expected \[\[member\]\] tables"),
        ('[[member]]\nembedding = "x"', "member 1 lacks 'detector'"),
        ('[[member]]\nembedding = "x"\ndetector = "knn"\nwieght = 1.0', "did you mean weight?"),
        ('fusoin = "mean"\n[[member]]\nembedding = "x"\ndetector = "knn"', "did you mean fusion?"),
        ('[[member]]\nembedding = 3\ndetector = "knn"', "embedding = 3, expected str"),
        ('false_alarm_rate = true\n[[member]]\nembedding = "x"\ndetector = "knn"', "expected float"),
        ('false_alarm_rate = 1.5\n[[member]]\nembedding = "x"\ndetector = "knn"', "between 0 and 1"),
        ('[[member]]\nembedding = "x"\ndetector = "knn"\n' * 2, "the member 'x knn' occurs twice; list it once"),
    ],
)
def test_broken_recipes_name_what_is_wrong(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "r.toml").write_text(text)
    with pytest.raises(DataError, match=words) as caught:
        read_recipe(tmp_path / "r.toml")
    assert str(caught.value).startswith(str(tmp_path / "r.toml"))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere\.toml"):
        read_recipe(tmp_path / "nowhere.toml")


def test_thresholds_by_hand_are_a_table_of_the_file(tmp_path: Path) -> None:
    recipe = Recipe((KNN,), thresholds=(("default", 0.99), ('fan "é"/00', -2.0)))
    write_recipe(recipe, tmp_path / "r.toml")
    assert read_recipe(tmp_path / "r.toml") == recipe
    raw = tomllib.loads((tmp_path / "r.toml").read_text(encoding="utf-8"))
    assert raw["thresholds"] == {"default": 0.99, 'fan "é"/00': -2.0}
    assert "thresholds" not in recipe_text(Recipe((KNN,)))
    (tmp_path / "r.toml").write_text((tmp_path / "r.toml").read_text().replace("default =", '"" ='))
    assert read_recipe(tmp_path / "r.toml") == recipe
    (tmp_path / "r.toml").write_text('[thresholds]\n"fan/00" = "x"\n[[member]]\nembedding = "e"\ndetector = "knn"\n')
    with pytest.raises(DataError, match=r"r\.toml: thresholds: 'fan/00' = x, expected a finite number"):
        read_recipe(tmp_path / "r.toml")
    with pytest.raises(DataError, match="with no threshold by hand"):
        replace(recipe, fdr=0.1)
