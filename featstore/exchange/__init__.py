"""Embeddings in and out (npz, Parquet, CSV, ASDKit), and downloads of data sets."""
