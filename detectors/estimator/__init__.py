"""Every detector as an estimator of scikit-learn, with the attributes of PyOD."""

from detectors.estimator.anomaly_detector import AnomalyDetector

__all__ = ["AnomalyDetector"]
