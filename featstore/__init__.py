"""Recordings in, embeddings on disk: layouts, audio, the HDF5 feature store and the build that fills it."""
