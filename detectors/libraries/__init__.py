"""Outlier detectors of scikit-learn and PyOD as detectors of this project."""
