"""Mel scales against librosa and their definitions, and triangular filters by hand."""

import numpy as np
import pytest

from featstore.mel import MEL_SCALES, kaldi_mel, triangles

HZ = np.array([0.0, 20.0, 700.0, 999.0, 1000.0, 1001.0, 6400.0, 24000.0])


@pytest.mark.parametrize("scale", MEL_SCALES)
def test_scales_equal_librosa_and_invert(scale):
    librosa = pytest.importorskip("librosa")
    to_mel, to_hz = MEL_SCALES[scale]
    np.testing.assert_allclose(to_mel(HZ), librosa.hz_to_mel(HZ, htk=scale == "htk"), rtol=1e-12)
    np.testing.assert_allclose(to_hz(to_mel(HZ)), HZ, rtol=1e-9, atol=1e-9)


def test_kaldi_mel_by_hand():
    np.testing.assert_allclose(kaldi_mel(np.array([0.0, 700.0, 1400.0])), 1127 * np.log([1, 2, 3]), rtol=1e-12)


def test_triangles_by_hand():
    filters = triangles(np.array([0.0, 0.5, 1.0, 2.0, 3.0, 4.0]), np.array([0.0, 1.0, 3.0, 4.0]))
    np.testing.assert_allclose(filters, [[0, 0.5, 1, 0.5, 0, 0], [0, 0, 0, 0.5, 1, 0]])
