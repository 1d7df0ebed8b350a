"""Exact nearest neighbours by cosine or Euclidean distance: those of float64 arithmetic, ties ordered by row."""
