"""Recordings as waves: policies for channel and length, and the only reader of samples."""
