"""Checks of what a detection was given: clips without a score, copies, and embeddings that tell nothing."""
