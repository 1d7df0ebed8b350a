"""Which component a name means: the project's tables first, then installed packages, then modules."""

from importlib.metadata import EntryPoint

import pytest

from featstore import registry
from featstore.errors import DataError


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> list[EntryPoint]:
    """Entry points that seem to be installed; fill the list before the first look-up."""
    entries: list[EntryPoint] = []
    registry._installed.cache_clear()
    monkeypatch.setattr(registry, "entry_points", lambda group: [entry for entry in entries if entry.group == group])
    yield entries
    registry._installed.cache_clear()


def test_every_kind_has_its_table() -> None:
    for noun in registry.KINDS:
        assert registry.names(noun)
        for name in registry.names(noun):
            found = registry.find(noun, name)
            assert all(hasattr(found, need) for need in registry.KINDS[noun].needs), f"{noun} {name}"


def test_a_package_adds_names_and_replaces_none(installed: list[EntryPoint]) -> None:
    installed += [
        EntryPoint("knn", "detectors.lof:LOF", "featstore.detectors"),
        EntryPoint("outlier", "detectors.lof:LOF", "featstore.detectors"),
    ]
    assert registry.names("detector")[-1] == "outlier"
    assert registry.names("detector").count("knn") == 1
    assert registry.find("detector", "knn").__name__ == "KNN"
    assert registry.find("detector", "outlier").__name__ == "LOF"


def test_two_packages_with_one_name_are_refused(installed: list[EntryPoint]) -> None:
    installed += [
        EntryPoint("outlier", "detectors.lof:LOF", "featstore.detectors"),
        EntryPoint("outlier", "detectors.knn:KNN", "featstore.detectors"),
    ]
    with pytest.raises(DataError, match=r"'outlier' is installed more than once: detectors\.lof:LOF"):
        registry.find("detector", "outlier")


def test_what_is_no_component_of_its_kind_is_refused(installed: list[EntryPoint]) -> None:
    installed.append(EntryPoint("path", "pathlib:Path", "featstore.embedders"))
    with pytest.raises(DataError, match=r"embedder 'path': pathlib:Path of the package \? lacks embed"):
        registry.find("embedder", "path")


@pytest.mark.parametrize("path", ["subprocess:Popen", "os:system", "json:JSONDecoder"])
def test_a_recipe_cannot_construct_what_is_no_detector(path: str) -> None:
    with pytest.raises(DataError, match=r"expected a class|lacks fit"):
        registry.find("detector", path)


def test_modules_are_for_embedders_and_detectors_only() -> None:
    with pytest.raises(ValueError, match=r"unknown layout: 'os:path'"):
        registry.find("layout", "os:path")
