"""A store with generated anomalies, and the clips of its validation."""

import pytest
from selection_store import selection_store

from ensemble.selection.scoring.validation import Validation, plan_validation
from featstore.store import FeatureStore


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> FeatureStore:
    return selection_store(tmp_path_factory.mktemp("select") / "store")


@pytest.fixture(scope="module")
def plan(store: FeatureStore) -> Validation:
    return plan_validation(store.clips("emb"), store.facts("emb"))
