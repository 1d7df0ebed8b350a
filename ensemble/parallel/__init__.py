"""Scoring on all cores: single-threaded processes that share the embeddings in memory."""
