"""Approximate nearest neighbours with faiss indexes, and the measured recall and score error of each result."""
