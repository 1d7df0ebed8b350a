"""Dataset folders and manifests to clips; each layout is one line of a table."""
