"""Waveforms to vectors."""
