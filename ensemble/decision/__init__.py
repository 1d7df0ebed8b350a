"""From scores to decisions: calibration, fusion, thresholds, false-alarm rates, drift."""
