"""Approximate search by faiss's indexes, with recall and score error measured beside every result."""
