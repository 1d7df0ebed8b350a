"""Exact nearest neighbours: ids as float64 arithmetic gives them, ties broken by row."""
