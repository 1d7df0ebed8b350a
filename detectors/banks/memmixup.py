"""MemMixup: more target rows for the bank, each a target clip mixed with a little of a source clip."""

import numpy as np

SHARE = 0.9
"""Share of the target clip in each mix, as published."""


def target_mixes(X: np.ndarray, domain: np.ndarray, *, sources: int, seed: int) -> np.ndarray:
    """New target rows, float64: 0.9 t + 0.1 s for every target row t and each of `sources` source rows s of X (n, d).

    MemMixup (GenRepASD, Saengthong and Shinozaki, 2024, with up to 990 sources). From more source rows, `sources`
    distinct ones are drawn; the draw does not depend on their order. Without target or source clips, there are no
    mixes.
    """
    target = np.asarray(X[domain == "target"], dtype=np.float64)
    source = np.unique(np.asarray(X[domain != "target"], dtype=np.float64), axis=0)
    if len(source) > sources:
        source = source[np.sort(np.random.default_rng(seed).permutation(len(source))[:sources])]
    mixes: np.ndarray = SHARE * target[:, None] + (1 - SHARE) * source
    return mixes.reshape(-1, X.shape[1])
