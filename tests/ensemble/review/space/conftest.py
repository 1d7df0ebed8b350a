"""A page for the tests of this folder."""

from pathlib import Path

import pytest
import review_plant

from ensemble.review.session import Session


@pytest.fixture(scope="session")
def page(tmp_path_factory: pytest.TempPathFactory) -> Session:
    """A page that no test changes."""
    return review_plant.session_of(tmp_path_factory.mktemp("page"))


@pytest.fixture
def own_page(tmp_path: Path) -> Session:
    """A page that a test may change."""
    return review_plant.session_of(tmp_path)
