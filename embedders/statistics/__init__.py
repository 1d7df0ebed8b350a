"""Embeddings without any training: statistics of log-mel spectrograms over time."""
