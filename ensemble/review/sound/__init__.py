"""Sounds and pictures of recordings, made when asked for and kept within a bound."""
