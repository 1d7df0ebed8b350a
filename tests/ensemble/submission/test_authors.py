"""Statements of authors: read as they are, and refused with the key that does not fit."""

from pathlib import Path

import pytest

from ensemble.submission.authors import read_authors
from featstore.errors import DataError

ADA = """
[[authors]]
lastname = "M\u00fcller: \\"Ada\\""
firstname = "Ada\\nB."
email = "ada@example.org"
affiliation = { institution = "University", department = "", location = "Town" }
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "authors.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_all_fields(tmp_path: Path) -> None:
    system = """
[system]
data_augmentation = "mixup"
total_parameters = 12
source_code = "https://example.org"
external_datasets = [{ name = "A", url = "https://example.org/a" }, { name = "B" }]
"""
    stated = read_authors(written(tmp_path, f'name = "System"\nabbreviation = "S"\n{ADA}{system}'), 2026)
    assert (stated.name, stated.abbreviation) == ("System", "S")
    (author,) = stated.authors
    assert author == {
        "lastname": 'M\u00fcller: "Ada"',
        "firstname": "Ada\nB.",
        "email": "ada@example.org",
        "corresponding": True,
        "affiliation": {"institution": "University", "department": None, "location": "Town"},
    }
    assert stated.system["external_datasets"][1] == {"name": "B", "url": None}
    assert stated.system["total_parameters"] == 12


def test_one_of_several_authors_is_the_corresponding_one(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="expected corresponding = true for one author, found it for 0"):
        read_authors(written(tmp_path, ADA + ADA), 2026)
    marked = ADA.replace("[[authors]]", "[[authors]]\ncorresponding = true")
    assert [author["corresponding"] for author in read_authors(written(tmp_path, ADA + marked), 2026).authors] == [
        False,
        True,
    ]
    with pytest.raises(DataError, match="found it for 2"):
        read_authors(written(tmp_path, marked + marked), 2026)
    with pytest.raises(DataError, match="found it for 0"):
        read_authors(written(tmp_path, marked.replace("true", "false")), 2026)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nmae = 'x'", "unknown key: 'nmae'; did you mean name"),
        ("[[authors]]\nlast_name = 'x'", r"unknown field of authors\[0\]: 'last_name'; did you mean lastname"),
        ("[[authors]]\naffiliation = { city = 'x' }", r"unknown field of authors\[0\]\.affiliation: 'city'"),
        ("[[authors]]\naffiliation = 'x'", r"authors\[0\]\.affiliation: expected a table, got 'x'"),
        ("[[authors]]\nemail = 3", r"authors\[0\]\.email: expected text in quotes, got 3"),
        ("[[authors]]\ncorresponding = 'yes'", "corresponding: expected true or false"),
        ("authors = 'Ada'", r"authors: expected a list of tables"),
        ("authors = ['Ada']", r"authors\[0\]: expected a table, got 'Ada'"),
        ("abbreviation = 'eleven char'", "has more than 10 characters"),
        ("[system]\ndata_augmentaton = 'x'", "unknown field of system: .*did you mean data_augmentation"),
        ("[system]\ntotal_parameters = '9'", "total_parameters: expected a whole number"),
        ("[system]\ntotal_parameters = true", "total_parameters: expected a whole number"),
        ("[system]\ntotal_parameters = -1", "total_parameters: expected a whole number"),
        ("[system]\nexternal_datasets = [{ title = 'x' }]", r"unknown field of system.external_datasets\[0\]: 'title'"),
        ("system = 3", "system: expected a table, got 3"),
        ("name = ", "not a readable TOML file of authors"),
        (f"name = {'[' * 3000}", "not a readable TOML file of authors"),
    ],
)
def test_what_does_not_fit_is_named_with_the_file(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=rf"authors\.toml: .*{message}"):
        read_authors(written(tmp_path, text), 2026)


def test_fields_of_later_years_and_files_that_are_none_are_refused(tmp_path: Path) -> None:
    path = written(tmp_path, "[system]\nattribute_usage = 'condition'")
    assert read_authors(path, 2022).system == {"attribute_usage": "condition"}
    with pytest.raises(DataError, match=r"system\.attribute_usage: the metadata file of 2021 has no such field"):
        read_authors(path, 2021)
    (tmp_path / "link.toml").symlink_to(path)
    with pytest.raises(DataError, match="expected a TOML file of authors"):
        read_authors(tmp_path / "link.toml", 2026)
    path.write_bytes(b"name = '\xff'")
    with pytest.raises(DataError, match="not a readable TOML file of authors"):
        read_authors(path, 2026)
