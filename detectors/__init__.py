"""Vectors to anomaly scores."""
