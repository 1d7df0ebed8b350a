"""Exact nearest neighbours by cosine distance: the rows that float64 arithmetic gives, ties ordered by row."""
