"""Recipes come back as they were written, and say what is wrong with a broken one."""

from pathlib import Path

import pytest

from ensemble.recipe import Member, Recipe, read_recipe, write_recipe
from featstore.errors import DataError

KNN = Member("twfr", "knn:k=1", "r0.9", 0.25, "f" * 64)


def test_round_trip(tmp_path: Path) -> None:
    odd = Member('a "b" \\ é', "gmm:n_components=2")
    recipe = Recipe((KNN, odd), "mine", "weighted_mean", "gamma", 0.05, pool_sections=True, group_by="speed")
    write_recipe(recipe, tmp_path / "r.toml")
    assert read_recipe(tmp_path / "r.toml") == recipe


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
        ('[[member]]\nembedding = "x"\ndetector = "knn"\n' * 2, "occurs twice"),
    ],
)
def test_broken_recipes_name_what_is_wrong(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "r.toml").write_text(text)
    with pytest.raises(DataError, match=words):
        read_recipe(tmp_path / "r.toml")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere\.toml"):
        read_recipe(tmp_path / "nowhere.toml")
