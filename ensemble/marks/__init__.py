"""Marks: what a person heard in the recordings of a store, and what follows from it for banks, scores and choices."""
