"""A plant that was built, fitted and saved once for all tests that score recordings."""

import pytest
from scored_plant import Plant, plant_in

from ensemble.scoring.model import Model


@pytest.fixture(scope="session")
def plant(tmp_path_factory: pytest.TempPathFactory) -> Plant:
    return plant_in(tmp_path_factory.mktemp("plant"))


@pytest.fixture(scope="session")
def model(plant: Plant) -> Model:
    return Model.load(plant.model, device="cpu")
