"""Frequencies that the description of a fault states."""
