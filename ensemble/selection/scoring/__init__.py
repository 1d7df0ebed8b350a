"""Held-out scores of candidates: which clips and generated anomalies, by which banks, on all cores, kept on disk."""
