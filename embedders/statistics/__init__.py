"""Embedders without training: statistics of the log-mel spectrogram over time."""
