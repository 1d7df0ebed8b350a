"""Scores to one decision."""
