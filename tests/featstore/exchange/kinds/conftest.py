"""Imports of one file, and a manifest beside it."""

from collections.abc import Callable
from pathlib import Path

import pytest

from featstore.exchange.embeddings import import_files
from featstore.store import FeatureStore

Importing = Callable[..., FeatureStore]


@pytest.fixture
def importing(tmp_path: Path, unsynced: None) -> Importing:
    """Imports files as `e` into a new store and returns it; keywords are those of `import_files`."""

    def importing(*files: Path, **options: object) -> FeatureStore:
        import_files(tmp_path / "store", files, "e", **options)  # type: ignore[arg-type]
        return FeatureStore.open(tmp_path / "store")

    return importing


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    """Describes a.wav and b.wav as a training and a test clip."""
    path = tmp_path / "m.csv"
    path.write_text("path,machine,section,split,label\na.wav,fan,01,train,normal\nb.wav,fan,01,test,anomaly\n")
    return path
