"""The learned state of fitted detectors as JSON and arrays, and back; no name in it is imported."""
