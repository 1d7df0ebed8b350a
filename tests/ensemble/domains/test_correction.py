"""Scores without the offset between domains."""

import numpy as np

from ensemble.domains.correction import Correction, scale_of
from featstore.clip import Clip
from featstore.table import ClipTable


def test_the_scale_of_shifts() -> None:
    positive, signed = np.array([0.5, 2.0]), np.array([-1.0, 2.0])
    np.testing.assert_allclose(scale_of(positive, fused=False).forward(positive), np.log(positive))
    np.testing.assert_array_equal(scale_of(signed, fused=False).forward(signed), signed)
    np.testing.assert_allclose(scale_of(positive, fused=True).forward(np.array([0.5])), [np.log(2)])


def test_target_scores_come_down_to_the_level_of_source_scores(rng: np.random.Generator) -> None:
    domains = ["source"] * 60 + ["target"] * 60
    clips = ClipTable.from_clips([Clip(f"{i}.wav", "fan", "00", "train", domain) for i, domain in enumerate(domains)])  # type: ignore[arg-type]
    honest = np.exp(rng.normal(0, 0.1, 120) + np.repeat([0, 1.0], 60))
    correction = Correction.of(honest, clips, scale_of(honest, fused=False))
    target = np.repeat([0.0, 1.0], 60)
    levels = np.median(np.log(correction.removed(honest, clips, target)).reshape(2, 60), axis=1)
    assert abs(levels[1] - levels[0]) < 0.2
    np.testing.assert_allclose(correction.removed(honest, clips, np.full(120, np.nan)), honest)
    assert np.isfinite(correction.removed(np.zeros(120), clips, target)).all()
