"""Reads dataset folders and manifests as clips; each layout is one line of a table."""
