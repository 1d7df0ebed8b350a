"""Marks: what a person heard in recordings of a store, and its effect on banks, scores and selections."""
