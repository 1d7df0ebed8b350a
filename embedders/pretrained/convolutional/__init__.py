"""Frozen convolutional encoders with small published networks: mn04 and crepe."""
