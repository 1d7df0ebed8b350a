"""The learned state of fitted detectors as JSON and arrays, and detectors from it again, without running its names."""
