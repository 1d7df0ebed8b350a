"""Shared fixtures."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from places import SHARED_DATA


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the longest test first: at the end, one process would wait for it alone."""
    items.sort(key=lambda item: item.name != "test_every_block_runs_and_prints_what_is_shown")


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture
def shared_data() -> Path:
    """Real recordings and scores beside the checkout, where there are any."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"real data not present at {SHARED_DATA}")
    return SHARED_DATA


@pytest.fixture(scope="module")
def unsynced() -> Iterator[None]:
    """Waiting for the disk is no part of what is tested; for modules that ask for it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("os.fsync", lambda descriptor: None)
        yield


@pytest.fixture
def memory_path(tmp_path: Path) -> Iterator[Path]:
    """A folder in memory, where fsync is fast, if the machine has one."""
    shared = Path("/dev/shm")
    if not os.access(shared, os.W_OK):
        yield tmp_path
    else:
        with tempfile.TemporaryDirectory(dir=shared) as directory:
            yield Path(directory)
