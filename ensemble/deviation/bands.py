"""Which mel bands make up the distance of a clip by the Mahalanobis members of a model."""

from collections.abc import Mapping

import numpy as np

from ensemble.deviation.locate import Locator
from ensemble.deviation.shares import band_shares, share_sentence
from ensemble.fitting.fitted import Bank, Fitted
from featstore.disk.shard import EmbeddingInfo

FRONT_END = ("sample_rate_hz", "n_mels", "fmin_hz", "fmax_hz", "mel_scale")
"""Settings of an embedder that name its mel bands."""


def bands_of(fitted: Fitted, locator: Locator, bank: Bank, rows: Mapping[str, np.ndarray]) -> str:
    """The narrowest range of bands with half of a clip's distance, by the mean over the Mahalanobis members.

    rows: of the clip in every embedding, (1, *shape). Members count by their weights; those that do not see the mel
    bands of `locator` do not count. Empty without any.
    """
    shares, weights = [], []
    for member, detector in zip(fitted.recipe.members, fitted.detectors[bank], strict=True):
        if not _on_bands(fitted.embeddings[member.embedding], locator):
            continue
        X = fitted.view(rows, member)
        of_member = band_shares(detector, X) if X.shape[1] == locator.embedder.n_mels else None
        if of_member is not None:
            shares.append(of_member[0])
            weights.append(member.weight)
    if not sum(weights):
        return ""
    return share_sentence(np.average(shares, axis=0, weights=weights), locator.edges_hz)


def _on_bands(info: EmbeddingInfo, locator: Locator) -> bool:
    """Whether the last axis of an embedding is the mel bands of the log-mel spectrogram."""
    missing = object()
    return all(info.config.get(name, missing) == getattr(locator.embedder, name, None) for name in FRONT_END)
