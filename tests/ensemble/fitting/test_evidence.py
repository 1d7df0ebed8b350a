"""The most similar training clip of the same section, by brute force."""

import numpy as np
import pytest

from ensemble.fitting.evidence import Evidence
from featstore.clip import Clip
from featstore.table import ClipTable


def clips(n: int) -> ClipTable:
    return ClipTable.from_clips([Clip(f"{i}.wav", "fan", f"0{i % 3}", "train") for i in range(n)])


@pytest.mark.parametrize("pool_sections", [False, True])
def test_the_nearest_by_cosine_among_those_it_is_compared_with(rng: np.random.Generator, pool_sections: bool) -> None:
    train, new = clips(30), clips(9)
    X, Y = rng.normal(size=(30, 5)).astype(np.float32), rng.normal(size=(9, 5)).astype(np.float32)
    keys, distances = Evidence.of(X, train, pool_sections=pool_sections).nearest(Y, new)
    unit = [Z.astype(np.float64) / np.linalg.norm(Z, axis=1, keepdims=True) for Z in (X, Y)]
    expected = 1 - unit[1] @ unit[0].T
    if not pool_sections:
        expected[np.arange(9)[:, None] % 3 != np.arange(30)[None] % 3] = np.inf
    assert keys == [f"{i}.wav" for i in expected.argmin(axis=1)]
    np.testing.assert_allclose(distances, expected.min(axis=1), rtol=0, atol=1e-6)
