"""Embedders without training: statistics over time of the log-mel spectrogram and of other descriptors."""
