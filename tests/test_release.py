"""The version is that of the git tag; sources without tags or without git can be built too; the citation is valid."""

import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
from pathlib import Path

import pytest
import yaml
from places import ROOT

FALLBACK = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools_scm"][
    "fallback_version"
]
NAMED = ("-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false")


def git(folder: Path, *words: str) -> None:
    subprocess.run(["git", *NAMED, *words], cwd=folder, check=True, capture_output=True)


def version(folder: Path) -> str:
    """The version that a build in `folder` would have."""
    command = [sys.executable, "-m", "setuptools_scm"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout.strip()


def archive(folder: Path, out: Path) -> Path:
    """A copy without git of what is committed, as a hosting site offers it."""
    git(folder, "archive", "-o", str(out.with_suffix(".tar")), "HEAD")
    with tarfile.open(out.with_suffix(".tar")) as opened:
        opened.extractall(out, filter="data")
    return out


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    """A folder with what the version depends on, without git."""
    folder = tmp_path / "sources"
    folder.mkdir()
    for name in ("pyproject.toml", ".gitattributes", ".git_archival.txt"):
        shutil.copy(ROOT / name, folder)
    return folder


def test_a_tag_is_the_version_of_a_clone_and_of_an_archive(sources: Path, tmp_path: Path) -> None:
    git(sources, "init")
    git(sources, "add", "-A")
    git(sources, "commit", "-m", "a")
    git(sources, "tag", "v0.7.0")
    assert (version(sources), version(archive(sources, tmp_path / "a"))) == ("0.7.0", "0.7.0")
    git(sources, "commit", "--allow-empty", "-m", "b")
    for place in (sources, archive(sources, tmp_path / "b")):
        assert re.fullmatch(r"0\.7\.1\.dev1\+g[0-9a-f]{7,}", version(place))
    subprocess.run(["git", "clone", "--depth", "1", sources.as_uri(), tmp_path / "c"], check=True, capture_output=True)
    assert re.fullmatch(r"0\.1\.dev1\+g[0-9a-f]{7,}", version(tmp_path / "c"))


def test_sources_without_tags_or_git_have_a_version_below_the_first(sources: Path, tmp_path: Path) -> None:
    assert version(sources) == FALLBACK == "0.1.dev0"
    git(sources, "init")
    git(sources, "add", "-A")
    git(sources, "commit", "-m", "a")
    assert re.fullmatch(r"0\.1\.dev1\+g[0-9a-f]{7,}", version(sources))
    assert version(archive(sources, tmp_path / "a")) == FALLBACK


def test_the_citation_has_what_the_format_requires_and_no_second_version() -> None:
    citation = yaml.safe_load((ROOT / "docs" / "CITATION.cff").read_text(encoding="utf-8"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert {"cff-version", "message", "title", "authors"} <= set(citation)
    assert (citation["cff-version"], citation["type"]) == ("1.2.0", "software")
    assert citation["authors"] == [{"name": "The featstore developers"}]
    assert (citation["license"], citation["title"].partition(":")[0]) == (project["license"], project["name"])
    assert "version" not in citation
    assert "version" in project["dynamic"]
