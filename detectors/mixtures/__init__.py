"""Gaussian mixtures by expectation maximisation: one fit, or fits to most of the same rows side by side."""
