"""Scores of candidates on the clips of a validation, by all cores, kept in a cache on disk."""
