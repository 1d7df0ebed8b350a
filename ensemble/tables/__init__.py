"""The tables that `detect` writes, for programs of data science."""
