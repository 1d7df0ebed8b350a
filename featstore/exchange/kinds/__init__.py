"""Readers of files with embeddings, one kind of file a module, and the table of kinds."""
